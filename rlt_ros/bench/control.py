"""How punctual the control loop is while the whole graph runs and the learner works without a pause.

The executor's deadline errors come from its executed steps, as the monitor counts them; beside it, in the same minutes,
a process does the same work on an ordinary rclpy timer, and others tell when the whole machine stood still.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
import os
from pathlib import Path
import time

import numpy as np

from rlt_ros import graph
from rlt_ros.bench.bare_loop import bare_loops, pauses
from rlt_ros.bench.simulated_graph import prepared, supervised
from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.errors import UserError
from rlt_ros.monitor.histogram import Histogram
from rlt_ros.report.records import read_object

# The learner begins after one episode and is owed more updates than any machine can make.
FULL_LOAD = {'evaluation_episodes': 0, 'warmup_episodes': 1, 'first_updates': 1, 'updates_per_transition': 100.0}
PATIENCE = 180.0  # s until everything moves
PERCENTS = {'p50': 50, 'p99': 99, 'max': 100}
LATE = 1e-3  # s of error from which on a tick counts as late


@dataclass(frozen=True)
class Plan:
    seconds: float  # to measure
    learner: bool  # at full load; False: without one
    robot: str
    method: str


def measure(plan: Plan, say: Callable[[str], None]) -> dict:
    """Run the simulated graph in a temporary folder; returns what `rlt bench control --json` prints.

    Raises UserError if the graph does not get going or ends early.
    """
    method, minutes = load(Method, plan.method, **FULL_LOAD), (plan.seconds + PATIENCE) / 60
    with prepared(method, robot=plan.robot, minutes=minutes, joystick=False) as (folder, arguments):
        return asyncio.run(_run(plan, folder, arguments, say))


async def _run(plan: Plan, folder: Path, arguments: dict[str, graph.Value], say: Callable[[str], None]) -> dict:
    specs = [spec for spec in graph.nodes(arguments) if plan.learner or spec.name != 'learner_node']
    timings = folder / 'plain_timer.npy'
    parameters = {'robot': plan.robot, 'method': arguments['method'], 'out': str(timings)}
    specs.append(graph.NodeSpec('plain_timer', parameters=parameters, required=True))
    # the first episode pays for the first updates alone: it is busy for good with what comes after
    moves = ('updates', FULL_LOAD['first_updates']) if plan.learner else ('robot_minutes', 0)
    async with supervised(specs, folder, say) as (supervisor, running):
        first = await _status(folder, running, lambda status: (status.get(moves[0]) or 0) > moves[1])
        begin = time.monotonic()
        say(f'everything runs: measuring for {plan.seconds:g} s')
        executor = supervisor.processes['executor_node'].process.pid
        fifo = os.sched_getscheduler(executor) == os.SCHED_FIFO
        with bare_loops(load(RobotProfile, plan.robot).control_rate, folder) as loops:
            await asyncio.wait({running}, timeout=plan.seconds)
            last = await _status(folder, running, lambda status: status.get('time', 0) >= first['time'] + plan.seconds)
        end = time.monotonic()
    rows = np.load(timings)
    ticks, _, errors = rows[(begin <= rows[:, 1]) & (rows[:, 1] <= end)].T
    timer = in_ms(errors) | {'missed_ticks': int(ticks[-1] - ticks[0]) + 1 - len(np.unique(ticks))}
    late = pauses(loops)
    machine = {'machine_pause_ms': in_ms(late.min(axis=1)), 'core_pause_ms': [in_ms(core) for core in late.T]}
    return compare(first, last) | {'fifo': fifo, 'rclpy_timer': timer} | machine


def in_ms(errors: np.ndarray) -> dict:
    """Percentiles of errors, s, in ms, and how many were late."""
    found = {name: round(float(np.percentile(errors, p)) * 1e3, 3) for name, p in PERCENTS.items()}
    return found | {'late_ticks': int((errors > LATE).sum())}


async def _status(folder: Path, running: asyncio.Task, ready: Callable[[dict], object]) -> dict:
    """The monitor's status once it is ready."""
    end = time.monotonic() + PATIENCE
    while not running.done() and time.monotonic() < end:
        status = read_object(folder / 'status.json')
        if ready(status):
            return status
        await asyncio.wait({running}, timeout=0.1)
    raise UserError('the graph ended before it was measured' if running.done() else 'the graph does not get going')


def compare(first: dict, last: dict) -> dict:
    """What happened between two statuses of a run; errors in ms, right to 2 %."""
    seconds = last['time'] - first['time']
    counts = {i: count - first['deadline_histogram'].get(i, 0) for i, count in last['deadline_histogram'].items()}
    errors = Histogram({i: count for i, count in counts.items() if count}, last['deadline_error_ms']['max'] * 1e-3)
    return {
        'seconds': round(seconds, 1),
        'ticks': last['ticks'] - first['ticks'],
        'missed_ticks': last['missed_ticks'] - first['missed_ticks'],
        'late_ticks': errors.above(LATE),
        'deadline_error_ms': {name: round(errors.percentile(p) * 1e3, 3) for name, p in PERCENTS.items()},
        'learner_updates_per_s': round((last['updates'] - first['updates']) / seconds, 1),
    }
