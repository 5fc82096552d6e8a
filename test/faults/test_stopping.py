"""Signals to whoever commands the robot, in any order: the last command is safe, and the driver stops by itself."""

from collections.abc import Iterator
from pathlib import Path
import signal
import time

from node_bench import NodeBench
import numpy as np
import pytest
from sensor_msgs.msg import JointState
import tiny_weights

from rlt_ros.bench.soak_checks import LimitChecker, Logged
from rlt_ros.config import RobotProfile, load
from rlt_ros.msg import EpisodeState, ExecutedStep, RlState
from rlt_ros.ros.node import fill_array, stamp_to_ns
from rlt_ros.ros.qos import LATCHED, RELIABLE, STORED

PROFILE = load(RobotProfile, 'single_arm')
D, STILL = PROFILE.action_dim, 0.05  # rad/s


class Robot:
    """The simulated driver, an executor, and a VLA that the test is."""

    def __init__(self, bench: NodeBench):
        self.bench, self.sequence, self.number, self.position = bench, 0, 0, None
        self.weights = bench.folder / 'vla.safetensors'
        tiny_weights.save_vla(self.weights, PROFILE)
        self.steps = bench.listen(ExecutedStep, 'executed_step', STORED)
        self.joints = bench.listen(JointState, PROFILE.joint_state_topic, RELIABLE(10))
        self.states = bench.node.create_publisher(RlState, 'rl_state', RELIABLE(10))
        self.episode = bench.node.create_publisher(EpisodeState, 'episode_state', LATCHED)
        bench.node.create_timer(0.2, self.see)
        self.driver = bench.start('sim_robot_node', robot='single_arm')
        bench.until(lambda: self.joints)

    def see(self) -> None:
        """The VLA wants the joints to go on and on."""
        if not self.joints or not self.number:
            return
        self.sequence += 1
        position = self.joints[-1].position
        message = RlState(episode=self.number, sequence=self.sequence, horizon=50, action_dim=D)
        message.header.stamp = self.bench.node.get_clock().now().to_msg()
        ramp = np.zeros((50, D))
        ramp[:, 0] = np.minimum(2.9, 0.1 * np.arange(50))  # action units: the waist alone
        fill_array(message, 'token', np.zeros(16))
        fill_array(message, 'proprioception', np.zeros(19))
        fill_array(message, 'reference', ramp)
        fill_array(message, 'position', np.array(position))
        self.states.publish(message)

    def drive(self):
        """An executor that drives the robot in a new episode."""
        self.steps.clear()
        process = self.bench.start('executor_node', robot='single_arm', vla_weights=str(self.weights))
        self.bench.until(lambda: self.steps)
        self.number += 1
        begins = EpisodeState(episode=self.number, phase='critical', mode='evaluation')
        begins.header.stamp = self.bench.node.get_clock().now().to_msg()
        self.episode.publish(begins)
        self.bench.until(lambda: sum(s.source == ExecutedStep.VLA for s in self.steps) > 15)
        return process


@pytest.fixture
def robot(tmp_path: Path, ros_domain: int) -> Iterator[Robot]:
    bench = NodeBench(tmp_path, ros_domain)
    try:
        yield Robot(bench)
    finally:
        bench.close()


INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL


@pytest.mark.fault('executor-dies', 'its commands end; the driver stops where it is by its own time-out')
@pytest.mark.fault('signals', 'executor: no command beyond a limit, then the driver stops by itself')
@pytest.mark.parametrize('signals', [
    (INT,), (TERM,), (KILL,), (TERM, INT), (INT, KILL), (signal.SIGSTOP, KILL),
], ids=lambda signals: '-'.join(s.name for s in signals))  # fmt: skip
def test_after_any_signals_the_robot_stands(robot: Robot, time_to_hold, signals: tuple[signal.Signals, ...]) -> None:
    process, bench = robot.drive(), robot.bench
    for number in signals:
        process.send_signal(number)
    code = bench.until(lambda: process.poll() is not None and (process.returncode,))[0]
    assert code == (-KILL if KILL in signals else 0)
    bench.processes.remove(process)
    last = stamp_to_ns(robot.steps[-1].header.stamp) * 1e-9
    robot.joints.clear()
    still = lambda: next((s for s in robot.joints if np.abs(s.velocity).max() < STILL), None)  # noqa: E731
    stands = stamp_to_ns(bench.until(still).header.stamp) * 1e-9
    time_to_hold(max(0.0, stands - last))
    robot.joints.clear()
    end = time.monotonic() + 0.5
    bench.until(lambda: time.monotonic() > end and len(robot.joints) > 5)
    assert np.ptp([s.position for s in robot.joints], axis=0).max() < 0.01, 'it stays where it is'
    limits = LimitChecker(PROFILE)
    for step in robot.steps:
        logged = Logged(step.episode, step.phase, step.source, step.policy_version, np.array(step.command))
        limits.add(step.tick, logged)
    assert limits.steps > 15 and limits.wrong.examples == []
