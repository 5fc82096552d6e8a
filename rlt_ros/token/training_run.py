"""`rlt train token`: the VLA and its demonstrations to the RL token and its card, and to a fine-tuned VLA if asked."""

from dataclasses import asdict
from pathlib import Path
import time

import numpy as np
from rich.progress import Progress
import torch

from rlt_ros.config import RobotProfile
from rlt_ros.data import card
from rlt_ros.data.progress import progress
from rlt_ros.machine import machine
from rlt_ros.token import weights
from rlt_ros.token.gaps import gaps
from rlt_ros.token.probe import offset_probe, principal_components
from rlt_ros.token.train import TokenTraining, prefixes, standardise, train
from rlt_ros.token.tuning import Tuning
from rlt_ros.vla import weights as vla_weights
from rlt_ros.vla.examples import Examples, load_examples
from rlt_ros.vla.model import BuiltinVla
from rlt_ros.vla.normalisation import Normalisation
from rlt_ros.weights_files import file_hash, vla_hash


def run(
    profile: RobotProfile, datasets: list[Path], vla: Path, out: Path, out_vla: Path | None, plan: TokenTraining,
    threads: int,
) -> None:  # fmt: skip
    """Train, probe, save and write the card.

    out_vla: where the fine-tuned VLA goes, to which the token then belongs; given if and only if plan.alpha > 0.
    Raises UserError where a file cannot be read or written or the data sets do not do, before anything is trained.
    """
    network, unit = vla_weights.load(vla, profile)
    before, trained_on = file_hash(vla), vla_hash(vla)
    for path in (out, out_vla or out):
        card.check_place(path)
    torch.set_num_threads(threads)
    started = time.monotonic()
    with progress() as bars:
        bar = bars.add_task('reading demonstrations', total=1, note='')
        # of the critical phase alone: there the actor-critic acts
        examples = load_examples(datasets, profile, network.sizes.horizon, plan.every, approach=False)
        bars.update(bar, advance=1, note=f'{len(examples.images)} observations')
        prefix = embed(bars, network, unit, examples)
        bar = bars.add_task('training the RL token', total=plan.steps, note='')

        def report(step: int, point: dict) -> None:
            note = f'reconstruction {point["reconstruction"]:.3f}, goal {point["goal"]:.3f}'
            bars.update(bar, completed=step, note=note)

        tuning = None if out_vla is None else Tuning(network, unit, examples)
        model, curve = train(prefix, examples, plan, report, tuning)
        if out_vla is not None:
            prefix = embed(bars, network, unit, examples)
        kept, held_out = (np.flatnonzero(mask) for mask in (~examples.held_out, examples.held_out))
        standardise(model, prefix[kept])
        with torch.no_grad():
            z = torch.cat([model(part.float()) for part in prefix.split(256)])
    facts = {
        'normalisation sha256': unit.hash,
        'command': card.command('token', datasets, profile.name, plan, vla)
        + f' --context-dropout {plan.context_dropout:g} --goal-weight {plan.goal_weight:g}'
        + ('' if out_vla is None else f' --alpha {plan.alpha:g} --out-vla {out_vla}'),
        'plan': asdict(plan),
        'data': {'episodes': int(examples.episode.max()) + 1, 'observations': len(prefix)},
        'parameters': sum(p.numel() for p in model.parameters()),
        'machine': machine() | {'threads': threads},
        'seconds': time.monotonic() - started,
        'reconstruction on held-out episodes': gaps(model, prefix[held_out], examples.episode[held_out]),
        'offset probe of z_rl (mm, x and y, held-out episodes)': offset_probe(z, examples),
        'offset probe of 64 principal components of the prefix (mm)': offset_probe(
            principal_components(prefix, kept), examples
        ),
        'curve': curve,
    }
    if out_vla is not None:
        tuned = vla_weights.save(out_vla, network, unit, profile.name, examples.instructions)
        names = ('command', 'plan', 'data', 'machine', 'seconds')
        card.write(
            out_vla, {'sha256': tuned, 'fine-tuned from sha256': before} | {name: facts[name] for name in names}
        )
        trained_on = vla_hash(out_vla)
    sha256 = weights.save(out, model, trained_on, unit.hash)
    card.write(out, {'sha256': sha256, 'vla hash': trained_on} | facts)
    if out_vla is not None:
        card.write(out_vla, {'sha256': tuned, 'token sha256': sha256})


def embed(bars: Progress, vla: BuiltinVla, unit: Normalisation, examples: Examples) -> torch.Tensor:
    """Prefix embeddings of all examples, with a bar."""
    bar = bars.add_task('prefix embeddings', total=len(examples.images), note='')
    return prefixes(vla, unit, examples, lambda done, _: bars.update(bar, completed=done))
