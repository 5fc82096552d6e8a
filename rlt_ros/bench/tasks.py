"""The paper's comparison and its ablations as lists of cells; everything that can be refused is refused here."""

from collections.abc import Iterable
from pathlib import Path

from rlt_ros import weights_files
from rlt_ros.bench.cells import DRIVERS, Cell
from rlt_ros.bench.variations import ABLATIONS, known
from rlt_ros.config import Task, load, names
from rlt_ros.errors import UserError


def listed(text: str, everything: Iterable[str], kind: str) -> list[str]:
    """Names of an option: all, or separated by commas; each once, raises UserError for none."""
    found = list(everything) if text == 'all' else list(dict.fromkeys(n.strip() for n in text.split(',') if n.strip()))
    if not found:
        raise UserError(f'no {kind} is named in "{text}"; allowed: all, or of: {", ".join(everything)}')
    return found


def has_full(task: str) -> bool:
    return f'{task}_full' in names(Task)


def tasks_of(text: str, setting: str) -> tuple[list[str], list[str]]:
    """Tasks that an option names, and those of them that the setting does not have; raises UserError."""
    found = listed(text, [name for name in names(Task) if not name.endswith('_full')], 'task')
    for name in found:
        load(Task, name)
    lack = [name for name in found if setting == 'full' and not has_full(name)]
    if len(lack) == len(found):
        raise UserError(f'no full setting for: {", ".join(lack)} (it would be config/tasks/<task>_full.yaml); '
                        '--setting critical is there')  # fmt: skip
    return [name for name in found if name not in lack], lack


def drivers_of(text: str) -> list[str]:
    found = listed(text, DRIVERS, 'method')
    for name in found:
        if name not in DRIVERS:
            raise UserError(f'method "{name}" does not exist; there are: {", ".join(DRIVERS)}')
    return found


def comparison(
    drivers: list[str], tasks: list[str], setting: str, seeds: int, minutes: float, episodes: int, folder: Path,
    robot: str,
) -> list[Cell]:  # fmt: skip
    """Every method on every task from every seed; raises UserError for a task that has no such setting."""
    for task in tasks:
        if load(Task, task).setting == 'full':
            raise UserError(f'task "{task}" is a full one: give the name of its critical phase and --setting full')
        if setting == 'full' and not has_full(task):
            raise UserError(f'task "{task}" has no full setting (config/tasks/<task>_full.yaml)')
    return [
        Cell('rlt', seed, minutes, episodes, folder / f'{Path(task).stem}-{setting}-{driver}-{seed}', robot=robot,
             task=task, driver=driver, setting=setting)
        for task in tasks for driver in drivers for seed in range(seeds)
    ]  # fmt: skip


def weights_of(given: list[str]) -> dict[str, str]:
    """Files by variation, from NAME=FILE; raises UserError."""
    found = {}
    for text in given:
        name, equals, file = text.partition('=')
        if not equals or not known(name).weights:
            raise UserError(f'--weights {text} is not allowed; allowed: NAME=FILE for '
                            f'{", ".join(n for n in ABLATIONS if known(n).weights)}')  # fmt: skip
        found[name] = str(Path(file).resolve())
    return found


def ablations(
    text: str, task: str, setting: str, seeds: int, minutes: float, episodes: int, folder: Path, robot: str,
    weights: dict[str, str],
) -> tuple[list[Cell], list[str]]:  # fmt: skip
    """The VLA, RLT and RLT without one part each, from every seed; and the parts that are left out for want of weights.

    Raises UserError for unknown names. In the folder of a comparison its cells of the VLA and RLT are used again.
    """
    chosen = listed(text, ABLATIONS, 'variation')
    lack = [name for name in chosen if known(name).weights_needed and name not in weights]
    cells = comparison(['vla', 'rlt'], [task], setting, seeds, minutes, episodes, folder, robot)
    cells += [
        Cell(name, seed, minutes, episodes, folder / f'{Path(task).stem}-{setting}-{name}-{seed}', robot=robot,
             task=task, setting=setting, weights=weights.get(name, ''))
        for name in chosen if name not in lack and name != 'rlt' for seed in range(seeds)
    ]  # fmt: skip
    for cell in cells:
        parts = cell.models()[-1]
        if parts.sees == 'token' and parts.weights:
            weights_files.check(weights_files.path_of('vla', robot), Path(parts.weights))
    return cells, lack
