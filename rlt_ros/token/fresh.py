"""Episodes that no training saw, recorded in lock-step for the token's report and kept for its next call.

Demonstrations by the scripted person tell what the token knows of scene and intention. Episodes of the frozen VLA, with
its failures, tell whether it parts attempts that go in from those that jam: these are the states the critic meets.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from rlt_ros.bench.lockstep import LockStep
from rlt_ros.config import Method, RobotProfile, Task
from rlt_ros.data.dataset import Episode, Writer
from rlt_ros.sim.collect import demonstrate, fresh
from rlt_ros.sim.world import World
from rlt_ros.vla.builtin import BuiltinBackend

DEMONSTRATIONS, ROLLOUTS = 9, 10  # with the seed they make starts that `rlt collect` does not draw, whatever its seed


def demonstrations(profile: RobotProfile, task: Task, seed: int) -> Iterator[Episode]:
    """Successful ones without end; those that fail are left out, as in the training data."""
    random = np.random.default_rng([seed, DEMONSTRATIONS, 1])
    for world in fresh(profile, task, [seed, DEMONSTRATIONS]):
        episode = demonstrate(world, random, task)
        if episode.success:
            yield episode


def rollouts(profile: RobotProfile, task: Task, method: Method, vla: BuiltinBackend, seed: int) -> Iterator[Episode]:
    """Episodes of the frozen VLA in evaluation mode without end, to success or the task's time limit."""
    runner = LockStep(profile, task, method, vla, None, [seed, ROLLOUTS])
    while True:
        yield rollout(runner)


def rollout(runner: LockStep) -> Episode:
    """One episode, observed every `stride` ticks; `action` holds the commands after the safety filter."""
    profile = runner.profile
    rows: dict[str, list] = {name: [] for name in ('images', 'position', 'velocity', 'tip')}
    commands: list[np.ndarray] = []  # the last one before every tick

    def watch(world: World, tick: int, last: bool = False) -> None:
        commands.append(runner.executor.filter.command.copy())
        if not last and tick % profile.stride == 0:
            rows['images'].append(world.images())
            rows['position'].append(world.position.copy())
            rows['velocity'].append(world.velocity.copy())
            rows['tip'].append(world.tip_in_socket())

    result = runner.episode('evaluation', noise=False, watch=watch)
    count, stride = len(rows['position']), profile.stride
    # the last row may end in mid-stride: it stays where it is
    executed = commands[1:] + [commands[-1]] * (count * stride - result.steps)
    return Episode(
        images=np.array(rows['images']),
        position=np.array(rows['position']),
        velocity=np.array(rows['velocity']),
        command=np.array(commands[: count * stride : stride]),
        action=np.array(executed).reshape(count, stride, -1),
        tip_in_socket=np.array(rows['tip']),
        critical=np.ones(count, bool),  # of what is fetched before nothing is asked
        straying=np.zeros(count, bool),
        instruction=runner.task.instruction,
        success=result.success,
    )


def record(folder: Path, profile: RobotProfile, episodes: Iterator[Episode], count: int, report: Callable) -> None:
    """Write the first `count` episodes as a data set; `report(done)` after each. Raises UserError, as `Writer`."""
    with Writer(folder, profile) as writer:
        for done in range(1, count + 1):
            writer.add(next(episodes))
            report(done)
