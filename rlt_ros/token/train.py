"""Training of the RL token on the VLA's prefix embeddings (paper, Eq. 2), with the VLA frozen or fine-tuned."""

from collections.abc import Callable
from dataclasses import dataclass
import time

import numpy as np
import torch

from rlt_ros.token.model import RlToken, TokenSizes
from rlt_ros.token.tuning import LEARNING_RATE, Tuning
from rlt_ros.vla.examples import Examples
from rlt_ros.vla.model import BuiltinVla
from rlt_ros.vla.normalisation import Normalisation
from rlt_ros.vla.train import GOAL_CLAMP
from rlt_ros.vla.trunk import GOAL_SIZE

LEAST_DEVIATION = 0.05  # of the deviation of an average dimension of z_rl


@dataclass(frozen=True)
class TokenTraining:
    """How the shipped weights were trained."""

    steps: int = 4000
    every: int = 6  # observations of the demonstrations: neighbours look alike
    batch: int = 24
    learning_rate: float = 1e-3
    context_dropout: float = 0.9
    goal_weight: float = 0.3  # hindsight, per goal dimension; against the mean squared reconstruction error
    alpha: float = 0.0  # of the VLA's own loss; 0: the VLA stays as it is
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
    """Eq. 2 as a mean over tokens of the squared distance per dimension, and the hindsight loss.

    No gradient reaches what made the prefix: it trains the token alone.
    """
    with torch.autocast('cpu', dtype=torch.bfloat16):
        target = model.scaled(prefix.detach().float())
        z = model.encoder(target)
        dropped = torch.rand(target.shape[:2]) < dropout
        rebuilt = model.decoder(z, target, dropped)
    missed = (model.goal(z.float()) - goal).square().clamp(max=GOAL_CLAMP).mean()
    return (rebuilt.float() - target).square().mean(), missed


def objective(
    model: RlToken, prefix: torch.Tensor, goal: torch.Tensor, rows: torch.Tensor, plan: TokenTraining,
    tuning: Tuning | None,
) -> tuple[torch.Tensor, dict[str, float]]:  # fmt: skip
    """L_ro(phi) + alpha L_vla(theta) of some rows, and its parts; prefix (T, M, d) holds while the VLA is frozen."""
    rebuilt, missed = losses(model, prefix[rows] if tuning is None else tuning.prefix(rows), goal[rows],
                             plan.context_dropout)  # fmt: skip
    total, parts = rebuilt + plan.goal_weight * missed, {'reconstruction': rebuilt.item(), 'goal': missed.item()}
    if tuning is None:
        return total, parts
    own = tuning.loss(rows)
    return total + plan.alpha * own, parts | {'vla': own.item()}


def train(
    prefix: torch.Tensor, examples: Examples, plan: TokenTraining, report: Callable[[int, dict], None],
    tuning: Tuning | None = None,
) -> tuple[RlToken, list[dict]]:  # fmt: skip
    """Train from scratch on prefix (T, M, d); `report(step, losses)` is called every step.

    tuning: the VLA that made the prefix, to be fine-tuned along with the token (plan.alpha > 0). Call `standardise`
    afterwards, with prefixes of the VLA as it is then.
    """
    torch.manual_seed(plan.seed)
    torch.set_flush_denormal(True)
    model = RlToken(TokenSizes(prefix.shape[1], prefix.shape[2], plan.token_dim), GOAL_SIZE)
    kept, held_out = (torch.from_numpy(np.flatnonzero(mask)) for mask in (~examples.held_out, examples.held_out))
    some = prefix[kept[torch.randint(len(kept), (4000,))]].float()
    model.centre.copy_(some.mean(0))
    model.spread.copy_((some - model.centre).square().mean().sqrt())
    goal = torch.from_numpy(examples.goal)
    groups, rates = [{'params': list(model.parameters())}], [plan.learning_rate]
    if tuning is not None:
        groups, rates = [*groups, {'params': list(tuning.vla.parameters())}], [*rates, LEARNING_RATE]
    learning = [parameter for group in groups for parameter in group['params']]
    optimiser = torch.optim.AdamW(groups, plan.learning_rate, weight_decay=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, plan.steps, pct_start=0.05)
    curve, started = [], time.monotonic()
    for step in range(1, plan.steps + 1):
        rows = kept[torch.randint(len(kept), (plan.batch,))]
        loss, parts = objective(model, prefix, goal, rows, plan, tuning)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        schedule.step()
        point = {'step': step, **parts}
        if step % 100 == 0 or step == plan.steps:
            with torch.no_grad():
                rows = held_out[torch.randint(len(held_out), (256,))]
                _, parts = objective(model, prefix, goal, rows, plan, tuning)
            point |= {f'held_out_{name}': value for name, value in parts.items()}
            curve.append(point | {'seconds': time.monotonic() - started})
        report(step, point)
    if tuning is not None:
        tuning.freeze()
    return model.eval(), curve


@torch.no_grad()
def standardise(model: RlToken, prefix: torch.Tensor) -> None:
    """Set the statistics of z_rl: the critic needs every dimension at the same scale."""
    z = torch.cat([model.encoder(model.scaled(part.float())) for part in prefix.split(256)])
    model.mean.copy_(z.mean(0))
    deviation = z.std(0)
    model.deviation.copy_(deviation.clamp(min=LEAST_DEVIATION * deviation.mean()))
