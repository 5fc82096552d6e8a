"""Training of the RL token on the frozen VLA's prefix embeddings (paper, Eq. 2)."""

from collections.abc import Callable
from dataclasses import dataclass
import time

import numpy as np
import torch

from rlt_ros.token.model import RlToken, TokenSizes
from rlt_ros.vla.examples import Examples
from rlt_ros.vla.model import GOAL_SIZE, BuiltinVla
from rlt_ros.vla.normalisation import Normalisation
from rlt_ros.vla.train import GOAL_CLAMP

LEAST_DEVIATION = 0.05  # of the deviation of an average dimension of z_rl


@dataclass(frozen=True)
class TokenTraining:
    """How the shipped weights were trained."""

    steps: int = 2500
    every: int = 3  # observations of the demonstrations: neighbours look alike
    batch: int = 24
    learning_rate: float = 1e-3
    context_dropout: float = 0.9
    goal_weight: float = 0.3  # hindsight, per goal dimension; against the mean squared reconstruction error
    token_dim: int = 128
    seed: int = 0


@torch.no_grad()
def prefixes(
    vla: BuiltinVla, unit: Normalisation, examples: Examples, report: Callable[[int, int], None]
) -> torch.Tensor:
    """Prefix embeddings (T, M, d) float16 of all examples."""
    size = vla.sizes
    out = torch.empty(len(examples.images), size.tokens, size.width, dtype=torch.float16)
    state = torch.from_numpy(unit.proprioception(examples.features)[:, : size.proprioception])
    for start in range(0, len(out), 64):
        rows = slice(start, start + 64)
        images, words = torch.from_numpy(examples.images[rows]), torch.from_numpy(examples.words[rows])
        out[rows] = vla.prefix(images, words, state[rows]).half()
        report(min(start + 64, len(out)), len(out))
    return out


def losses(
    model: RlToken, prefix: torch.Tensor, goal: torch.Tensor, dropout: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Eq. 2 as a mean over tokens of the squared distance per dimension, and the hindsight loss."""
    with torch.autocast('cpu', dtype=torch.bfloat16):
        target = model.scaled(prefix.float())
        z = model.encoder(target)
        dropped = torch.rand(target.shape[:2]) < dropout
        rebuilt = model.decoder(z, target, dropped)
    missed = (model.goal(z.float()) - goal).square().clamp(max=GOAL_CLAMP).mean()
    return (rebuilt.float() - target).square().mean(), missed


def train(
    prefix: torch.Tensor, examples: Examples, plan: TokenTraining, report: Callable[[int, dict], None]
) -> tuple[RlToken, list[dict]]:
    """Train from scratch on prefix (T, M, d); `report(step, losses)` is called every step."""
    torch.manual_seed(plan.seed)
    torch.set_flush_denormal(True)
    model = RlToken(TokenSizes(prefix.shape[1], prefix.shape[2], plan.token_dim), GOAL_SIZE)
    kept, held_out = (torch.from_numpy(np.flatnonzero(mask)) for mask in (~examples.held_out, examples.held_out))
    some = prefix[kept[torch.randint(len(kept), (4000,))]].float()
    model.centre.copy_(some.mean(0))
    model.spread.copy_((some - model.centre).square().mean().sqrt())
    goal = torch.from_numpy(examples.goal)
    optimiser = torch.optim.AdamW(model.parameters(), plan.learning_rate, weight_decay=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, plan.steps, pct_start=0.05)
    curve, started = [], time.monotonic()
    for step in range(1, plan.steps + 1):
        rows = kept[torch.randint(len(kept), (plan.batch,))]
        rebuilt, missed = losses(model, prefix[rows], goal[rows], plan.context_dropout)
        optimiser.zero_grad()
        (rebuilt + plan.goal_weight * missed).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        point = {'step': step, 'reconstruction': rebuilt.item(), 'goal': missed.item()}
        if step % 100 == 0 or step == plan.steps:
            with torch.no_grad():
                rows = held_out[torch.randint(len(held_out), (256,))]
                rebuilt, missed = losses(model, prefix[rows], goal[rows], plan.context_dropout)
            point |= {
                'held_out_reconstruction': rebuilt.item(),
                'held_out_goal': missed.item(),
                'seconds': time.monotonic() - started,
            }
            curve.append(point)
        report(step, point)
    standardise(model.eval(), prefix[kept])
    return model, curve


@torch.no_grad()
def standardise(model: RlToken, prefix: torch.Tensor) -> None:
    """Set the statistics of z_rl: the critic needs every dimension at the same scale."""
    z = torch.cat([model.encoder(model.scaled(part.float())) for part in prefix.split(256)])
    model.mean.copy_(z.mean(0))
    deviation = z.std(0)
    model.deviation.copy_(deviation.clamp(min=LEAST_DEVIATION * deviation.mean()))
