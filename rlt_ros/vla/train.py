"""Training of the built-in VLA: flow matching on demonstrated chunks, with a hindsight loss on the prefix."""

from collections.abc import Callable
from dataclasses import dataclass
import time

import numpy as np
import torch

from rlt_ros.config import RobotProfile
from rlt_ros.control.kinematics import Kinematics
from rlt_ros.errors import UserError
from rlt_ros.vla import normalisation as units
from rlt_ros.vla.examples import Examples, home
from rlt_ros.vla.model import BuiltinVla, VlaSizes
from rlt_ros.vla.proprioception import Proprioception

GOAL_WEIGHT = 0.3
GOAL_CLAMP = 9.0  # squared, in goal units: far away the goal is not worth precision
NOISES = 3  # noise samples per observation: the prefix is the expensive part
AVERAGING = 0.998  # of the weights' moving average, which is what is kept
STATE_NOISE = 0.02  # normalised
SHIFT = 1  # px that a camera's picture is moved at random, so that where it looks counts less than what it shows


@dataclass(frozen=True)
class VlaTraining:
    """How long, and on what of the demonstrations."""

    steps: int = 6000
    batch: int = 64
    every: int = 3  # observations of the demonstrations: neighbours look alike
    approach_share: float = 0.35  # of a batch, that is of the way to the critical phase
    learning_rate: float = 1e-3
    seed: int = 0


class Rows:
    """Draws observations of some episodes, of the critical phase and of the way to it as often as asked for."""

    def __init__(self, examples: Examples, episodes: np.ndarray, approach_share: float):
        """episodes: (T,) bool, which observations are drawn from."""
        critical, approach = (np.flatnonzero(episodes & mask) for mask in (examples.critical, ~examples.critical))
        self.parts = [(torch.from_numpy(critical), 1 - approach_share), (torch.from_numpy(approach), approach_share)]
        if not len(approach):
            self.parts = [(torch.from_numpy(critical), 1.0)]

    def draw(self, count: int, random: torch.Generator) -> torch.Tensor:
        return torch.cat(
            [rows[torch.randint(len(rows), (round(share * count),), generator=random)] for rows, share in self.parts]
        )


def prepare(profile: RobotProfile, examples: Examples) -> tuple[VlaSizes, units.Normalisation]:
    """Sizes and units from the robot and the training episodes."""
    feel = Proprioception(Kinematics(profile), home(profile))
    train = ~examples.held_out & examples.critical
    approach = examples.deltas[~examples.held_out & ~examples.critical]
    sizes = VlaSizes(
        cameras=len(profile.cameras), image_size=profile.image_size, proprioception=feel.pose_size,
        action_dim=profile.action_dim, horizon=examples.deltas.shape[1],
    )  # fmt: skip
    chunks = examples.deltas[train], approach if len(approach) else None
    return sizes, units.fit(profile, examples.features[train], feel.floor, *chunks)


def train(
    profile: RobotProfile, examples: Examples, plan: VlaTraining, report: Callable[[int, dict], None],
    start: BuiltinVla | None = None,
) -> tuple[BuiltinVla, units.Normalisation, list[dict]]:
    """Train from scratch, or on from a network that is there; `report(step, losses)` is called every step.

    Returns network, units and the curve. Raises UserError where the network to start from has other sizes.
    """
    torch.manual_seed(plan.seed)
    torch.set_flush_denormal(True)
    sizes, unit = prepare(profile, examples)
    model, averaged = BuiltinVla(sizes), BuiltinVla(sizes)
    if start is not None:
        if start.sizes != sizes:
            raise UserError(f'the VLA to start from has sizes {start.sizes}, the demonstrations need {sizes}')
        model.load_state_dict(start.state_dict())
    averaged.load_state_dict(model.state_dict())
    model = model.to(memory_format=torch.channels_last)
    data = tensors(examples, unit, sizes)
    kept, held_out = (Rows(examples, mask, plan.approach_share) for mask in (~examples.held_out, examples.held_out))
    optimiser = torch.optim.AdamW(model.parameters(), plan.learning_rate, weight_decay=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, plan.steps, pct_start=0.05)
    random = torch.Generator().manual_seed(plan.seed)
    curve, started = [], time.monotonic()
    for step in range(1, plan.steps + 1):
        flow, goal = losses(model, data, kept.draw(plan.batch, random), NOISES, STATE_NOISE, SHIFT)
        optimiser.zero_grad()
        (flow + GOAL_WEIGHT * goal).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            for kept_average, value in zip(averaged.parameters(), model.parameters(), strict=True):
                kept_average.lerp_(value, 1 - min(AVERAGING, step / (step + 10)))
        point = {'step': step, 'flow': flow.item(), 'goal': goal.item()}
        if step % 100 == 0 or step == plan.steps:
            with torch.no_grad():
                flow, goal = losses(averaged, data, held_out.draw(256, random), 1, 0.0, 0)
            point |= {'held_out_flow': flow.item(), 'held_out_goal': goal.item(), 'seconds': time.monotonic() - started}
            curve.append(point)
        report(step, point)
    return averaged.eval(), unit, curve


def tensors(examples: Examples, unit: units.Normalisation, sizes: VlaSizes) -> dict[str, torch.Tensor]:
    """Examples in the network's units."""
    chunks = ((examples.deltas / unit.scale - unit.chunk_mean) / unit.chunk_deviation).astype(np.float32)
    squares = (chunks**2).mean(-1)
    size = np.sqrt((squares * examples.known).sum(-1) / np.maximum(examples.known.sum(-1), 1))
    return {
        'images': torch.from_numpy(examples.images),
        'words': torch.from_numpy(examples.words),
        'state': torch.from_numpy(unit.proprioception(examples.features)[:, : sizes.proprioception]),
        'chunk': torch.from_numpy(chunks),
        'known': torch.from_numpy(examples.known),
        'log_span': torch.from_numpy(np.log(np.maximum(size, 1.0)).astype(np.float32)),
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
    """Flow-matching loss and hindsight loss of some rows; steps that are not known do not count."""
    state = data['state'][rows]
    state = state + state_noise * torch.randn_like(state)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        prefix = model.prefix(shifted(data['images'][rows], shift), data['words'][rows], state)
        goal, log_span = model.foresight(prefix)
        target = (data['chunk'][rows] / model.span(log_span.detach())).repeat_interleave(noises, 0)
        noise, t = torch.randn_like(target), torch.rand(len(target))
        velocity = model.velocity(model.context(prefix), noise + (target - noise) * t[:, None, None], t)
    known = data['known'][rows].repeat_interleave(noises, 0)
    flow = (velocity.float() - target + noise)[known].square().mean()
    missed = (goal.float() - data['goal'][rows]).square().clamp(max=GOAL_CLAMP).mean()
    return flow, missed + (log_span.float() - data['log_span'][rows]).square().mean()
