"""A VLA and an RL token without training, small enough to run everywhere, for tests that need some weights."""

from pathlib import Path

import numpy as np
import torch

from rlt_ros.config import RobotProfile
from rlt_ros.token import weights as token_weights
from rlt_ros.token.model import RlToken, TokenSizes
from rlt_ros.vla import weights as vla_weights
from rlt_ros.vla.model import BuiltinVla, VlaSizes
from rlt_ros.vla.normalisation import Normalisation
from rlt_ros.vla.proprioception import POSE_PER_ARM, VELOCITY_PER_ARM
from rlt_ros.vla.trunk import GOAL_SIZE
from rlt_ros.weights_files import vla_hash


def vla(profile: RobotProfile, horizon: int = 20, seed: int = 0) -> tuple[BuiltinVla, Normalisation]:
    """A network of random weights for a robot, and units."""
    torch.manual_seed(seed)
    arms, d = len(profile.arms), profile.action_dim
    sizes = VlaSizes(
        cameras=len(profile.cameras), image_size=profile.image_size, proprioception=POSE_PER_ARM * arms, action_dim=d,
        horizon=horizon, width=32, heads=2, prefix_layers=1, expert_layers=1,
    )  # fmt: skip
    features = (POSE_PER_ARM + VELOCITY_PER_ARM) * arms + 3 * d
    unit = Normalisation(
        scale=np.full(d, 2e-3), mean=np.zeros(features), deviation=np.ones(features),
        chunk_mean=np.full((horizon, d), 0.1), chunk_deviation=np.full((horizon, d), 0.3),
    )  # fmt: skip
    return BuiltinVla(sizes).eval(), unit


def save_vla(path: Path, profile: RobotProfile) -> str:
    """Write one; returns the hash that a token is made for."""
    model, unit = vla(profile)
    vla_weights.save(path, model, unit, profile.name, ['plug it in'])
    return vla_hash(path)


def save_token(path: Path, profile: RobotProfile, made_for: str) -> str:
    """Write an RL token for such a VLA; returns its hash."""
    network, unit = vla(profile)
    sizes = network.sizes
    torch.manual_seed(1)
    model = RlToken(TokenSizes(sizes.tokens, sizes.width, token_dim=16, heads=2, layers=1), GOAL_SIZE)
    return token_weights.save(path, model, made_for, unit.hash)
