"""`rlt train vla` and `rlt train approach`: demonstrations to weights and model card."""

from dataclasses import asdict
from pathlib import Path
import time

import numpy as np
import torch

from rlt_ros.bench.lockstep import LockStep, throughput
from rlt_ros.config import Method, RobotProfile, Task
from rlt_ros.data import card
from rlt_ros.data.progress import progress
from rlt_ros.errors import UserError
from rlt_ros.machine import machine
from rlt_ros.token.probe import offset_probe, principal_components
from rlt_ros.token.train import prefixes
from rlt_ros.vla import weights
from rlt_ros.vla.approach_training import OUTLINE_EVERY, turns
from rlt_ros.vla.approach_training import train as train_approach
from rlt_ros.vla.backends import open_backend
from rlt_ros.vla.examples import Examples, load_examples
from rlt_ros.vla.model import VlaSizes
from rlt_ros.vla.train import VlaTraining, train
from rlt_ros.weights_files import card_of

WAY = 'trainings of the way to the critical phase'  # each goes on from the one before
PROBE_EVERY = 4  # observations: neighbours look alike
EVALUATION_EPISODES = {'critical': 50, 'full': 20}  # by setting: full tasks take five times as long
EVALUATION_SEED = [0, 5]  # starts that no demonstration was recorded from


def run(
    profile: RobotProfile, tasks: list[Task], method: Method, datasets: list[Path], out: Path, plan: VlaTraining,
    threads: int,
) -> None:  # fmt: skip
    """Train, probe, save and write the card; then evaluate, which goes there too.

    Raises UserError where `out` cannot be written or the data sets do not do, before anything is trained.
    """
    card.check_place(out)
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
        some = examples.thinned(PROBE_EVERY)
        bar = bars.add_task('probing the prefix', total=len(some.images), note='')
        prefix = prefixes(model, unit, some, lambda done, _: bars.update(bar, completed=done))
        probe = offset_probe(principal_components(prefix, np.flatnonzero(~some.held_out)), some)
    facts = {
        'command': card.command('vla', datasets, profile.name, plan),
        'plan': asdict(plan),
        'data': {
            'episodes': int(examples.episode.max()) + 1, 'observations': len(examples.images),
            'held out': 'every tenth episode', 'instructions': examples.instructions,
        },
        'parameters': sum(p.numel() for p in model.parameters()),
        'machine': machine() | {'threads': threads},
        'seconds': time.monotonic() - started,
        'offset probe of the prefix, 64 principal components (mm, x and y, held-out episodes)': probe,
        'curve': curve,
    }  # fmt: skip
    sha256 = weights.save(out, model, unit, profile.name, examples.instructions)
    card.write(out, {'sha256': sha256} | facts)
    add_evaluations(profile, tasks, method, out, sha256)


def run_approach(
    profile: RobotProfile, tasks: list[Task], method: Method, datasets: list[Path], vla: Path, out: Path,
    plan: VlaTraining, threads: int,
) -> None:  # fmt: skip
    """Train a VLA's way to the critical phase, save, and add to its card; then evaluate, which goes there too.

    Raises UserError where a file cannot be read or written or the data sets do not do, before anything is trained.
    """
    model, unit = weights.load(vla, profile)
    before = {name: value for name, value in card_of(vla).items() if not of_a_full_task(name)}
    card.check_place(out)
    torch.set_num_threads(threads)
    started = time.monotonic()
    with progress() as bars:
        bar = bars.add_task('reading demonstrations', total=1, note='')
        examples = load_examples(datasets, profile, model.sizes.horizon, plan.every)
        check_approach(examples, datasets)
        bars.update(bar, advance=1, note=f'{len(examples.images)} observations')
        bar = bars.add_task('what the VLA sees', total=-(-len(examples.images) // OUTLINE_EVERY), note='')
        turn = turns(model, unit, examples, lambda done, _: bars.update(bar, completed=done))
        bar = bars.add_task('training the approach', total=plan.steps, note='')

        def report(step: int, point: dict) -> None:
            bars.update(bar, completed=step, note=f'flow {point["flow"]:.3f}, goal {point["goal"]:.3f}')

        curve = train_approach(model, unit, examples, turn, plan, report)
    training = {
        'command': card.command('approach', datasets, profile.name, plan, vla),
        'observations': len(examples.images), 'seconds': time.monotonic() - started,
        'parameters': sum(p.numel() for p in model.approach.parameters()),
        **{name: value for name, value in curve[-1].items() if name.startswith('held_out_')},
    }  # fmt: skip
    sha256 = weights.save(out, model, unit, profile.name, weights.instructions(vla))
    card.write(out, before | {'sha256': sha256, WAY: before.get(WAY, []) + [training]})
    add_evaluations(profile, tasks, method, out, sha256)


def check_approach(examples: Examples, datasets: list[Path]) -> None:
    """Raises UserError where there is nothing to learn the approach from, or nothing held out to judge it by."""
    for kind, mask in (('training', ~examples.held_out), ('held-out', examples.held_out)):
        if examples.critical[mask].all():
            where = ', '.join(map(str, datasets))
            raise UserError(
                f'{where}: no observation of the approach, the way to the critical phase, in {kind} episodes; '
                'full tasks have some: rlt collect --task ethernet_full'
            )


def of_a_full_task(name: str) -> bool:
    """Whether an entry of a card is of `evaluated` on a full task, which does not hold for another approach."""
    return f' in lock-step, {EVALUATION_EPISODES["full"]} episodes' in name


def add_evaluations(profile: RobotProfile, tasks: list[Task], method: Method, out: Path, sha256: str) -> None:
    """Add what a VLA does in each task to its card, task by task: episodes take minutes, and may be interrupted."""
    for task in tasks:
        card.write(out, {'sha256': sha256} | evaluated(profile, task, method, out))


def evaluated(profile: RobotProfile, task: Task, method: Method, path: Path) -> dict:
    """What a VLA's card says of a task: episodes of the frozen VLA in lock-step, with a bar."""
    backend, count = open_backend(str(path), profile, task), EVALUATION_EPISODES[task.setting]
    runner, results = LockStep(profile, task, method, backend, None, EVALUATION_SEED), []
    with progress() as bars:
        bar = bars.add_task(f'evaluating on {task.name}', total=count, note='')
        for _ in range(count):
            results.append(runner.episode('evaluation', noise=False))
            bars.update(bar, advance=1, note=f'{sum(r.success for r in results)} successes')
    steps = [result.steps for result in results if result.success]
    return {f'{task.name} in lock-step, {count} episodes, {task.time_limit:g} s limit': {
        'success_rate': np.mean([r.success for r in results]),
        'median_steps': np.median(steps) if steps else None,
        'throughput_per_10min': throughput(results, profile.control_rate),
    }}  # fmt: skip
