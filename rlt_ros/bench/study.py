"""Many lock-step runs: seeds by variations of the method, in parallel processes, resumable.

A cell is a run folder like any other. One that is finished is not computed again; one that was interrupted or failed
begins anew.
"""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
import json
from multiprocessing import get_context
from pathlib import Path
import shutil

from rlt_ros.bench.learning import learn
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.errors import UserError
from rlt_ros.report.records import read_object
from rlt_ros.run_folder import prepare

POLL = 1.0  # s
DONE = 'finished.json'


@dataclass(frozen=True)
class Variation:
    """What a variation changes of the method, and why one wants to see it."""

    about: str
    changes: dict[str, object] = field(default_factory=dict)
    token: bool = True  # False: the actor-critic sees proprioception and reference alone


VARIATIONS = {
    'rlt': Variation('the method as shipped'),
    'beta-0.03': Variation('weaker pull to the reference', {'bc_weight': 0.03}),
    'beta-0.3': Variation('stronger pull to the reference', {'bc_weight': 0.3}),
    'gamma-0.9895': Variation('0.9 per chunk: less hurry', {'discount': 0.9895}),
    'hidden-256': Variation("the paper's width, half the batch", {'hidden': 256, 'batch': 64}),
    'stride-10': Variation('transitions at chunk boundaries alone', {'stride': 10}),
    'no-token': Variation('proprioception and reference without z_rl', token=False),
    'delay-0': Variation('as if inference took no time', {'delay': 0}),
    'delay-6': Variation('twice the delay', {'delay': 6}),
    'bfloat16': Variation('tokens stored and multiplied in bfloat16', {'token_precision': 'bfloat16'}),
}


@dataclass(frozen=True)
class Cell:
    """One run of the study."""

    variation: str
    seed: int
    minutes: float
    final_episodes: int
    folder: Path
    robot: str = 'bimanual'
    task: str = 'ethernet'
    method: str = 'rlt'

    @property
    def name(self) -> str:
        return f'{self.variation}-{self.seed}'


def varied(method: str, variation: str) -> tuple[Method, bool]:
    """The method a variation makes of another, and whether it has a token; raises UserError for an unknown one."""
    if variation not in VARIATIONS:
        raise UserError(f'variation "{variation}" does not exist; there are: {", ".join(VARIATIONS)}')
    chosen = VARIATIONS[variation]
    return load(Method, method, **chosen.changes), chosen.token


def run_cell(cell: Cell) -> None:
    """Compute one cell from its beginning."""
    method, token = varied(cell.method, cell.variation)
    shutil.rmtree(cell.folder, ignore_errors=True)
    arguments = {'run_folder': str(cell.folder), 'minutes': cell.minutes, 'seed': cell.seed, 'task': cell.task,
                 'method': cell.method, 'robot': cell.robot}  # fmt: skip
    prepare(arguments, method)
    progress = cell.folder / 'progress.json'

    def report(minutes: float, note: str) -> None:
        progress.write_text(json.dumps({'minutes': minutes, 'note': note}))

    learn(load(RobotProfile, cell.robot), load(Task, cell.task), method, cell.minutes, cell.seed, cell.folder,
          report, cell.final_episodes, token)  # fmt: skip
    (cell.folder / DONE).write_text(json.dumps(wanted(cell)))


def wanted(cell: Cell) -> dict:
    """What a finished cell must have been computed with to count."""
    return {'minutes': cell.minutes, 'final_episodes': cell.final_episodes}


def is_finished(cell: Cell) -> bool:
    """Whether a cell is there; raises UserError where its folder is of another configuration."""
    if not (cell.folder / DONE).is_file():
        return False
    method, _ = varied(cell.method, cell.variation)
    config = read_object(cell.folder / 'config.yaml')
    same = config.get('method') == method.model_dump() and read_object(cell.folder / DONE) == wanted(cell)
    if not same:
        raise UserError(f'{cell.folder} was computed with another configuration; remove it, or choose another folder')
    return True


def run(cells: list[Cell], workers: int, report: Callable[[Cell, float, str], None]) -> dict[str, str]:
    """Compute what is not there yet, `workers` at a time; report(cell, robot minutes, note) about once a second.

    Returns what went wrong, by cell; the others go on.
    """
    todo = []
    for cell in cells:
        if is_finished(cell):
            report(cell, cell.minutes, 'was there')
        else:
            todo.append(cell)
    failed: dict[str, str] = {}
    if not todo:
        return failed
    with ProcessPoolExecutor(workers, mp_context=get_context('spawn')) as pool:
        running: dict[Future, Cell] = {pool.submit(run_cell, cell): cell for cell in todo}
        try:
            while running:
                done, _ = wait(running, timeout=POLL, return_when=FIRST_COMPLETED)
                for future in done:
                    cell = running.pop(future)
                    if error := future.exception():
                        failed[cell.name] = f'{type(error).__name__}: {error}'
                    report(cell, cell.minutes, failed.get(cell.name, 'finished'))
                for cell in running.values():
                    state = read_object(cell.folder / 'progress.json')
                    if state:
                        report(cell, state['minutes'], state['note'])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(pool._processes.values()):
                process.terminate()
            raise
    return failed
