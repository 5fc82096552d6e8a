"""`rlt train vla` and `rlt train approach`: demonstrations to weights and model card."""

from dataclasses import asdict
import json
from pathlib import Path
import time

import numpy as np
import torch

from rlt_ros.bench.lockstep import LockStep, throughput
from rlt_ros.config import Method, RobotProfile, Task
from rlt_ros.data import card
from rlt_ros.data.progress import progress
from rlt_ros.token.probe import offset_probe, principal_components
from rlt_ros.token.train import prefixes
from rlt_ros.vla import weights
from rlt_ros.vla.approach_training import OUTLINE_EVERY, turns
from rlt_ros.vla.approach_training import train as train_approach
from rlt_ros.vla.backends import open_backend
from rlt_ros.vla.examples import load_examples
from rlt_ros.vla.model import VlaSizes
from rlt_ros.vla.train import VlaTraining, train

WAY = 'trainings of the way to the critical phase'  # each goes on from the one before
PROBE_EVERY = 4  # observations: neighbours look alike
EVALUATION_EPISODES = {'critical': 50, 'full': 20}  # by setting: full tasks take five times as long
EVALUATION_SEED = [0, 5]  # starts that no demonstration was recorded from


def run(
    profile: RobotProfile, tasks: list[Task], method: Method, datasets: list[Path], out: Path, plan: VlaTraining,
    threads: int,
) -> dict:  # fmt: skip
    """Train, save, probe and write the card; returns the card's new facts."""
    torch.set_num_threads(threads)
    started = time.monotonic()
    with progress() as bars:
        bar = bars.add_task('reading demonstrations', total=1, note='')
        examples = load_examples(datasets, profile, VlaSizes.horizon, plan.every, approach=False)
        bars.update(bar, advance=1, note=f'{len(examples.images)} observations')
        bar = bars.add_task('training the VLA', total=plan.steps, note='')

        def report(step: int, point: dict) -> None:
            bars.update(bar, completed=step, note=f'flow {point["flow"]:.3f}, goal {point["goal"]:.3f}')

        model, unit, curve = train(profile, examples, plan, report)
        sha256 = weights.save(out, model, unit, profile.name, examples.instructions)
        some = examples.thinned(PROBE_EVERY)
        bar = bars.add_task('probing the prefix', total=len(some.images), note='')
        prefix = prefixes(model, unit, some, lambda done, _: bars.update(bar, completed=done))
        probe = offset_probe(principal_components(prefix, np.flatnonzero(~some.held_out)), some)
    facts = {
        'sha256': sha256,
        'command': f'./rlt train vla {" ".join(f"--dataset {d}" for d in datasets)} --robot {profile.name} '
        f'--steps {plan.steps} --batch {plan.batch} --every {plan.every} --seed {plan.seed}',
        'plan': asdict(plan),
        'data': {
            'episodes': int(examples.episode.max()) + 1, 'observations': len(examples.images),
            'held out': 'every tenth episode', 'instructions': examples.instructions,
        },
        'parameters': sum(p.numel() for p in model.parameters()),
        'machine': card.machine() | {'threads': threads},
        'seconds': time.monotonic() - started,
        'offset probe of the prefix, 64 principal components (mm, x and y, held-out episodes)': probe,
        **{key: value for task in tasks for key, value in evaluated(profile, task, method, out).items()},
        'curve': curve,
    }  # fmt: skip
    card.write(out, facts)
    return facts


def run_approach(
    profile: RobotProfile, tasks: list[Task], method: Method, datasets: list[Path], vla: Path, out: Path,
    plan: VlaTraining, threads: int,
) -> dict:  # fmt: skip
    """Train a VLA's way to the critical phase, save, and add to its card; returns the card's new facts."""
    torch.set_num_threads(threads)
    started = time.monotonic()
    model, unit = weights.load(vla, profile)
    with progress() as bars:
        bar = bars.add_task('reading demonstrations', total=1, note='')
        examples = load_examples(datasets, profile, model.sizes.horizon, plan.every)
        bars.update(bar, advance=1, note=f'{len(examples.images)} observations')
        bar = bars.add_task('what the VLA sees', total=-(-len(examples.images) // OUTLINE_EVERY), note='')
        turn = turns(model, unit, examples, lambda done, _: bars.update(bar, completed=done))
        bar = bars.add_task('training the approach', total=plan.steps, note='')

        def report(step: int, point: dict) -> None:
            bars.update(bar, completed=step, note=f'flow {point["flow"]:.3f}, goal {point["goal"]:.3f}')

        curve = train_approach(model, unit, examples, turn, plan, report)
    path = vla.with_suffix('.json')
    before = json.loads(path.read_text()) if path.is_file() else {}
    facts = before | {
        'sha256': weights.save(out, model, unit, profile.name, weights.instructions(vla)),
        WAY: before.get(WAY, []) + [{
            'command': f'./rlt train approach {" ".join(f"--dataset {d}" for d in datasets)} --robot {profile.name} '
            f'--steps {plan.steps} --batch {plan.batch} --every {plan.every} --seed {plan.seed}',
            'observations': len(examples.images), 'seconds': time.monotonic() - started,
            'parameters': sum(p.numel() for p in model.approach.parameters()),
            **{name: value for name, value in curve[-1].items() if name.startswith('held_out_')},
        }],
        **{key: value for task in tasks for key, value in evaluated(profile, task, method, out).items()},
    }  # fmt: skip
    card.write(out, facts)
    return facts


def evaluated(profile: RobotProfile, task: Task, method: Method, path: Path) -> dict:
    """What a VLA's card says of a task: episodes of the frozen VLA in lock-step, with a bar."""
    backend, count = open_backend(str(path), profile, task), EVALUATION_EPISODES[task.setting]
    runner, results = LockStep(profile, task, method, backend, None, EVALUATION_SEED), []
    with progress() as bars:
        bar = bars.add_task(f'evaluating on {task.name}', total=count, note='')
        for _ in range(count):
            results.append(runner.episode('evaluation', noise=False))
            bars.update(bar, advance=1, note=f'{sum(r.success for r in results)} successes')
    return {f'{task.name} in lock-step, {count} episodes, {task.time_limit:g} s limit': {
        'success_rate': np.mean([r.success for r in results]),
        'median_steps': np.median([r.steps for r in results if r.success] or [np.nan]),
        'throughput_per_10min': throughput(results, profile.control_rate),
    }}  # fmt: skip
