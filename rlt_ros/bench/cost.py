"""What learning in lock-step costs, and how that grows with the number of seeds and of workers."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
import time

from rlt_ros.bench.cells import Report, run
from rlt_ros.bench.tasks import comparison
from rlt_ros.errors import UserError
from rlt_ros.report.cells import cost, results


def measure(
    workers: list[int], seeds: list[int], task: str, minutes: float, robot: str, folder: Path,
    watched: Callable[[int, int], Report],
) -> list[dict]:  # fmt: skip
    """A row for each number of seeds and workers; watched(seeds, workers) gets its progress. Raises UserError.

    More workers than seeds have nothing to do: left out.
    per_wall_minute: robot minutes simulated in a minute by all workers together, with the time that they need to start.
    """
    planned = {some: comparison(['rlt'], [task], 'critical', some, minutes, 1, folder.resolve(), robot)
               for some in seeds}  # fmt: skip
    for cell in (cell for cells in planned.values() for cell in cells):
        cell.models()
    pairs = [(some, count) for some, count in product(seeds, workers) if count <= some]
    if not pairs:
        raise UserError(f'{min(workers)} workers are more than {max(seeds)} seeds: some would have nothing to do')
    rows = []
    for some, count in pairs:
        cells = planned[some]
        started = time.monotonic()
        if failed := run(cells, count, watched(some, count), anew=True):
            raise UserError(f'{some} seeds, {count} workers: {"; ".join(failed.values())}')
        wall, there = (time.monotonic() - started) / 60, results(cells)
        found = cost(there)
        rows.append({
            'seeds': some, 'workers': count, 'wall_minutes': wall, 'simulated_minutes': found['simulated_minutes'],
            'per_wall_minute': found['simulated_minutes'] / wall, 'per_core_minute': found['per_core_minute'],
            'peak_memory_mb_per_worker': found['peak_memory_mb'],
            'updates': sum(row['cost']['updates'] for row in there),
            **{name: there[0][name] for name in ('machine', 'commit', 'packages', 'config_hash')},
        })  # fmt: skip
    return rows
