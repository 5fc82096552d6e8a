"""`rlt train token`: the frozen VLA and its demonstrations to the RL token and its card."""

from dataclasses import asdict
from pathlib import Path
import time

import numpy as np
import torch

from rlt_ros.config import RobotProfile
from rlt_ros.data import card
from rlt_ros.data.progress import progress
from rlt_ros.token import weights
from rlt_ros.token.probe import offset_probe, principal_components
from rlt_ros.token.report import gaps
from rlt_ros.token.train import TokenTraining, prefixes, train
from rlt_ros.vla import weights as vla_weights
from rlt_ros.vla.examples import load_examples
from rlt_ros.weights_files import file_hash


def run(profile: RobotProfile, dataset: Path, vla: Path, out: Path, plan: TokenTraining, threads: int) -> dict:
    """Train, save, probe and write the card; returns the card's new facts."""
    torch.set_num_threads(threads)
    started = time.monotonic()
    network, unit = vla_weights.load(vla, profile)
    vla_hash = file_hash(vla)
    with progress() as bars:
        bar = bars.add_task('reading demonstrations', total=1, note='')
        examples = load_examples(dataset, profile, network.sizes.horizon, plan.every)
        bars.update(bar, advance=1, note=f'{len(examples.images)} observations')
        bar = bars.add_task('prefix embeddings', total=len(examples.images), note='')
        prefix = prefixes(network, unit, examples, lambda done, _: bars.update(bar, completed=done))
        bar = bars.add_task('training the RL token', total=plan.steps, note='')

        def report(step: int, point: dict) -> None:
            note = f'reconstruction {point["reconstruction"]:.3f}, goal {point["goal"]:.3f}'
            bars.update(bar, completed=step, note=note)

        model, curve = train(prefix, examples, plan, report)
        sha256 = weights.save(out, model, vla_hash)
        with torch.no_grad():
            z = torch.cat([model(part.float()) for part in prefix.split(256)])
    kept = np.flatnonzero(~examples.held_out)
    facts = {
        'sha256': sha256,
        'vla sha256': vla_hash,
        'command': f'./rlt train token --dataset {dataset} --robot {profile.name} --steps {plan.steps} '
        f'--batch {plan.batch} --seed {plan.seed}',
        'plan': asdict(plan),
        'data': {'episodes': int(examples.episode.max()) + 1, 'observations': len(prefix)},
        'parameters': sum(p.numel() for p in model.parameters()),
        'machine': card.machine() | {'threads': threads},
        'seconds': time.monotonic() - started,
        'reconstruction on held-out episodes': gaps(model, prefix, examples),
        'offset probe of z_rl (mm, x and y, held-out episodes)': offset_probe(z, examples),
        'offset probe of 64 principal components of the prefix (mm)': offset_probe(
            principal_components(prefix, kept), examples
        ),
        'curve': curve,
    }
    card.write(out, facts)
    return facts
