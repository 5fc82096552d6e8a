"""How fast a person gets the robot, how smoothly it changes hands, and how fast it stops, in the running graph.

The person is this process: Joy messages, E-stops, and a simulated driver that is halted. What is measured comes from
the stamps of the messages sent and from the executed steps: when each control tick ran, who drove it, and what it
commanded.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
import os
from pathlib import Path
import signal
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from rlt_ros import graph
from rlt_ros.bench.control import FULL_LOAD, PATIENCE
from rlt_ros.bench.simulated_graph import prepared, supervised
from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.control.chunks import ACTOR, HOLD, HUMAN, VLA
from rlt_ros.errors import UserError

if TYPE_CHECKING:
    from rlt_ros.ros.operator import Operator

JOY_PERIOD = 0.02  # s between Joy messages
HELD = (0.2, 0.6)  # s that a takeover lasts, at random
DRIVEN = (0.1, 0.8)  # s that the robot drives itself before the next one, at random
ANSWER = 0.5  # s in which whatever was asked for must have happened
AROUND = 5  # ticks before and after a change of hands in which its motion is judged
STILL = 1e-9  # rad or m a tick
STOPS = ('joint_states', 'silence', 'estop_event', 'estop_service')
TAKEOVER_LIMIT, STOP_LIMIT = 0.025, 0.1  # s: a tick at 50 Hz and 5 ms; from the last valid input to the hold


@dataclass(frozen=True)
class Plan:
    takeovers: int
    stops: int  # of each kind
    robot: str
    method: str
    seed: int


@dataclass(frozen=True)
class Step:
    """A control tick."""

    tick: int
    time: float  # s, wall time at which it ran: due time and deadline error
    episode: int
    acting: bool  # an episode is under way
    source: int
    command: np.ndarray  # (D,) rad or m


def first(steps: list[Step], after: float, source: int) -> Step | None:
    """The first step of a source after a time; None if there is none, or the episode ended before."""
    for step in steps:
        if step.time > after:
            if step.source == source:
                return step
            if not step.acting:
                return None
    return None


def standstill(steps: list[Step], after: float) -> float | None:
    """s from the last input of a person who then fell silent to the tick from which nothing moves.

    None while it moves, if it stood already, or if somebody else drove or the episode ended meanwhile.
    """
    stands, moved = None, False
    for before, step in zip(steps, steps[1:], strict=False):
        if step.time <= after:
            continue
        if step.source not in (HUMAN, HOLD) or not step.acting:
            return None
        if np.abs(step.command - before.command).max() > STILL:
            stands, moved = None, True
        elif stands is None:
            stands = step.time - after
    return stands if moved else None


def motion(steps: list[Step], profile: RobotProfile, dt: float) -> tuple[float, float]:
    """Largest velocity and acceleration of the commands as parts of the robot's limits; (0, 0) for less than 3 steps.

    Steps of one episode; where a tick is missing, differences across the gap are left out.
    """
    velocity_limit = np.array([joint.velocity for joint in profile.joints])
    acceleration_limit = np.array([joint.acceleration for joint in profile.joints])
    fastest = hardest = 0.0
    for a, b, c in zip(steps, steps[1:], steps[2:], strict=False):
        if (b.tick, c.tick) == (a.tick + 1, a.tick + 2) and a.episode == c.episode and a.acting and c.acting:
            before, after = (b.command - a.command) / dt, (c.command - b.command) / dt
            fastest = max(fastest, float(np.max(np.abs(after) / velocity_limit)))
            hardest = max(hardest, float(np.max(np.abs(after - before) / dt / acceleration_limit)))
    return fastest, hardest


def around(steps: list[Step], step: Step) -> list[Step]:
    """The steps before and after a change of hands."""
    return [s for s in steps if abs(s.tick - step.tick) <= AROUND]


class Tally:
    """What came of each attempt."""

    def __init__(self, profile: RobotProfile):
        self.profile, self.dt = profile, 1.0 / profile.control_rate
        self.seconds: dict[str, list[float]] = {name: [] for name in ('takeover', 'release', *STOPS)}
        self.motions: dict[str, list[tuple[float, float]]] = {'takeover': [], 'release': []}
        self.interrupted = 0  # attempts whose episode ended meanwhile
        self.unanswered: Counter[str] = Counter()  # attempts to which the executor did not react within ANSWER, by kind

    def change(self, kind: str, steps: list[Step], stamp: float, step: Step | None) -> None:
        """Count a change of hands that was asked for at `stamp` and happened with `step`; None: it did not."""
        if step is None:
            return self.failed(kind, steps, stamp)
        self.seconds[kind].append(step.time - stamp)
        self.motions[kind].append(motion(around(steps, step), self.profile, self.dt))

    def stop(self, kind: str, steps: list[Step], stamp: float, seconds: float | None) -> None:
        """Count a stop that came `seconds` after the last valid input; None: it did not come."""
        if seconds is None:
            return self.failed(kind, steps, stamp)
        self.seconds[kind].append(seconds)

    def failed(self, kind: str, steps: list[Step], stamp: float) -> None:
        """Nothing came: because the episode was over, or the executor ignored it."""
        if all(step.acting for step in steps if step.time > stamp):
            self.unanswered[kind] += 1
        else:
            self.interrupted += 1

    def result(self) -> dict:
        """What `rlt bench takeover --json` prints; empty parts are None."""
        largest = {
            f'largest_{name}': {kind: round(max(pair[i] for pair in pairs), 4) if pairs else None
                                for kind, pairs in self.motions.items()}
            for i, name in enumerate(('velocity', 'acceleration'))
        }  # fmt: skip
        return {
            'takeover_ms': summary(self.seconds['takeover']),
            'release_ms': summary(self.seconds['release']),
            **largest,
            'stop_ms': {kind: summary(self.seconds[kind]) for kind in STOPS},
            'limits_ms': {'takeover': TAKEOVER_LIMIT * 1e3, 'stop': STOP_LIMIT * 1e3},
            'interrupted': self.interrupted,
            'unanswered': dict(self.unanswered),
        }


def summary(seconds: list[float]) -> dict | None:
    """Number and percentiles in ms; None of none."""
    if not seconds:
        return None
    p50, p99, largest = np.percentile(seconds, [50, 99, 100]) * 1e3
    return {'times': len(seconds), 'p50': round(p50, 1), 'p99': round(p99, 1), 'max': round(largest, 1)}


def measure(plan: Plan, say: Callable[[str], None]) -> dict:
    """Run the simulated graph with the learner at full load in a temporary folder, and take it over again and again.

    Raises UserError if the graph does not get going or ends early.
    """
    method = load(Method, plan.method, **FULL_LOAD)
    with prepared(method, robot=plan.robot, seed=plan.seed, minutes=1e4, joystick=False) as (folder, arguments):
        return asyncio.run(_run(plan, folder, arguments, say))


async def _run(plan: Plan, folder: Path, arguments: dict[str, graph.Value], say: Callable[[str], None]) -> dict:
    from rlt_ros.ros.operator import Operator

    profile, ended = load(RobotProfile, plan.robot), threading.Event()
    async with supervised(graph.nodes(arguments), folder, say) as (supervisor, running):
        running.add_done_callback(lambda task: ended.set())
        try:
            with Operator(profile, 'rlt', ended) as operator:
                session = Session(operator, Tally(profile), np.random.default_rng(plan.seed), say)
                halt = lambda number: supervisor.processes['sim_robot_node'].send(number)  # noqa: E731
                await asyncio.to_thread(session.run, plan, halt)
        finally:
            ended.set()  # its thread would go on
        executor = supervisor.processes['executor_node'].process.pid
        return session.tally.result() | {'fifo': os.sched_getscheduler(executor) == os.SCHED_FIFO}


class Session:
    """The script: takeovers, then stops of each kind."""

    def __init__(self, operator: 'Operator', tally: Tally, random: np.random.Generator, say: Callable[[str], None]):
        self.operator, self.tally, self.random, self.say = operator, tally, random, say

    def run(self, plan: Plan, halt: Callable[[signal.Signals], None]) -> None:
        """halt: sends a signal to the simulated driver."""
        self.driving(PATIENCE)
        self.say(f'everything runs: {plan.takeovers} takeovers')
        self.repeat(plan.takeovers, 'takeover', self.takeover)
        self.say(f'{plan.stops} stops of each kind')
        self.repeat(plan.stops, 'joint_states', lambda: self.halted(halt))
        self.repeat(plan.stops, 'silence', self.silence)
        self.repeat(plan.stops, 'estop_event', lambda: self.estop('estop_event', self.operator.estop_event))
        self.repeat(plan.stops, 'estop_service', lambda: self.estop('estop_service', self.operator.estop_service))

    def repeat(self, times: int, kind: str, attempt: Callable[[], None]) -> None:
        """Until it was counted that often; a robot that mostly does not answer is not waited for."""
        for _ in range(3 * times + 10):
            if len(self.tally.seconds[kind]) >= times:
                break
            self.driving()
            attempt()

    def driving(self, patience: float = 60.0) -> None:
        """Wait, with the deadman released, until the robot has driven itself for a random time."""
        operator, needed = self.operator, self.random.uniform(*DRIVEN)
        end, since = time.time() + patience, None
        while time.time() < end:
            operator.idle(JOY_PERIOD)
            last = operator.steps[-1] if operator.steps else None
            drives = last is not None and last.acting and last.source in (VLA, ACTOR)
            since = (since or time.time()) if drives else None
            if since and time.time() - since >= needed:
                operator.idle(self.random.uniform(0, JOY_PERIOD))  # any phase of the ticks
                operator.forget()
                return
        raise UserError('the robot does not drive itself')

    def takeover(self) -> None:
        operator = self.operator
        pressed = operator.hold(self.random.uniform(*HELD), self.random.uniform(-1, 1, 4))
        taken = first(operator.steps, pressed, HUMAN)
        self.tally.change('takeover', operator.steps, pressed, taken)
        released = operator.idle((AROUND + 2) * JOY_PERIOD)
        if taken is not None:
            given = next((step for step in operator.steps if step.time > released and step.source != HUMAN), None)
            self.tally.change('release', operator.steps, released, given if given and given.acting else None)

    def halted(self, halt: Callable[[signal.Signals], None]) -> None:
        """No joint states any more."""
        operator = self.operator
        halt(signal.SIGSTOP)
        try:
            operator.wait(ANSWER, lambda: first(operator.steps, operator.joints_stamp, HOLD))
            stamp = operator.joints_stamp
            step = first(operator.steps, stamp, HOLD)
            self.tally.stop('joint_states', operator.steps, stamp, step.time - stamp if step and step.acting else None)
        finally:
            halt(signal.SIGCONT)

    def silence(self) -> None:
        """A person who holds the deadman and moves the robot, and of whom nothing more comes."""
        operator = self.operator
        operator.hold(self.random.uniform(*HELD), self.random.choice([-1.0, 1.0], 4))
        last = operator.joy_stamp
        operator.wait(ANSWER, lambda: operator.steps[-1].source != HUMAN and standstill(operator.steps, last))
        seconds = standstill(operator.steps, last)
        if seconds is None:
            self.tally.interrupted += 1
        else:
            self.tally.seconds['silence'].append(seconds)

    def estop(self, kind: str, press: Callable[[], float]) -> None:
        operator = self.operator
        stamp = press()
        operator.wait(ANSWER, lambda: first(operator.steps, stamp, HOLD))
        step = first(operator.steps, stamp, HOLD)
        self.tally.stop(kind, operator.steps, stamp, step.time - stamp if step else None)
        operator.rearm()


