"""The executor as a process: what reaches the robot, and what does not."""

import numpy as np
import pytest
from sensor_msgs.msg import JointState
import tiny_weights
from trajectory_msgs.msg import JointTrajectory

from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.msg import EpisodeState, ExecutedStep, Intervention, RlState
from rlt_ros.ros.node import fill_array
from rlt_ros.ros.qos import COMMAND, LATCHED, RELIABLE, STORED

PROFILE, METHOD = load(RobotProfile, 'single_arm'), load(Method, 'rlt')
HOME = np.array([joint.home for joint in PROFILE.joints])


class Robot:
    """Everything around an executor: it feels joint states, sees states and hears of the episode, as the test wants."""

    def __init__(self, bench, tmp_path):
        weights = tmp_path / 'vla.safetensors'
        tiny_weights.save_vla(weights, PROFILE)
        self.bench, self.feeling, self.sequence, self.human = bench, True, 0, False
        self.delta: float | None = None  # what every state asks for, five a second
        self.count = 0
        self.steps = bench.listen(ExecutedStep, 'executed_step', STORED)
        self.commands = bench.listen(JointTrajectory, PROFILE.command_topic, COMMAND)
        publisher = bench.node.create_publisher
        self.joints = publisher(JointState, PROFILE.joint_state_topic, RELIABLE(10))
        self.states = publisher(RlState, 'rl_state', RELIABLE(10))
        self.episode = publisher(EpisodeState, 'episode_state', LATCHED)
        self.intervention = publisher(Intervention, 'intervention', RELIABLE(1))
        bench.node.create_timer(0.02, self.every_tick)
        bench.start('executor_node', robot='single_arm', vla_weights=str(weights))
        bench.until(lambda: self.steps and self.joints.get_subscription_count())

    def every_tick(self):
        if self.feeling:
            message = JointState(name=PROFILE.joint_names, position=HOME.tolist(), velocity=[0.0] * 7)
            self.joints.publish(message)
        self.count += 1
        if self.delta is not None and self.count % 10 == 0:
            self.see(self.delta)
        if self.human:
            self.intervention.publish(Intervention(active=True, velocity=[0.1] + [0.0] * 6, device='test'))

    def enter(self, phase, number=1):
        self.episode.publish(EpisodeState(episode=number, phase=phase, mode='evaluation'))

    def see(self, delta, episode=1):
        """A state whose reference chunk is to move every joint by `delta`, in action units."""
        self.sequence += 1
        message = RlState(episode=episode, sequence=self.sequence, horizon=20, action_dim=7)
        message.header.stamp = self.bench.node.get_clock().now().to_msg()
        fill_array(message, 'token', np.zeros(16))
        fill_array(message, 'proprioception', np.zeros(19))
        fill_array(message, 'reference', np.full((20, 7), delta))
        fill_array(message, 'position', HOME)
        self.states.publish(message)

    def last(self, source):
        return self.steps and self.steps[-1].source == source


@pytest.fixture
def robot(bench, tmp_path):
    return Robot(bench, tmp_path)


def test_only_finite_fresh_chunks_of_this_episode_move_the_robot(robot, bench):
    assert not robot.commands  # nothing before an episode
    robot.enter('critical')
    bench.until(lambda: robot.commands)
    assert np.allclose(robot.commands[-1].points[0].positions, HOME, atol=1e-6)  # holds where it stands
    robot.see(np.nan)
    robot.see(1.0, episode=7)
    bench.spin(0.3)
    assert {s.source for s in robot.steps if s.phase == 'critical'} == {ExecutedStep.HOLD}
    robot.delta = 1.0
    bench.until(lambda: robot.last(ExecutedStep.VLA) and np.allclose(robot.steps[-1].command - HOME, 2e-3, atol=5e-4))
    robot.delta = None
    moved = np.array(bench.until(lambda: robot.commands)[-1].points[0].positions) - HOME
    bench.until(lambda: robot.last(ExecutedStep.HOLD))  # the chunk and the rest of its reference are over
    assert (moved > 0).all()
    robot.enter('reset')
    bench.until(lambda: robot.steps[-1].phase == 'reset')
    count = len(robot.commands)
    bench.spin(0.2)
    assert len(robot.commands) == count  # between episodes the robot is left alone
    ticks = [s.tick for s in robot.steps]
    assert ticks == sorted(set(ticks))


def test_a_person_wins_at_once_and_the_hand_back_waits_for_a_fresh_chunk(robot, bench):
    robot.enter('critical')
    bench.until(lambda: robot.commands)
    robot.delta = 1.0
    bench.until(lambda: robot.last(ExecutedStep.VLA))
    robot.human = True
    bench.until(lambda: robot.last(ExecutedStep.HUMAN))
    bench.spin(0.3)  # states go on: what is seen while the person drives is void afterwards
    robot.delta = None
    assert ExecutedStep.VLA not in {s.source for s in robot.steps[-5:]}
    robot.human = False
    bench.until(lambda: robot.last(ExecutedStep.HOLD))  # silence counts as released
    bench.spin(0.2)
    assert robot.last(ExecutedStep.HOLD)
    robot.delta = 0.0
    bench.until(lambda: robot.last(ExecutedStep.VLA))
    commands = np.array([s.command for s in robot.steps if s.phase == 'critical'])
    limit = np.array([joint.acceleration for joint in PROFILE.joints]) / PROFILE.control_rate**2
    assert (np.abs(np.diff(commands, 2, axis=0)) <= limit + 1e-9).all()  # no jump at either hand-over


def test_silent_joint_states_hold_the_robot(robot, bench):
    robot.enter('critical')
    bench.until(lambda: robot.commands)
    robot.delta = 1.0
    bench.until(lambda: robot.last(ExecutedStep.VLA))
    robot.feeling = False
    bench.until(lambda: robot.last(ExecutedStep.HOLD))
    bench.spin(0.3)
    assert robot.last(ExecutedStep.HOLD)  # although chunks go on
    robot.feeling = True
    bench.until(lambda: robot.last(ExecutedStep.VLA))
