"""What the VLA's latency does to the robot: chunks asked for ahead of time, or a robot that waits for its VLA.

In lock-step with simulated inference delay: the frozen VLA drives, its answers come `delay` later. Aware: the next
chunk is asked for while the current one plays, and begins where the ticks committed meanwhile end. Blocking: the robot
holds, looks, waits for the answer and executes it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
import math

import numpy as np

from rlt_ros.bench.lockstep import LONGEST, LockStep, Result, one_core, throughput
from rlt_ros.config import Method, RobotProfile, Task, validate
from rlt_ros.control.chunks import HOLD
from rlt_ros.control.kinematics import Kinematics
from rlt_ros.control.safety_filter import ACCELERATION
from rlt_ros.errors import UserError
from rlt_ros.rl.transitions import Seen
from rlt_ros.vla.backends import open_backend
from rlt_ros.vla.builtin import Look

DELAYS = (0, 50, 100, 200, 300, 400)  # ms
STARTS = 12  # beside the seed: nobody else's, demonstrations' least of all


@dataclass(frozen=True)
class Course:
    """One episode: how it ended, and what was commanded."""

    result: Result
    held: int  # ticks without an action after the first one
    clamped: int  # ticks at which the safety filter had to bend a jump to the limit of acceleration
    commands: np.ndarray  # (T + 1, D) rad (grippers: m), the start first


def measure(
    profile: RobotProfile, task: Task, method: Method, episodes: int, seed: int, report: Callable[[float, str], None]
) -> list[dict]:
    """Rows of `rlt bench latency --json`: every delay in both modes, over the same starts. report(share done, note)."""
    if task.setting == 'full':
        raise UserError(f'task "{task.name}" is a full one: only its critical phase is measured')
    one_core()
    vla = open_backend('', profile, task)
    rows: list[dict] = []
    for delay, mode in product(DELAYS, ('aware', 'blocking')):
        report(len(rows) / len(DELAYS) / 2, f'{delay} ms, {mode}')
        ticks = math.ceil(delay * 1e-3 * profile.control_rate)
        slow = fitted(method, ticks if mode == 'aware' else 0, vla.model.sizes.horizon)
        runner = LockStep(profile, task, slow, vla, None, [seed, STARTS])
        courses = [drive(runner, ticks, mode == 'blocking') for _ in range(episodes)]
        rows.append({'delay_ms': delay, 'mode': mode} | numbers(courses, profile))
    return rows


def fitted(method: Method, delay: int, horizon: int) -> Method:
    """The method with that delay, ticks, and chunks twice as long as it, as far as a VLA looks ahead: horizon steps.

    A chunk is computed from what was seen before the one in front of it began. Where chunks are no longer than the
    delay, nothing of their own plan has been executed by then either: two plans that know nothing of each other take
    turns.
    """
    longest = min(2 * delay, horizon - delay)
    steps = max(math.ceil(delay / method.stride), longest // method.stride)
    chunk = max(method.chunk, steps * method.stride)
    return validate(Method, method.model_dump() | {'delay': delay, 'chunk': chunk}, f'{delay} ticks of delay')


def drive(runner: LockStep, ticks: int, blocking: bool) -> Course:
    """An episode with a VLA that takes that many ticks, and looks at one observation at a time."""
    world, executor, chunk = runner.world, runner.executor, runner.method.chunk
    runner.episodes += 1
    world.reset()
    executor.episode(runner.episodes, 'reset', 'evaluation', 0, None)
    executor.episode(runner.episodes, 'critical', 'evaluation', 0, world.position)
    every = chunk + ticks if blocking else chunk
    commands, done = [executor.filter.command], []
    tick, success = 0, False
    answers: deque[tuple[int, int, Seen]] = deque()  # tick at which it comes, tick of the observation, answer
    while tick < round(runner.task.time_limit / runner.dt) and not success:
        if tick % every == 0:
            number = runner.episodes * LONGEST + tick
            look = Look(world.images(), world.position.copy(), world.velocity.copy(), commands[-1], number)
            answers.append((tick + ticks, tick, runner.see([look])[0]))
        while answers and answers[0][0] <= tick:
            came, observed, seen = answers.popleft()
            if blocking:  # the robot has waited: the chunk begins now, and nothing follows it
                seen, observed = Seen(seen.token, seen.proprioception, seen.reference[:chunk], seen.position), came
            executor.choose(runner.episodes, observed + 1, seen, observed, tick)
        executed = executor.tick(tick, world.position, None)
        done.append(executed)
        commands.append(executed.command)
        world.step(executed.command, runner.dt)
        tick, success = tick + 1, world.success()
    first = next((i for i, executed in enumerate(done) if executed.source != HOLD), tick)
    held = sum(executed.source == HOLD for executed in done[first:])
    clamped = sum(bool(executed.flags & ACCELERATION) for executed in done)
    return Course(Result(success, tick, world.penetration), held, clamped, np.array(commands))


def numbers(courses: list[Course], profile: RobotProfile) -> dict:
    """Means and maxima over episodes; acceleration and jerk of the commands to the joints, grippers left out."""
    rate, grippers = profile.control_rate, Kinematics(profile).grippers
    joints = [np.delete(course.commands, grippers, axis=1) for course in courses]
    largest = lambda order: max(float(np.abs(np.diff(q, order, axis=0)).max()) * rate**order for q in joints)  # noqa: E731
    return {
        'holds': round(float(np.mean([course.held for course in courses])), 1),
        'clamped': round(float(np.mean([course.clamped for course in courses])), 1),
        'max_acceleration': round(largest(2), 2),
        'max_jerk': round(largest(3), 1),
        'throughput_per_10min': round(throughput([course.result for course in courses], rate), 1),
    }
