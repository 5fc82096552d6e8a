"""Somebody sets the wall clock while the robot moves."""

from collections.abc import Iterator
import os
from pathlib import Path
import signal
import subprocess
import sys

from node_bench import NodeBench
import pytest
from rclpy.clock import Clock
from rclpy.duration import Duration
from rclpy.time import Time
from robot_bench import PROFILE, Robot

from rlt_ros.msg import ExecutedStep

HERE = Path(__file__).parent


class MovableClock(NodeBench):
    """Starts nodes with a wall clock that the test can set."""

    def start(self, name: str, **parameters: object) -> subprocess.Popen:
        words = [word for item in parameters.items() for word in ('-p', '{}:={}'.format(*item))]
        with open(self.folder / f'{name}.log', 'w') as log:
            process = subprocess.Popen(
                [sys.executable, '-u', str(HERE / 'movable_clock.py'), name, '--ros-args', '-r', '__ns:=/rlt', *words],
                stdout=log, stderr=subprocess.STDOUT, env={**os.environ, 'PYTHONPATH': str(HERE.parents[1])},
            )  # fmt: skip
        self.processes.append(process)
        return process


class Later:
    """A clock that is ahead of another: drivers and cameras stamp with the machine's clock, too."""

    def __init__(self, clock: Clock):
        self.clock, self.hours = clock, 0

    def now(self) -> Time:
        return self.clock.now() + Duration(seconds=3600 * self.hours)


@pytest.fixture
def bench(tmp_path: Path, ros_domain: int) -> Iterator[MovableClock]:
    bench = MovableClock(tmp_path, ros_domain)
    yield bench
    bench.close()


@pytest.mark.fault('clock', 'hold until the episode is over, whoever drives; the next one begins with the new time')
def test_a_clock_that_is_set_under_way_holds_until_the_next_episode(bench, tmp_path, time_to_hold) -> None:
    clock = Later(bench.node.get_clock())
    bench.node.get_clock = lambda: clock
    robot = Robot(bench, tmp_path)
    robot.drive()
    bench.processes[0].send_signal(signal.SIGUSR1)
    clock.hours = 1
    bench.until(lambda: robot.last(ExecutedStep.HOLD))
    held = robot.steps.index(next(s for s in reversed(robot.steps) if s.source == ExecutedStep.VLA)) + 1
    time_to_hold((robot.steps[held].tick - robot.steps[held - 1].tick) / PROFILE.control_rate)
    bench.until(lambda: robot.says('HOLD: the clock jumped by 3.6e+03 s'))
    bench.spin(0.5)  # joint states and chunks go on, with the new time
    assert {s.source for s in robot.steps[held:]} == {ExecutedStep.HOLD}
    robot.enter('reset')
    bench.until(lambda: robot.says('IDLE') and 'clock' not in robot.statuses[-1].reason)
    robot.delta = None
    robot.enter('critical', number=2)
    bench.until(lambda: robot.steps[-1].episode == 2 and robot.steps[-1].phase == 'critical')
    robot.see(1.0, episode=2)
    bench.until(lambda: robot.last(ExecutedStep.VLA))
    ticks = [s.tick for s in robot.steps]
    assert ticks == sorted(set(ticks)), 'ticks go on, whatever the clock says'
