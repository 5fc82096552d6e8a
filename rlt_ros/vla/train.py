"""Training of the built-in VLA: flow matching on demonstrated chunks, with a hindsight loss on the prefix."""

from collections.abc import Callable
from dataclasses import dataclass
import time
from typing import TypeVar

import numpy as np
import torch

from rlt_ros.config import RobotProfile
from rlt_ros.control.kinematics import Kinematics, home
from rlt_ros.vla import normalisation as units
from rlt_ros.vla.examples import Examples
from rlt_ros.vla.model import BuiltinVla, VlaSizes
from rlt_ros.vla.proprioception import Proprioception

GOAL_WEIGHT = 0.3
GOAL_CLAMP = 9.0  # squared, in goal units: far away the goal is not worth precision
NOISES = 3  # noise samples per observation: the prefix is the expensive part
HELD_OUT_BATCH = 256
AVERAGING = 0.998  # of the weights' moving average, which is what is kept
STATE_NOISE = 0.02  # normalised
SHIFT = 1  # px that a camera's picture is moved at random, so that where it looks counts less than what it shows


Network = TypeVar('Network', bound=torch.nn.Module)


@dataclass(frozen=True)
class VlaTraining:
    """How long, and on what of the demonstrations."""

    steps: int = 6000
    batch: int = 64
    every: int = 3  # observations of the demonstrations: neighbours look alike
    learning_rate: float = 1e-3
    seed: int = 0


def prepare(profile: RobotProfile, examples: Examples) -> tuple[VlaSizes, units.Normalisation]:
    """Sizes and units from the robot and the training episodes."""
    feel = Proprioception(Kinematics(profile), home(profile))
    train = ~examples.held_out
    sizes = VlaSizes(
        cameras=len(profile.cameras), image_size=profile.image_size, proprioception=feel.pose_size,
        action_dim=profile.action_dim, horizon=examples.deltas.shape[1],
    )  # fmt: skip
    return sizes, units.fit(profile, examples.features[train], feel.floor, examples.deltas[train])


def train(
    profile: RobotProfile, examples: Examples, plan: VlaTraining, report: Callable[[int, dict], None]
) -> tuple[BuiltinVla, units.Normalisation, list[dict]]:
    """Train from scratch; `report(step, losses)` is called every step. Returns network, units and the curve."""
    torch.manual_seed(plan.seed)
    torch.set_flush_denormal(True)
    sizes, unit = prepare(profile, examples)
    model, averaged = BuiltinVla(sizes), BuiltinVla(sizes)
    model = model.to(memory_format=torch.channels_last)
    data = tensors(examples, unit, sizes)
    kept, held_out = (torch.from_numpy(np.flatnonzero(mask)) for mask in (~examples.held_out, examples.held_out))

    def parts(network: BuiltinVla, training: bool) -> dict[str, torch.Tensor]:
        if training:
            flow, goal = losses(network, data, draw(kept, plan.batch), NOISES, STATE_NOISE, SHIFT)
        else:
            flow, goal = losses(network, data, draw(held_out, HELD_OUT_BATCH), 1, 0.0, 0)
        return {'flow': flow, 'goal': goal}

    curve = descend(model, averaged, plan, parts, {'goal': GOAL_WEIGHT}, report)
    return averaged, unit, curve


def draw(rows: torch.Tensor, count: int) -> torch.Tensor:
    """So many of some rows, again and again."""
    return rows[torch.randint(len(rows), (count,))]


def descend(
    model: Network, averaged: Network, plan: VlaTraining, parts: Callable[[Network, bool], dict[str, torch.Tensor]],
    weights: dict[str, float], report: Callable[[int, dict], None],
) -> list[dict]:  # fmt: skip
    """Train a network; `averaged` becomes the moving average of its weights. Returns the curve.

    parts(network, training): losses by name of a batch, for training or of held-out episodes; weights: of those whose
    weight is not 1.
    """
    averaged.load_state_dict(model.state_dict())
    optimiser = torch.optim.AdamW(model.parameters(), plan.learning_rate, weight_decay=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, plan.steps, pct_start=0.05)
    curve, started = [], time.monotonic()
    for step in range(1, plan.steps + 1):
        found = parts(model, True)
        optimiser.zero_grad()
        sum(weights.get(name, 1.0) * value for name, value in found.items()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            for kept_average, value in zip(averaged.parameters(), model.parameters(), strict=True):
                kept_average.lerp_(value, 1 - min(AVERAGING, step / (step + 10)))
        point = {'step': step} | {name: value.item() for name, value in found.items()}
        if step % 100 == 0 or step == plan.steps:
            with torch.no_grad():
                found = parts(averaged, False)
            point |= {f'held_out_{name}': value.item() for name, value in found.items()}
            curve.append(point | {'seconds': time.monotonic() - started})
        report(step, point)
    averaged.eval().requires_grad_(False)
    return curve


def tensors(examples: Examples, unit: units.Normalisation, sizes: VlaSizes) -> dict[str, torch.Tensor]:
    """Examples in the network's units."""
    chunks = ((examples.deltas / unit.scale - unit.chunk_mean) / unit.chunk_deviation).astype(np.float32)
    return {
        'images': torch.from_numpy(examples.images),
        'words': torch.from_numpy(examples.words),
        'state': torch.from_numpy(unit.proprioception(examples.features)[:, : sizes.proprioception]),
        'chunk': torch.from_numpy(chunks),
        'goal': torch.from_numpy(examples.goal),
    }


def shifted(images: torch.Tensor, most: int) -> torch.Tensor:
    """Images (B, N, S, S, 3), each moved by up to `most` px in both directions; edges repeat."""
    if most == 0:
        return images
    out, last = torch.empty_like(images), images.shape[2] - 1
    place = torch.arange(last + 1)
    moves = torch.randint(-most, most + 1, (*images.shape[:2], 2)).tolist()
    for b, cameras in enumerate(moves):
        for n, (down, right) in enumerate(cameras):
            out[b, n] = images[b, n, (place + down).clamp(0, last)][:, (place + right).clamp(0, last)]
    return out


def losses(
    model: BuiltinVla, data: dict[str, torch.Tensor], rows: torch.Tensor, noises: int, state_noise: float, shift: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flow-matching loss and hindsight loss of some rows."""
    state = data['state'][rows]
    state = state + state_noise * torch.randn_like(state)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        prefix = model.prefix(shifted(data['images'][rows], shift), data['words'][rows], state)
        goal = model.trunk.goal(prefix)
        flow = model.expert.loss(prefix, data['chunk'][rows], None, noises)
    return flow, (goal.float() - data['goal'][rows]).square().clamp(max=GOAL_CLAMP).mean()
