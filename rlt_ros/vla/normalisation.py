"""Units of the learning side: statistics of the demonstrations, stored with the VLA and part of its hash."""

from dataclasses import dataclass
import hashlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from rlt_ros.config import RobotProfile
from rlt_ros.control.kinematics import Kinematics, home
from rlt_ros.errors import UserError
from rlt_ros.vla.proprioception import CLIP

SCALE_STEPS = 15  # steps of a chunk that set the action scale: what an RL chunk covers
LEAST_MOTION = 1e-3  # m at the tool: scale of joints that the demonstrations do not move
LEAST_ANGLE = 1e-2  # rad, for joints without a lever
REFERENCE_LIMIT = 40.0  # normalised; the way to the critical phase is long in its units
LEAST_DEVIATION = 0.05  # normalised, of chunks


@dataclass(frozen=True)
class Normalisation:
    """Actions are joint targets as deltas from the measured position at the observation, divided by `scale`."""

    scale: np.ndarray  # (D,) rad or m
    mean: np.ndarray  # (P,) of the proprioception
    deviation: np.ndarray  # (P,)
    chunk_mean: np.ndarray  # (H, D) of normalised chunks
    chunk_deviation: np.ndarray  # (H, D)

    @property
    def hash(self) -> str:
        """SHA-256, hex, of the bytes of all fields in the order of FIELDS."""
        return hashlib.sha256(b''.join(getattr(self, name).tobytes() for name in FIELDS)).hexdigest()

    def proprioception(self, features: np.ndarray) -> np.ndarray:
        """Standardised, clipped float32, same shape (..., P)."""
        return np.clip((features - self.mean) / self.deviation, -CLIP, CLIP).astype(np.float32)


FIELDS = ('scale', 'mean', 'deviation', 'chunk_mean', 'chunk_deviation')


def read(path: Path) -> Normalisation:
    """The units stored in a VLA's weights file; raises UserError where it is missing or damaged."""
    try:
        with safe_open(path, 'np') as file:
            return Normalisation(**{name: file.get_tensor(f'normalisation.{name}') for name in FIELDS})
    except FileNotFoundError:
        raise UserError(f'weights file {path} does not exist; make it with: rlt train vla') from None
    except (SafetensorError, OSError) as error:
        raise UserError(f'{path} is damaged or no VLA: {error}; make it anew with: rlt train vla') from None


def load(path: Path, profile: RobotProfile) -> Normalisation:
    """As `read`; raises UserError also where they are for another robot."""
    unit = read(path)
    if unit.scale.shape != (profile.action_dim,):
        raise UserError(f'{path} is for {len(unit.scale)} joints, robot {profile.name} has {profile.action_dim}')
    return unit


def smallest_scale(profile: RobotProfile) -> np.ndarray:
    """(D,): per joint, what moves the tool by LEAST_MOTION at home."""
    kinematics, rest = Kinematics(profile), home(profile)
    scale = np.full(profile.action_dim, LEAST_MOTION)
    for arm, part in zip(kinematics.arms, kinematics.slices, strict=True):
        lever = np.linalg.norm(arm.jacobian(rest[part])[:3], axis=0)
        scale[part] = np.minimum(LEAST_MOTION / np.maximum(lever, 1e-6), LEAST_ANGLE)
    return scale


def fit(
    profile: RobotProfile, features: np.ndarray, floor: np.ndarray, deltas: np.ndarray
) -> Normalisation:
    """Statistics of proprioception (T, P) and of chunks of joint deltas (T, H, D)."""
    flat = np.abs(deltas[:, :SCALE_STEPS]).reshape(-1, deltas.shape[-1])
    scale = np.maximum(1.2 * np.quantile(flat, 0.995, axis=0), smallest_scale(profile))
    chunks = deltas / scale
    return Normalisation(
        scale=scale,
        mean=features.mean(0),
        deviation=np.maximum(features.std(0), floor),
        chunk_mean=chunks.mean(0),
        chunk_deviation=np.maximum(chunks.std(0), LEAST_DEVIATION),
    )
