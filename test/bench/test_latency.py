"""What latency costs: a robot that waits for its VLA, and one that asks ahead."""

from collections.abc import Callable

import numpy as np
import pytest
import tiny_weights
import torch

from rlt_ros.bench import latency
from rlt_ros.bench.latency import Course, drive, fitted, measure, numbers
from rlt_ros.bench.lockstep import LockStep, Result
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.errors import UserError
from rlt_ros.sim.collect import fresh
from rlt_ros.vla.builtin import BuiltinBackend

torch.set_num_threads(1)
ROBOT = load(RobotProfile, 'single_arm')
TASK = load(Task, 'ethernet').model_copy(update={'time_limit': 0.8})
TICKS = 40


@pytest.fixture(scope='module')
def course(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, bool], Course]:
    """An episode with chunks of 4 and a VLA that takes some ticks."""
    weights = tmp_path_factory.mktemp('weights') / 'vla'
    tiny_weights.save_vla(weights, ROBOT)
    vla = BuiltinBackend(weights, ROBOT)

    def made(ticks: int, blocking: bool) -> Course:
        method = fitted(Method(name='test', chunk=4, delay=0), 0 if blocking else ticks, vla.model.sizes.horizon)
        return drive(LockStep(ROBOT, TASK, method, vla, None, 0), ticks, blocking)

    return made


def test_who_asks_ahead_never_holds_and_who_waits_holds_for_every_answer(course) -> None:
    for ticks in (0, 2, 6):  # the last one longer than half a chunk: chunks grow with it
        assert course(ticks, blocking=False).held == 0
        waits = [tick for tick in range(ticks, TICKS) if tick % (4 + ticks) < ticks]
        assert course(ticks, blocking=True).held == len(waits)


def test_without_delay_both_do_the_same(course) -> None:
    ahead, waiting = course(0, blocking=False), course(0, blocking=True)
    np.testing.assert_array_equal(ahead.commands, waiting.commands)
    assert len(ahead.commands) == TICKS + 1


def test_a_waiting_robot_executes_its_chunk_from_the_start(course) -> None:
    """Nothing of it is lost to the delay: both chunks answer what was seen at the same standstill."""
    at_once, later = course(0, blocking=True).commands, course(2, blocking=True).commands
    np.testing.assert_allclose(later[3:7], at_once[1:5], atol=1e-4)


def test_nobody_starts_where_a_demonstration_did(monkeypatch: pytest.MonkeyPatch) -> None:
    robot, seen = load(RobotProfile, 'bimanual'), []
    still = Course(Result(True, 50, 0.0), 0, 0, np.zeros((4, robot.action_dim)))
    monkeypatch.setattr(latency, 'drive', lambda runner, *_: runner.world.reset() or seen.append(runner.world) or still)
    latency.measure(robot, TASK, load(Method, 'rlt'), 1, 0, lambda share, note: None)
    demonstrated = next(iter(fresh(robot, TASK, 0))).position
    assert len(seen) == 12 and len({tuple(world.position) for world in seen}) == 1
    assert not np.array_equal(seen[0].position, demonstrated)


def test_acceleration_and_jerk_are_the_largest_of_any_arm_joint() -> None:
    still = np.zeros((10, 7))
    kick, grip = still.copy(), still.copy()
    kick[5:, 2] = 0.001  # a step of 1 mrad: +, - in acceleration, twice that in jerk
    grip[5:, 6] = 0.03
    row = numbers([Course(Result(True, 300, 0.0), 3, 1, kick), Course(Result(False, 300, 0.0), 4, 0, grip)], ROBOT)
    assert list(row) == ['holds', 'clamped', 'max_acceleration', 'max_jerk', 'throughput_per_10min']
    assert list(row.values()) == [3.5, 0.5, 2.5, 250.0, 50.0]


def test_chunks_are_twice_the_delay_as_far_as_the_vla_looks_ahead() -> None:
    method = Method(name='test', chunk=4, delay=0)
    assert [(m.delay, m.chunk) for m in (fitted(method, n, 20) for n in (0, 2, 3, 5, 8, 10))] == [
        (0, 4), (2, 4), (3, 6), (5, 10), (8, 12), (10, 10)
    ]  # fmt: skip


def test_a_delay_that_the_vla_does_not_look_across_is_refused(course) -> None:
    with pytest.raises(UserError, match='have 20 steps, method test needs 23 of them: delay 11 . chunk 12'):
        course(11, blocking=False)


def test_a_full_task_is_refused() -> None:
    with pytest.raises(UserError, match='"ethernet_full" is a full one'):
        measure(ROBOT, load(Task, 'ethernet_full'), load(Method, 'rlt'), 1, 0, lambda *_: None)
