"""The executor as a process: what reaches the robot, and what does not."""

import hashlib

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
from robot_bench import HOME, PROFILE, Robot
import tiny_weights
from trajectory_msgs.msg import JointTrajectory
import yaml

from rlt_ros.config import Method, load
from rlt_ros.msg import EpisodeEvent, ExecutedStep, ExecutorStatus, Intervention, Policy, RlState
from rlt_ros.rl.policy import pack
from rlt_ros.ros.node import fill_array, stamp_to_ns
from rlt_ros.ros.qos import COMMAND, LATCHED, RELIABLE

METHOD = load(Method, 'rlt')


REACH = np.array([joint.acceleration for joint in PROFILE.joints]) / PROFILE.control_rate**2  # rad (m) per tick^2


@pytest.fixture
def robot(bench, tmp_path):
    return Robot(bench, tmp_path)


def run_fast(robot, bench):
    """Into an episode in which a person turns the first joint at 1.5 rad/s, and the arm follows 0.1 s late."""
    robot.enter('critical')
    bench.until(lambda: len(robot.commands) > 5)
    robot.speaking = False
    push = Intervention(active=True, velocity=[1.5] + [0.0] * 6, device='test')

    def every_tick():
        robot.intervention.publish(push)
        robot.position = np.array(robot.commands[-5].points[0].positions)

    bench.node.create_timer(0.02, every_tick)
    # by then the arm itself is fast, too
    bench.until(lambda: robot.position[0] > 0.03 and robot.steps[-1].command[0] - robot.steps[-2].command[0] > 0.028)


@pytest.mark.fault('not-finite', 'what is not finite never moves the robot')
@pytest.mark.fault('underrun', 'hold, by a process')
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
    bench.until(lambda: robot.says('IDLE'))
    bench.spin(0.1)
    count = len(robot.commands)
    bench.spin(0.2)
    assert len(robot.commands) == count  # between episodes the robot is left alone
    ticks = [s.tick for s in robot.steps]
    assert ticks == sorted(set(ticks))


@pytest.mark.fault('race', 'a person wins at once; after the release a hold until a fresh chunk')
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
    bench.until(lambda: robot.last(ExecutedStep.HOLD))
    bench.spin(0.2)
    assert robot.last(ExecutedStep.HOLD)
    robot.delta = 0.0
    bench.until(lambda: robot.last(ExecutedStep.VLA))
    commands = np.array([s.command for s in robot.steps if s.phase == 'critical'])
    assert (np.abs(np.diff(commands, 2, axis=0)) <= REACH + 1e-9).all()  # no jump at either hand-over


@pytest.mark.fault('joy-unplugged', 'hold, told, also in the next episode; ended by the device, a takeover or a re-arm')
@pytest.mark.parametrize('end', ['heard again', 'taken over', 'rearm'])
def test_a_person_who_falls_silent_holds_the_robot_until_that_is_explained(robot, bench, end):
    robot.drive()
    robot.human = True
    bench.until(lambda: robot.last(ExecutedStep.HUMAN))
    robot.speaking = False
    bench.until(lambda: robot.says('HOLD: test fell silent during a takeover'))
    silent = next(s.tick for s in reversed(robot.steps) if s.source == ExecutedStep.HUMAN)
    robot.touch(False, 'other')  # who does not have the robot cannot let go of it
    bench.until(lambda: robot.level() == DiagnosticStatus.ERROR)
    robot.enter('reset')
    robot.enter('critical', number=2)
    bench.until(lambda: len([s for s in robot.steps if s.episode == 2 and s.phase == 'critical']) > 40)
    assert {s.source for s in robot.steps if s.tick > silent} == {ExecutedStep.HOLD}  # although chunks go on
    if end == 'heard again':
        robot.human, robot.speaking = False, True
    elif end == 'taken over':
        robot.touch(True, 'other')
        bench.until(lambda: robot.last(ExecutedStep.HUMAN))
        robot.touch(False, 'other')
    else:
        assert robot.call('rearm') == (True, 'armed')
    bench.until(lambda: robot.last(ExecutedStep.VLA))


def test_waiting_for_a_chunk_is_a_warning_and_after_a_while_an_error(robot, bench):
    robot.enter('critical')
    bench.until(lambda: robot.level() == DiagnosticStatus.WARN and 'waiting for a chunk' in robot.told().message)
    bench.until(lambda: robot.level() == DiagnosticStatus.ERROR)
    assert robot.told().message == 'HOLD: waiting for a chunk'
    robot.delta = 1.0
    bench.until(lambda: robot.last(ExecutedStep.VLA) and robot.level() != DiagnosticStatus.ERROR)


@pytest.mark.fault('vla-slow', 'told, although none of its chunks is ever used')
def test_a_vla_that_is_always_late_is_told(robot, bench):
    robot.enter('critical')
    bench.until(lambda: len([s for s in robot.steps if s.phase == 'critical']) > 60)
    robot.see(1.0, ahead=-1.0)
    bench.until(lambda: robot.statuses[-1].chunks_late == 1)
    assert robot.statuses[-1].answer_p99 > 0.9
    bench.until(lambda: 'RL states take' in robot.told().message)


@pytest.mark.fault('policy', 'one older than what drives is refused and counted')
def test_an_older_policy_is_refused_and_the_same_one_again_is_nothing(robot, bench):
    policies = bench.node.create_publisher(Policy, 'policy', LATCHED)
    state_size, chunk_size = 16 + 19 + METHOD.delay * 7, METHOD.chunk * 7
    weights = pack({'w0': np.zeros((state_size + chunk_size, 4)), 'b0': np.zeros(4),
                    'w1': np.zeros((4, chunk_size)), 'b1': np.zeros(chunk_size)}, 0)  # fmt: skip

    def publish(version):
        message = Policy(version=version, sha256=hashlib.sha256(weights).hexdigest())
        fill_array(message, 'weights', np.frombuffer(weights, np.uint8))
        policies.publish(message)

    publish(5)
    robot.enter('critical', mode='online')
    robot.delta = 0.0
    bench.until(lambda: robot.steps[-1].policy_version == 5)
    publish(5)
    bench.spin(0.5)
    refused = robot.statuses[-1].refused
    publish(4)
    bench.until(lambda: robot.statuses[-1].refused > refused)
    log = bench.log('executor_node')
    assert 'policy 4 refused: it is older than version 5' in log and log.count('policy') == 1
    bench.until(lambda: robot.steps[-1].policy_version == 5)
    publish(6)
    bench.until(lambda: robot.steps[-1].policy_version == 6)


@pytest.mark.fault('joints-stop', 'hold within 0.1 s, named; goes on when they are back')
def test_silent_joint_states_hold_the_robot_within_a_tenth_of_a_second(robot, bench, time_to_hold):
    robot.drive()
    robot.feeling = False
    bench.until(lambda: robot.last(ExecutedStep.HOLD))
    first = next(s for s in reversed(robot.steps) if s.source != ExecutedStep.HOLD).header.stamp
    taken = stamp_to_ns(first) + 0.02e9 - robot.felt_at
    time_to_hold(taken * 1e-9)
    assert taken <= 0.105e9  # 5 ms for the way of the message
    bench.spin(0.3)
    assert robot.last(ExecutedStep.HOLD)  # although chunks go on
    bench.until(lambda: robot.statuses[-1].joint_state_age > 0.3)
    assert robot.says('HOLD: joint states')
    assert {s.source for s in robot.steps[-10:]} == {ExecutedStep.HOLD}
    held = [step.command.tolist() for step in robot.steps[-5:]]
    assert held == [held[0]] * 5
    robot.feeling = True
    bench.until(lambda: robot.last(ExecutedStep.VLA))


def test_a_fast_arm_whose_joint_states_stop_is_not_sent_back(robot, bench):
    run_fast(robot, bench)
    robot.feeling, tick = False, robot.steps[-1].tick
    bench.until(lambda: robot.says('HOLD: joint states'))
    bench.spin(0.6)
    way = np.diff([step.command[0] for step in robot.steps if step.tick >= tick])
    assert (way >= -1e-9).all() and way.sum() > 0.05
    assert (way[-10:] == 0.0).all()


@pytest.mark.fault('estop', 'latched through episodes; released by the service alone')
def test_the_estop_stays_until_somebody_asks_and_nothing_is_wrong(robot, bench):
    robot.drive()
    assert robot.call('rearm') == (False, 'the E-stop is not pressed')
    robot.events.publish(EpisodeEvent(event=EpisodeEvent.ESTOP, source='pedal'))
    bench.until(lambda: robot.says('ESTOP: pressed, pedal') and robot.last(ExecutedStep.HOLD))
    bench.until(lambda: robot.level() == DiagnosticStatus.ERROR)
    robot.human = True
    bench.spin(0.3)
    assert {s.source for s in robot.steps[-10:]} == {ExecutedStep.HOLD}  # nor does a person move it, nor a chunk
    assert robot.call('rearm') == (False, 'a person has the robot (test)')
    robot.human = False
    bench.spin(0.4)
    robot.enter('reset')
    robot.enter('critical', number=2)  # the rest of the graph goes on
    bench.until(lambda: robot.steps[-1].episode == 2 and robot.steps[-1].phase == 'critical')
    robot.feeling = False
    bench.spin(0.2)
    success, message = robot.call('rearm')
    assert not success and message.startswith('joint states') and message.endswith('ms old')
    robot.feeling = True
    bench.spin(0.1)
    assert robot.last(ExecutedStep.HOLD)
    robot.delta = None
    assert robot.call('rearm') == (True, 'armed')
    assert robot.call('estop')[0]
    bench.until(lambda: robot.says('ESTOP: pressed, service'))
    assert robot.call('rearm')[0]
    bench.until(lambda: robot.says('HOLD: waiting for a chunk'))
    commands = np.array([s.command for s in robot.steps if s.phase == 'critical' and s.episode == 1])
    assert (np.abs(np.diff(commands, 2, axis=0)) <= REACH + 1e-9).all()  # it stopped as fast as it may, no faster


@pytest.mark.fault('second-publisher', 'E-stop, both are named; a person re-arms when one is gone')
@pytest.mark.parametrize('topic', [PROFILE.command_topic, 'rl_state'])
def test_while_somebody_else_speaks_in_its_place_it_does_nothing(robot, bench, topic, time_to_hold):
    robot.drive()
    kind = RlState if topic == 'rl_state' else JointTrajectory
    begin = bench.node.get_clock().now().nanoseconds
    other = bench.node.create_publisher(kind, topic, COMMAND)
    bench.until(lambda: robot.last(ExecutedStep.HOLD))
    time_to_hold((stamp_to_ns(robot.steps[-1].header.stamp) - begin) * 1e-9)
    bench.until(lambda: robot.says(f'ESTOP: pressed, 2 publishers on {topic}: '))
    assert '/rlt/bench' in robot.statuses[-1].reason
    bench.until(lambda: robot.level() == DiagnosticStatus.ERROR)
    assert robot.last(ExecutedStep.HOLD)
    success, message = robot.call('rearm')
    assert not success and message.startswith(f'2 publishers on {topic}: ')
    bench.node.destroy_publisher(other)
    bench.spin(1.0)
    assert robot.last(ExecutedStep.HOLD)  # a person has to look first
    assert robot.call('rearm') == (True, 'armed')
    bench.until(lambda: robot.last(ExecutedStep.VLA) and robot.level() != DiagnosticStatus.ERROR)


def test_an_episode_begins_when_it_is_known_where_the_robot_stands(robot, bench):
    robot.feeling = False
    bench.spin(0.2)
    robot.enter('critical')
    bench.until(lambda: robot.says('IDLE: joint states'))
    assert not robot.commands
    robot.position = HOME + 0.01
    robot.feeling = True
    bench.until(lambda: robot.commands)
    assert np.allclose(robot.commands[0].points[0].positions, HOME + 0.01)  # not from where it was before
    robot.enter('reset')
    robot.position = HOME + 5.0
    bench.spin(0.1)
    robot.enter('critical', number=2)
    bench.until(lambda: robot.says('IDLE: right/') and 'outside of its limits' in robot.statuses[-1].reason)
    robot.position = HOME
    bench.until(lambda: robot.steps[-1].episode == 2)


def test_another_episode_in_mid_episode_stops_a_fast_arm_before_it_starts(robot, bench):
    run_fast(robot, bench)
    robot.enter('critical', number=2)
    bench.until(lambda: robot.steps[-1].episode == 2 and robot.steps[-1].phase == 'critical')
    start = next(i for i, step in enumerate(robot.steps) if step.episode == 2)
    began = next(i for i, step in enumerate(robot.steps) if step.phase == 'critical')
    commands = np.array([step.command for step in robot.steps[began : start + 1]])
    assert (np.abs(np.diff(commands[:, 0])) <= PROFILE.joints[0].velocity / PROFILE.control_rate + 1e-9).all()
    assert (np.abs(np.diff(commands[:-1], 2, axis=0)) <= REACH + 1e-9).all()
    assert {step.source for step in robot.steps[start - 5 : start]} == {ExecutedStep.HOLD}
    assert (np.diff(commands[-6:-1], axis=0) == 0).all()  # it stands
    assert 'episode 2 begins before the end of episode 1' in bench.log('executor_node')


def test_a_state_before_the_first_activation_is_left_aside(bench, tmp_path):
    weights = tmp_path / 'vla.safetensors'
    tiny_weights.save_vla(weights, PROFILE)
    bench.start('executor_node', robot='single_arm', vla_weights=str(weights), autostart=False)
    assert bench.change('executor_node', 'configure')
    states = bench.node.create_publisher(RlState, 'rl_state', RELIABLE(10))
    bench.until(states.get_subscription_count)
    bench.spin(0.5)
    state = RlState(episode=1, sequence=1, horizon=20, action_dim=7)
    for name, shape in (('token', 16), ('proprioception', 19), ('reference', (20, 7)), ('position', 7)):
        fill_array(state, name, np.zeros(shape))
    states.publish(state)
    bench.spin(0.5)
    assert bench.change('executor_node', 'activate') and bench.state('executor_node') == 'active'
    assert 'Traceback' not in bench.log('executor_node')


@pytest.mark.fault('joints-missing', 'refused and counted; silence holds')
@pytest.mark.fault('wrong-shape', 'refused and counted by a process')
def test_bad_input_is_refused_counted_and_survived(robot, bench):
    robot.drive()
    robot.feeling = False
    for ahead, names in ((0.0, ['a'] * 7), (0.0, PROFILE.joint_names[:-1]), (3600.0, PROFILE.joint_names),
                         (-3600.0, PROFILE.joint_names)):  # fmt: skip
        robot.feel(ahead, names)
        bench.spin(0.05)  # refused ones keep nobody from holding
    bench.until(lambda: robot.says('HOLD: joint states'))
    robot.intervention.publish(Intervention(active=True, velocity=[np.nan] * 7, device='broken'))
    robot.see(np.nan)
    bench.until(lambda: robot.statuses[-1].refused >= 5 and robot.statuses[-1].chunks_invalid > 0)
    robot.see(1.0, episode=7)
    robot.touch(False, 'broken')
    robot.feeling = True
    bench.until(lambda: robot.says('VLA') and robot.statuses[-1].chunks_foreign > 0)
    status = robot.statuses[-1]
    assert status.state == ExecutorStatus.VLA and 0 <= status.joint_state_age < 0.1
    assert 0 < status.chunk_age < 1 and status.ticks > 20 and status.held_ticks > 0
    assert 0 < status.deadline_p50 <= status.deadline_p99 <= status.deadline_max


def test_a_limit_that_cannot_be_kept_is_refused(bench, tmp_path):
    weights, profile = tmp_path / 'vla.safetensors', tmp_path / 'slow.yaml'
    tiny_weights.save_vla(weights, PROFILE)
    profile.write_text(yaml.safe_dump(PROFILE.model_dump() | {'max_age': 0.02}))
    process = bench.start('executor_node', robot=str(profile), vla_weights=str(weights))
    assert process.wait(timeout=20) == 2
    assert 'max_age 0.02 s must be more than the period' in bench.log('executor_node')


@pytest.mark.fault('episode-node-hangs', 'a hold once the phase is over its time; a person can still drive')
def test_a_phase_that_nobody_ends_ends_in_a_hold_that_a_person_can_take_over(bench, tmp_path):
    robot = Robot(bench, tmp_path, time_limit=1.0)
    robot.delta = 0.01
    robot.enter('critical')
    bench.until(lambda: robot.last(ExecutedStep.VLA))
    bench.until(lambda: robot.says('HOLD: the phase is over its time, and nobody has ended it'))
    robot.human = True
    bench.until(lambda: robot.last(ExecutedStep.HUMAN))
    robot.human = False
    bench.until(lambda: robot.says('HOLD: the phase is over its time'))
    robot.enter('critical', 2)
    bench.until(lambda: robot.last(ExecutedStep.VLA))
