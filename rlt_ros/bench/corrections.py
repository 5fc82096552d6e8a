"""Where corrections begin: a VLA leads in lock-step, until a person takes over."""

from collections.abc import Iterator

import numpy as np

from rlt_ros.bench.lockstep import LockStep, one_core
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.sim.world import World
from rlt_ros.vla.builtin import BuiltinBackend

LED = 1.5, 28.0  # s that a VLA leads before the person takes over
CORRECTED = 11  # beside the seed: starts and takeovers of those


def led(profile: RobotProfile, task: Task, vla: BuiltinBackend, seed: int) -> Iterator[World]:
    """A world as a VLA leaves it on its way to the critical phase: who demonstrates from there corrects it.

    Most lead long: what a VLA does after a missed grasp, when it is lost, no demonstration shows. Where it arrives
    before, nothing is to be corrected, so that half of the corrections begin where it is lost.
    """
    one_core()
    runner = LockStep(profile, task, load(Method, 'rlt'), vla, None, [seed, CORRECTED])
    random = np.random.default_rng([seed, CORRECTED, 1])
    while True:
        enough = random.uniform(*LED) * profile.control_rate
        watch = lambda world, tick, last=False: tick > enough or world.critical()  # noqa: E731, B023
        runner.episode('evaluation', noise=False, watch=watch)
        if not runner.world.critical():
            yield runner.world
