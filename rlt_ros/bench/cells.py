"""Cells of a benchmark: who drives, on which task, from which seed. Each is computed once, many at a time over Ray.

A cell is a run folder like any other. One that is finished is not computed again; one that was interrupted or failed
begins anew; one of another configuration or version is named and left alone.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
import json
import os
from pathlib import Path
import resource
import shutil
import socket
import time

import numpy as np

from rlt_ros import __version__
from rlt_ros.bench.learning import EPISODE, FINAL, Recorder, evaluate, learn, work
from rlt_ros.bench.lockstep import LockStep, Result, hands_over, one_core, open_lockstep
from rlt_ros.bench.parts import Parts
from rlt_ros.bench.variations import varied
from rlt_ros.config import Method, RobotProfile, Task, config_hash, load
from rlt_ros.errors import UserError
from rlt_ros.paths import lock
from rlt_ros.report.records import read_object
from rlt_ros.run_folder import prepare
from rlt_ros.sim.teleoperation import Teleoperation
from rlt_ros.sim.world import World
from rlt_ros.source import source_hash
from rlt_ros.weights_files import file_hash, path_of, vla_hash

DRIVERS = ('vla', 'teleop', 'rlt')
DECIDING = 'bench', 'config', 'control', 'episode', 'rl', 'sim', 'token', 'vla'  # code that decides what comes of it
POLL = 1.0  # s
PATIENCE = 10.0  # s to reach a cluster
DONE = 'finished.json'
HAND = 8  # beside the run's seed: the person's
Report = Callable[['Cell', float, str], None]


@dataclass(frozen=True)
class Cell:
    """One run. Names or paths of configurations; weights: a file that the variation needs, '' without."""

    variation: str
    seed: int
    minutes: float  # to learn from
    episodes: int  # of the final evaluation
    folder: Path
    robot: str = 'bimanual'
    task: str = 'ethernet'
    method: str = 'rlt'
    driver: str = 'rlt'
    setting: str = 'critical'
    weights: str = ''
    thorough: bool = False  # the VLA before learning and stiff contact after it are part of the run

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def its_task(self) -> str:
        """Name of the task's configuration in the cell's setting."""
        return f'{self.task}_full' if self.setting == 'full' else self.task

    @property
    def work(self) -> float:
        """Robot minutes that are simulated for it, about: for the time that remains."""
        if self.driver != 'rlt':
            return self.episodes * EPISODE[self.setting]
        _, task, method, _ = self.models()
        return work(task, method, self.minutes, self.episodes, self.thorough)

    def models(self) -> tuple[RobotProfile, Task, Method, Parts]:
        """All that it is computed with; raises UserError where something of it does not exist."""
        profile, method, parts = varied(self.robot, self.method, self.variation, self.weights)
        if not self.thorough:
            method = method.model_copy(update={'evaluation_episodes': 0})
        return profile, load(Task, self.its_task), method, parts


def wanted(cell: Cell) -> dict:
    """What a finished cell must have been computed with to count; raises UserError."""
    profile, task, method, parts = cell.models()
    vla, weights = path_of('vla', profile.name), {}
    if cell.driver != 'teleop':  # the approach acts in full tasks alone
        weights['vla'] = file_hash(vla) if cell.setting == 'full' else vla_hash(vla)
    if cell.driver == 'rlt' and parts.sees == 'token':
        weights['token'] = file_hash(path_of('rl_token', profile.name, parts.weights))
    elif parts.weights:
        weights['encoder'] = file_hash(Path(parts.weights))
    return {
        'driver': cell.driver, 'variation': cell.variation, 'seed': cell.seed, 'episodes': cell.episodes,
        'minutes': cell.minutes if cell.driver == 'rlt' else 0.0, 'thorough': cell.thorough,
        'config_hash': config_hash(profile, task, method), 'rlt_ros': __version__, 'code': source_hash(*DECIDING),
        'scene': file_hash(Path(task.scene)) if task.scene.endswith('.py') else '',  # of a task of one's own
        'weights': weights,
    }  # fmt: skip


def is_finished(cell: Cell) -> bool:
    """Whether a cell is there; raises UserError where its folder is of another configuration or version."""
    if not (cell.folder / DONE).is_file():
        return False
    there, now = read_object(cell.folder / DONE).get('wanted') or {}, wanted(cell)
    other = [f'{key} {there.get(key)!r}, not {value!r}' for key, value in now.items() if there.get(key) != value]
    if other:
        raise UserError(f'{cell.folder} was computed with another configuration or version ({"; ".join(other)}); '
                        'remove it, or choose another folder')  # fmt: skip
    return True


class Person:
    """The scripted person at the task, as LockStep is the robot's side."""

    def __init__(self, profile: RobotProfile, task: Task, seed: int):
        self.world, self.task = World(profile, task, [seed, FINAL]), task
        self.random = np.random.default_rng([seed, FINAL, HAND])
        self.dt = 1.0 / profile.control_rate

    def episode(self, watch: Callable) -> Result:
        world, phase, tick, begin, success = self.world, 'approach', 0, 0, False  # begin: of the phase
        world.reset()
        operator = Teleoperation(world, self.random)
        while not success:
            if phase == 'approach' and hands_over(world, self.task, tick * self.dt):
                phase, begin = 'critical', tick
            if (tick - begin) * self.dt >= self.task.limit(phase):
                break
            watch(world, tick)
            world.step(operator.command(), self.dt)
            tick, success = tick + 1, world.success()
        watch(world, tick, last=True)
        return Result(success, tick, world.penetration)


def run_cell(cell: Cell) -> None:
    """Compute one cell from its beginning."""
    started, cpu = time.monotonic(), time.process_time()
    one_core()
    target = wanted(cell)
    profile, task, method, parts = cell.models()
    shutil.rmtree(cell.folder, ignore_errors=True)
    arguments = {'run_folder': str(cell.folder), 'minutes': cell.minutes, 'seed': cell.seed, 'task': cell.its_task,
                 'method': cell.method, 'robot': cell.robot}  # fmt: skip
    prepare(arguments, method, robot=profile)
    (cell.folder / 'cell.json').write_text(json.dumps(asdict(cell), default=str))
    progress = cell.folder / 'progress.json'

    def report(minutes: float, note: str) -> None:
        part = Path(f'{progress}.part')
        part.write_text(json.dumps({'minutes': minutes, 'note': note}))
        part.replace(progress)

    if cell.driver == 'rlt':
        recorder = learn(profile, task, method, cell.minutes, cell.seed, cell.folder, report, cell.episodes, parts,
                         cell.thorough)  # fmt: skip
    else:
        recorder = Recorder(cell.folder, profile.control_rate, method)
        drive = driving(cell.driver, profile, task, method, cell.seed)
        evaluate(drive, 'final', cell.episodes, recorder, report)
    wall, used = time.monotonic() - started, time.process_time() - cpu
    minutes = recorder.ticks / profile.control_rate / 60
    cost = {
        'simulated_minutes': minutes, 'wall_minutes': wall / 60, 'core_minutes': used / 60,
        'per_wall_minute': minutes / wall * 60, 'per_core_minute': minutes / used * 60,
        'updates': recorder.updates, 'peak_memory_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip
    part = cell.folder / f'{DONE}.part'
    part.write_text(json.dumps({'wanted': target, 'cost': cost}))
    part.replace(cell.folder / DONE)


def driving(
    driver: str, profile: RobotProfile, task: Task, method: Method, seed: int
) -> Callable[[Callable], Result]:
    """Episodes of the frozen VLA or of the person, from the starts of RLT's final evaluation with that seed."""
    if driver == 'teleop':
        return Person(profile, task, seed).episode
    runner: LockStep = open_lockstep(profile, task, method, [seed, FINAL], parts=Parts(sees='nothing'))
    return lambda watch: runner.episode('evaluation', noise=False, watch=watch)


def run(cells: list[Cell], workers: int, report: Report, address: str = '', anew: bool = False) -> dict[str, str]:
    """Compute what is not there yet, `workers` at a time; report(cell, robot minutes learned, note) as it goes.

    address: of a Ray cluster that runs this version on the same file system; '': on this machine.
    anew: also what is there already.
    Returns what went wrong, by cell; the others go on. Raises UserError where another one computes in the same folder,
    or the cluster is not there.
    """
    twice = [folder.name for folder, count in Counter(cell.folder for cell in cells).items() if count > 1]
    if twice:
        raise UserError(f'named twice: {", ".join(twice)}')
    todo, failed = [], {}
    with alone({cell.folder.parent for cell in cells}):
        for cell in cells:
            try:
                if anew:
                    shutil.rmtree(cell.folder, ignore_errors=True)
                if is_finished(cell):
                    report(cell, cell.minutes, 'was there')
                else:
                    todo.append(cell)
            except UserError as error:
                failed[cell.name] = str(error)
                report(cell, 0.0, 'left alone')
        if todo:
            with cluster(address, workers) as ray:
                failed |= _compute(ray, todo, workers, report)
    return failed


def _compute(ray, todo: list[Cell], workers: int, report: Report) -> dict[str, str]:
    # a process of its own for each: its memory is its own, and torch's settings too; nothing is tried twice by itself
    remote = ray.remote(num_cpus=1, max_calls=1, max_retries=0)(run_cell)
    waiting, running, failed = list(todo), {}, {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                cell = waiting.pop(0)
                running[remote.remote(cell)] = cell
            done, _ = ray.wait(list(running), timeout=POLL)
            for reference in done:
                cell = running.pop(reference)
                try:
                    ray.get(reference)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, 'cause', None) or error
                    failed[cell.name] = f'{type(cause).__name__}: {first_line(cause)}'
                report(cell, cell.minutes, 'failed' if cell.name in failed else 'finished')
            for cell in running.values():
                state = read_object(cell.folder / 'progress.json')
                if state:
                    report(cell, state['minutes'], state['note'])
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
    return failed


def first_line(error: BaseException) -> str:
    """Of its message; '' without one."""
    return str(error).strip().partition('\n')[0]


@contextmanager
def cluster(address: str, workers: int) -> Iterator:
    """Ray: the cluster at an address, or one of this machine that only its loopback sees; raises UserError."""
    os.environ['RAY_USAGE_STATS_ENABLED'] = '0'
    local = {}
    if not address:
        os.environ['RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER'] = '0'  # what makes Ray bind to loopback, on Linux as well
        os.environ['RAY_worker_niceness'] = '0'  # its workers would stand back behind everything else
        local = {'num_cpus': workers, 'include_dashboard': False, 'object_store_memory': 80 * 2**20}
    import ray

    try:
        if ':' in address:  # where nobody listens, Ray itself would try for minutes
            host, port = address.removeprefix('ray://').rsplit(':', 1)
            socket.create_connection((host, int(port)), PATIENCE).close()
        ray.init(address or 'local', log_to_driver=False, logging_level='ERROR', **local)
    except (OSError, ValueError, RuntimeError) as error:
        where = f'cluster at {address}' if address else 'on this machine'
        raise UserError(f'no Ray {where}: {first_line(error)}') from None
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def alone(folders: set[Path]) -> Iterator[None]:
    """While one computes in these folders no other does; raises UserError. A killed one holds nothing."""
    with ExitStack() as held:
        for folder in sorted(folders):
            busy = f'another benchmark computes in {folder}: wait, or choose another folder'
            try:
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(lock(folder, busy))
            except OSError as error:
                raise UserError(f'{folder} cannot be a folder of runs: {error.strerror}') from None
        yield
