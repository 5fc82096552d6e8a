"""`rlt token report`: records what is missing, looks at it through VLA and token, and reports."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from rich.progress import Progress

from rlt_ros.config import Method, RobotProfile, Task, config_hash
from rlt_ros.data.dataset import Episode
from rlt_ros.data.progress import progress
from rlt_ros.errors import UserError
from rlt_ros.sim.tasks import open_task
from rlt_ros.source import source_hash
from rlt_ros.token import fresh, labels, weights
from rlt_ros.token.features import representations
from rlt_ros.token.model import RlToken
from rlt_ros.token.report import Seen, build, scored
from rlt_ros.token.train import prefixes
from rlt_ros.vla.builtin import BuiltinBackend
from rlt_ros.vla.examples import Examples, load_examples
from rlt_ros.weights_files import file_hash

EVERY = 2  # observations: neighbours look alike


def run(
    profile: RobotProfile, task: Task, method: Method, vla_path: Path, token_path: Path,
    dataset: Path | None, episodes: int, seed: int,
) -> dict:  # fmt: skip
    """The report. Without `dataset`, fresh demonstrations and VLA episodes (see `fresh`); with it, both from there.

    Of the critical phase alone, also of a task whose part is fetched: nothing learns from the token before.
    """
    task = task.alone()
    vla = BuiltinBackend(vla_path, profile)
    model = weights.load(token_path, vla.hash, vla.unit.hash)
    with progress() as bars:
        if dataset is None:
            code = source_hash('bench/lockstep.py', 'config', 'control', 'sim', 'token/fresh.py', 'vla')
            made = f'{config_hash(profile, task, method)[:8]}-{code[:8]}'
            folder = Path('datasets', f'report-{profile.name}-{task.name}-{seed}-{made}')
            demonstrated = recorded(
                bars, folder / f'demonstrations-{episodes}', 'demonstrations', profile,
                lambda: fresh.demonstrations(profile, task, seed), episodes,
            )  # fmt: skip
            attempted = recorded(
                bars, folder / f'rollouts-{episodes}-{vla.hash[:12]}', 'episodes of the VLA', profile,
                lambda: fresh.rollouts(profile, task, method, vla, seed), episodes,
            )  # fmt: skip
        else:
            demonstrated = attempted = dataset
        demonstrations = look(
            bars, demonstrated, profile, vla, model, lambda examples: labels.phases(examples, profile)
        )  # fmt: skip
        inside = open_task(task.scene).inside
        attempts = look(bars, attempted, profile, vla, model, lambda examples: labels.goes_in(examples, inside))
        bars.add_task('gaps and probes', total=None, note='')
        report = build(model, demonstrations, attempts, vla.unit.scale, method.chunk)
    about = {'robot': profile.name, 'task': task.name, 'seed': seed, 'vla_hash': vla.hash}
    return {**about, 'token_sha256': file_hash(token_path), **report}


def recorded(
    bars: Progress, folder: Path, what: str, profile: RobotProfile,
    episodes: Callable[[], Iterator[Episode]], count: int,
) -> Path:  # fmt: skip
    """The folder, recorded now unless an earlier call did; raises UserError where it cannot be written."""
    if not folder.exists():
        bar = bars.add_task(what, total=count, note='')
        try:
            fresh.record(folder, profile, episodes(), count, lambda done: bars.update(bar, completed=done))
        except OSError as error:
            raise UserError(f'{folder} cannot be written: {error.strerror}') from None
    return folder


def look(
    bars: Progress, folder: Path, profile: RobotProfile, vla: BuiltinBackend, model: RlToken,
    labelled: Callable[[Examples], np.ndarray],
) -> Seen:  # fmt: skip
    """A data set as VLA and token see it; labels need every observation, the rest some."""
    bar = bars.add_task(f'reading {folder.name}', total=1, note='')
    whole = load_examples([folder], profile, vla.model.sizes.horizon, approach=False)
    label, examples = labelled(whole)[::EVERY], whole.thinned(EVERY)
    bars.update(bar, advance=1, note=f'{len(whole.images)} observations')
    bar = bars.add_task('prefix embeddings', total=len(examples.images), note='')
    prefix = prefixes(vla.model, vla.unit, examples, lambda done, _: bars.update(bar, completed=done))
    views = representations(vla.model, vla.unit, model, prefix, examples, np.flatnonzero(~scored(examples)))
    return Seen(examples, prefix, views, label)
