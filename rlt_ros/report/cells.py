"""What cells of a benchmark came to, from their run folders alone."""

from collections.abc import Callable, Mapping, Sequence
import json
from pathlib import Path
from typing import Protocol

import numpy as np

from rlt_ros.report.records import LEARNED, of_mode, read_episodes, read_object
from rlt_ros.report.summary import describe, median_steps, minutes_to, successes, throughput, wilson

DRAWS = 1000
MEASURES = {'throughput_per_10min': throughput, 'median_steps': median_steps}
ABOUT = ('cpu', 'cores', 'python', 'system')


class Cell(Protocol):
    """What is needed of a cell of rlt_ros.bench.cells."""

    variation: str
    driver: str
    task: str
    setting: str
    seed: int
    minutes: float
    folder: Path


def label(cell: Cell) -> str:
    """Who drove: vla, teleop, rlt or a variation of it."""
    return cell.variation if cell.driver == 'rlt' else cell.driver


def final(cell: Cell) -> list[dict]:
    return of_mode(read_episodes(cell.folder), 'final')


def made_with(versions: Mapping) -> dict:
    """Machine, commit and packages, of what `run_folder.versions` says."""
    return {
        'machine': {name: versions.get(name) for name in ABOUT},
        'commit': versions.get('commit'), 'packages': versions.get('packages'),
    }  # fmt: skip


def results(cells: Sequence[Cell]) -> list[dict]:
    """A row of results.json for each finished cell."""
    levels = {
        (cell.task, cell.setting, driver): throughput(
            [e for other in cells if (other.task, other.setting, other.driver) == (cell.task, cell.setting, driver)
             for e in final(other)])
        for cell in cells for driver in ('vla', 'teleop')
    }  # fmt: skip
    rows = []
    for cell in cells:
        measured, online = describe(final(cell)), of_mode(read_episodes(cell.folder), 'online')
        versions, done = read_object(cell.folder / 'versions.json'), read_object(cell.folder / 'finished.json')
        learned = [e['robot_minutes'] for e in read_episodes(cell.folder) if e['mode'] in LEARNED]
        rows.append({
            'method': label(cell), 'task': cell.task, 'setting': cell.setting, 'seed': cell.seed,
            'episodes': measured['episodes'], 'success_rate': measured['success_rate'], 'ci': measured['success_ci'],
            'throughput_per_10min': measured['throughput_per_10min'], 'median_steps': measured['median_steps'],
            'robot_minutes': max(learned, default=0.0),
            **{f'minutes_to_pass_{driver}': minutes_to(online, levels[cell.task, cell.setting, driver])
               for driver in ('vla', 'teleop')},
            'config_hash': read_object(cell.folder / 'config.yaml').get('hash'),
            **made_with(versions),
            'weights': (done.get('wanted') or {}).get('weights'), 'cost': done.get('cost'),
        })  # fmt: skip
    return rows


def write_results(folder: Path, cells: Sequence[Cell]) -> tuple[Path, list[dict]]:
    path, rows = folder / 'results.json', results(cells)
    path.write_text(json.dumps(rows, indent=1) + '\n')
    return path, rows


def pooled(cells: Sequence[Cell]) -> dict:
    """Measures over the final episodes of some seeds, each with a 95 % interval ((low, high) or None).

    Success: Wilson's, over as many episodes as they are worth. The others: bootstrap, over seeds and over the episodes
    of each.
    """
    groups = [final(cell) for cell in cells]
    together = [episode for group in groups for episode in group]
    alike = likeness([(successes(group), len(group)) for group in groups if group])
    found = {
        'episodes': len(together), 'seeds': len(groups), 'success_rate': successes(together) / max(1, len(together)),
        'success_ci': wilson(successes(together) / alike, len(together) / alike),
    }  # fmt: skip
    for name, measure in MEASURES.items():
        found[name], found[f'{name}_ci'] = measure(together), interval(groups, measure)
    return found


def likeness(seeds: list[tuple[int, int]]) -> float:
    """How many episodes are worth one, from (successes, episodes) of each seed; 1 where seeds differ by no more than
    chance has them do on average.

    Episodes of one policy are alike: the variance of the rate between seeds, over that of as many independent episodes.
    """
    total = sum(count for _, count in seeds)
    rate = sum(good for good, _ in seeds) / max(1, total)
    if len(seeds) < 2 or rate in (0, 1):
        return 1.0
    between = sum((good - rate * count) ** 2 for good, count in seeds) * len(seeds) / (len(seeds) - 1)
    return max(1.0, between / (rate * (1 - rate) * total))


def interval(groups: list[list[dict]], measure: Callable[[list[dict]], float | None]) -> tuple[float, float] | None:
    """95 % interval of a measure by resampling seeds (groups) and the episodes of each; None without a value."""
    random, values = np.random.default_rng(0), []
    for _ in range(DRAWS):
        drawn = [groups[i] for i in random.integers(len(groups), size=len(groups))]
        value = measure([group[i] for group in drawn if group for i in random.integers(len(group), size=len(group))])
        values += [] if value is None else [value]
    return tuple(np.percentile(values, (2.5, 97.5))) if values else None


def cost(rows: list[dict]) -> dict | None:
    """What some cells cost in all; None where none says."""
    known = [row['cost'] for row in rows if row.get('cost')]
    if not known:
        return None
    minutes = sum(one['simulated_minutes'] for one in known)
    return {
        'simulated_minutes': minutes,
        'per_wall_minute': minutes / sum(one['wall_minutes'] for one in known),
        'per_core_minute': minutes / sum(one['core_minutes'] for one in known),
        'peak_memory_mb': max(one['peak_memory_mb'] for one in known),
    }  # fmt: skip


def cost_line(found: dict) -> str:
    return (f'{found["simulated_minutes"]:.1f} robot minutes simulated, {found["per_wall_minute"]:.2f} per minute and '
            f'worker, {found["per_core_minute"]:.2f} per core minute; at most {found["peak_memory_mb"]:.0f} MB per '
            'worker')  # fmt: skip


def provenance(rows: list[dict]) -> str:
    """Machines, versions, configurations and seeds in a line; ? for what a run does not tell."""
    told = lambda value: '?' if value in (None, '') else str(value)  # noqa: E731
    machines = sorted({f'{told(r["machine"].get("cpu"))}, {told(r["machine"].get("cores"))} cores' for r in rows})
    short = lambda text: text[:10] + '+changes' * text.endswith('+changes')  # noqa: E731
    each = lambda values: ', '.join(sorted({short(told(value)) for value in values}))  # noqa: E731
    return (f'{"; ".join(machines)}; rlt_ros {each((r["packages"] or {}).get("rlt_ros") for r in rows)}, commit '
            f'{each(r["commit"] for r in rows)}, Python {each(r["machine"].get("python") for r in rows)}, PyTorch '
            f'{each((r["packages"] or {}).get("torch") for r in rows)}, MuJoCo '
            f'{each((r["packages"] or {}).get("mujoco") for r in rows)}; configurations '
            f'{each(r["config_hash"] for r in rows)}; seeds {each(r["seed"] for r in rows)}')  # fmt: skip


def spread(value: float | None, interval: Sequence[float] | None, form: str) -> str:
    """A value and its interval, as in a table."""
    if value is None:
        return '-'
    return f'{value:{form}}' + (f' ({interval[0]:{form}} to {interval[1]:{form}})' if interval else '')
