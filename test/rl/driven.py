"""A robot that is driven by the real executor, chunk by chunk, and the transitions of what it did."""

from dataclasses import dataclass

import numpy as np

from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.control.chunks import VLA
from rlt_ros.control.executor import Executed, Executor
from rlt_ros.rl.assembly import Assembly
from rlt_ros.rl.transitions import Ending, Seen, Step, Transition, TransitionBuilder

ROBOT = load(RobotProfile, 'single_arm')
HOME = np.array([joint.home for joint in ROBOT.joints])
D = len(HOME)
PUSH = np.append(np.full(D - 1, 0.2), 0.05)  # rad/s, gripper: m/s


@dataclass
class Shift:
    """An actor that adds a constant to the reference."""

    version: int = 1
    shift: float = 0.5

    def mean(self, state: np.ndarray, reference: np.ndarray) -> np.ndarray:
        return reference + np.float32(self.shift)


@dataclass
class Drive:
    """An episode of the real executor, chunk by chunk, on a robot that is always where it was told to be."""

    method: Method
    scale: np.ndarray
    actor: Shift | None = None

    def __post_init__(self) -> None:
        self.executor = Executor(ROBOT, self.method, self.scale)
        self.executor.actor = self.actor
        self.executor.episode(1, 'critical', 'online', 0, HOME)
        self.seen: dict[int, Seen] = {}
        self.executed: dict[int, Executed] = {}
        self.asked: dict[int, np.ndarray] = {}  # what chunks wanted

    def ticks(self, start: int, stop: int, velocity: np.ndarray | None = None) -> None:
        executor, n = self.executor, self.method.delay
        for tick in range(start, stop):
            position = executor.filter.command.copy()
            if tick % 2 == 0:
                reference = np.random.default_rng(tick).normal(0, 0.3, (20, D))
                self.seen[tick] = Seen(np.float32([tick, 1]), np.float32([tick]), np.float32(reference), position)
            if tick % self.method.chunk == 0:
                chunk = executor.choose(1, tick + 1, self.seen[tick], tick, tick)
                if chunk is not None:
                    self.asked |= {tick + n + i: row for i, row in enumerate(chunk.action)}
            self.executed[tick] = executor.tick(tick, position, velocity)

    def transitions(self, ending: Ending | None = None) -> dict[int, Transition]:
        steps = {t: Step(e.command, e.source, e.policy_version) for t, e in self.executed.items()}
        ending = ending or Ending(len(steps), False, True)
        builder = TransitionBuilder(self.method, self.scale, ROBOT.stride)
        return {t.tick: t for t in builder.build(self.seen, steps, ending)}


def quiet(**changes: object) -> Method:
    noises = dict.fromkeys(('noise', 'token_noise', 'rest_noise', 'action_noise'), 0.0)
    return Method(name='test', **{'chunk': 4, 'delay': 2, **noises, **changes})

PERIOD = 20_000_000


def assembled(outcome: str, approach: int = 0, **changes: object) -> list[Transition]:
    """An episode of 40 ticks as the learner puts it together from messages; the first ones of the approach."""
    assembly = Assembly(TransitionBuilder(quiet(**changes), np.ones(1)), room=6000)
    for tick in range(40):
        phase = 'approach' if tick < approach else 'critical'
        assembly.add_step(tick, tick * PERIOD, PERIOD, 1, phase, Step(np.array([float(tick)]), VLA, 0))
        if tick % 2 == 0:
            seen = Seen(np.float32([tick]), np.float32([0]), np.zeros((20, 1), np.float32), np.zeros(1))
            assembly.add_state(1, tick * PERIOD, seen, last=tick == 38)
    assembly.end(1, 40 * PERIOD, outcome, 'online', now=0.0)
    (finished,) = assembly.finished(np.inf)
    return finished.transitions
