"""Training of the VLA's way to the critical phase, on demonstrations of full tasks; all else of it stays frozen."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from rlt_ros.token.train import prefixes
from rlt_ros.vla.approach import LARGEST_SPAN, SMALLEST_SPAN, Approach, outline
from rlt_ros.vla.examples import APPROACH_UNITS, GOAL_UNIT, Examples
from rlt_ros.vla.model import BuiltinVla
from rlt_ros.vla.normalisation import LEAST_DEVIATION, Normalisation
from rlt_ros.vla.train import (
    GOAL_WEIGHT,
    HELD_OUT_BATCH,
    NOISES,
    SHIFT,
    STATE_NOISE,
    VlaTraining,
    descend,
    draw,
    shifted,
    tensors,
)  # fmt: skip

NEAR = 0.05  # m from the next goal: half of what is learned from lies there, where it is decided
PRECISE = 5.0  # at a goal its error weighs so much more than NEAR away and beyond: there it is in units of 2 mm
OUTLINE_EVERY = 4  # observations from which it is learned whose turn it is: neighbours look alike


@dataclass
class Turns:
    """(T, 2 d) outlines of prefixes of any phase, and which are of the approach and held out (T,)."""

    outline: torch.Tensor
    approach: torch.Tensor
    held_out: torch.Tensor


def turns(vla: BuiltinVla, unit: Normalisation, examples: Examples, report: Callable[[int, int], None]) -> Turns:
    """From the frozen VLA's prefixes of some of the examples."""
    some = examples.thinned(OUTLINE_EVERY)
    outlines = [outline(part.float()) for part in prefixes(vla, unit, some, report).split(256)]
    return Turns(torch.cat(outlines), torch.from_numpy(~some.critical), torch.from_numpy(some.held_out))


def train(
    vla: BuiltinVla, unit: Normalisation, examples: Examples, turn: Turns, plan: VlaTraining,
    report: Callable[[int, dict], None],
) -> list[dict]:  # fmt: skip
    """Give the VLA an approach; `report(step, losses)` is called every step. Returns the curve."""
    torch.manual_seed(plan.seed)
    torch.set_flush_denormal(True)
    model, averaged = Approach(vla.sizes), Approach(vla.sizes)
    data = tensors(examples, unit, vla.sizes) | {'known': torch.from_numpy(examples.known)}
    distance = torch.from_numpy(examples.goal[:, :3] * GOAL_UNIT[:3] * APPROACH_UNITS).norm(dim=1)
    data['precision'] = precision(distance)
    kept, held_out = (
        torch.from_numpy(np.flatnonzero(~examples.critical & mask)) for mask in (~examples.held_out, examples.held_out)
    )
    if vla.approach is None:
        model.trunk.load_state_dict(vla.trunk.state_dict())  # eyes that can see already
        set_units(model, data['chunk'][kept], data['known'][kept])
    else:
        model.load_state_dict(vla.approach.state_dict())
    near, half = kept[distance[kept] < NEAR], plan.batch // 2
    kept_turns, held_out_turns = (torch.nonzero(mask)[:, 0] for mask in (~turn.held_out, turn.held_out))

    def parts(network: Approach, training: bool) -> dict[str, torch.Tensor]:
        rows, count = (kept_turns, plan.batch) if training else (held_out_turns, HELD_OUT_BATCH)
        rows = draw(rows, count)
        odds = network.turn(turn.outline[rows])
        whose = {'turn': F.binary_cross_entropy_with_logits(odds, turn.approach[rows].float())}
        if training:
            some = torch.cat([draw(kept, plan.batch - half), draw(near, half)])
            return whose | losses(network, data, some, NOISES, STATE_NOISE, SHIFT)
        return whose | losses(network, data, draw(held_out, HELD_OUT_BATCH), 1, 0.0, 0)

    model = model.to(memory_format=torch.channels_last)
    curve = descend(model, averaged, plan, parts, {'goal': GOAL_WEIGHT}, report)
    vla.approach = averaged
    return curve


def precision(distance: torch.Tensor) -> torch.Tensor:
    """What the error of a predicted goal is multiplied by, so far from it (m): the last millimetres are worth more."""
    return PRECISE + (1 - PRECISE) * (distance / NEAR).clamp(max=1).float()


def set_units(model: Approach, chunk: torch.Tensor, known: torch.Tensor) -> None:
    """Mean and deviation of the known steps of chunks (T, H, D), in the VLA's units."""
    count = known.sum(0).clamp(min=1)[:, None]
    model.mean.copy_((chunk * known[..., None]).sum(0) / count)
    variance = ((chunk - model.mean).square() * known[..., None]).sum(0) / count
    model.deviation.copy_(variance.sqrt().clamp(min=LEAST_DEVIATION))


def losses(
    model: Approach, data: dict[str, torch.Tensor], rows: torch.Tensor, noises: int, state_noise: float, shift: int
) -> dict[str, torch.Tensor]:
    """Flow matching, and hindsight of goal and span, of some rows."""
    known, chunk = data['known'][rows], (data['chunk'][rows] - model.mean) / model.deviation
    squares = chunk.square().mean(2) * known
    size = (squares.sum(1) / known.sum(1).clamp(min=1)).sqrt().clamp(SMALLEST_SPAN, LARGEST_SPAN)
    state = data['state'][rows]
    state = state + state_noise * torch.randn_like(state)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        seen = model.see(shifted(data['images'][rows], shift), data['words'][rows], state)
        foresight = model.trunk.foresight(seen)
        goal, log_span = model.trunk.goal_head(foresight), model.span_head(foresight)[:, 0]
        flow = model.expert.loss(seen, chunk / model.span(log_span.detach()), known, noises)
    worth = data['precision'][rows, None]
    return {
        'flow': flow,
        'goal': F.huber_loss(goal.float() * worth, data['goal'][rows] * worth),
        'span': (log_span.float() - size.log()).square().mean(),
    }
