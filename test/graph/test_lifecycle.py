"""Lifecycle nodes as processes: what the services, the process's start and its end make of them."""

import signal

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
import pytest
from robot_bench import HOME, PROFILE, Robot
import tiny_weights
from trajectory_msgs.msg import JointTrajectory
import yaml

from rlt_ros.config import Task, load
from rlt_ros.msg import ExecutedStep
from rlt_ros.ros.qos import COMMAND, RELIABLE

# what others rely on while a node is active
OUTPUTS = {
    'camera_node': 'observation', 'vla_node': 'vla_output', 'rl_token_node': 'rl_state',
    'executor_node': PROFILE.command_topic, 'teleop_node': 'intervention', 'episode_node': 'episode_state',
}  # fmt: skip


def parameters(name, folder):
    """With which a node starts, of the tests' own tiny weights."""
    vla, token = folder / 'vla.safetensors', folder / 'token.safetensors'
    tiny_weights.save_token(token, PROFILE, tiny_weights.save_vla(vla, PROFILE))
    weights = {
        'vla_node': {'weights': str(vla)}, 'rl_token_node': {'weights': str(token), 'vla_weights': str(vla)},
        'executor_node': {'vla_weights': str(vla)},
    }  # fmt: skip
    robot = {} if name == 'episode_node' else {'robot': 'single_arm'}
    return robot | weights.get(name, {})


@pytest.mark.parametrize(('name', 'output'), OUTPUTS.items())
def test_a_node_goes_through_its_states_by_the_lifecycle_services(bench, tmp_path, name, output):
    topic = f'/rlt/{output}'.replace('/rlt//', '/')
    there = lambda: bench.node.count_publishers(topic)  # noqa: E731
    reports = bench.listen(DiagnosticArray, '/diagnostics', RELIABLE(10))
    told = lambda: [s.message for m in reports for s in m.status if s.name == f'/rlt/{name}: lifecycle'][-1:]  # noqa: E731
    process = bench.start(name, autostart=False, **parameters(name, tmp_path))
    assert bench.state(name) == 'unconfigured' and not there()
    assert not bench.change(name, 'activate') and not bench.change(name, 'nonsense')
    assert bench.change(name, 'configure') and bench.state(name) == 'inactive'
    bench.until(lambda: told() == ['inactive'])
    assert not there()
    for _ in range(2):
        assert bench.change(name, 'activate') and bench.state(name) == 'active'
        bench.until(lambda: there() and told() == ['active'])
        assert bench.change(name, 'deactivate') and bench.state(name) == 'inactive'
        bench.until(lambda: not there())
    assert bench.change(name, 'cleanup') and bench.state(name) == 'unconfigured'
    assert bench.change(name, 'configure') and bench.change(name, 'activate')
    bench.until(there)
    assert bench.change(name, 'shutdown')
    assert process.wait(timeout=20) == 0
    assert 'Traceback' not in bench.log(name)


@pytest.mark.parametrize(('name', 'kind', 'key'), [
    ('camera_node', 'robot', 'control_rate'), ('executor_node', 'robot', 'control_rate'),
    ('episode_node', 'task', 'time_limit'),
])  # fmt: skip
def test_a_wrong_configuration_refuses_the_transition_or_ends_the_process(bench, tmp_path, name, kind, key):
    right = (PROFILE if kind == 'robot' else load(Task, 'ethernet')).model_dump()
    file = tmp_path / f'{kind}.yaml'
    file.write_text(yaml.safe_dump(right | {key: -1.0}))
    given = {**parameters(name, tmp_path), kind: str(file)}
    assert bench.start(name, **given).wait(timeout=60) == 2
    assert bench.log(name).count(key) == 1 and 'Traceback' not in bench.log(name)
    bench.processes.clear()
    process = bench.start(name, autostart=False, **given)
    assert not bench.change(name, 'configure') and bench.state(name) == 'unconfigured'
    assert bench.log(name).count(key) == 2
    file.write_text(yaml.safe_dump(right))
    assert bench.change(name, 'configure') and bench.change(name, 'activate')
    assert bench.stop(process) == 0


def test_a_wrong_parameter_is_refused_as_well(bench):
    assert bench.start('camera_node', autostart='perhaps').wait(timeout=60) == 2
    bench.processes.clear()
    bench.start('camera_node', autostart=False, max_delay=-1.0)
    assert not bench.change('camera_node', 'configure') and bench.state('camera_node') == 'unconfigured'
    log = bench.log('camera_node')
    assert 'autostart' in log and 'max_delay' in log and 'Traceback' not in log


@pytest.fixture
def slow(bench, tmp_path):
    """A robot that needs a dozen ticks to come to rest, under way."""
    robot = Robot(bench, tmp_path, acceleration=0.4)
    robot.enter('critical')
    bench.until(lambda: robot.commands)
    robot.human = True
    bench.until(lambda: moved(robot) and np.ptp(np.diff([c[0] for c in points(robot)[-4:]])) < 1e-9)
    return robot


def points(robot):
    return np.array([command.points[0].positions for command in robot.commands])


def moved(robot):
    return len(robot.commands) > 4 and points(robot)[-1][0] - points(robot)[-2][0] > 1e-3


def assert_came_to_rest_within_limits(robot):
    commands = points(robot)
    limit = np.array([joint.acceleration for joint in robot.profile.joints]) / robot.profile.control_rate**2
    assert (np.abs(np.diff(commands, 2, axis=0)) <= limit + 1e-9).all()
    assert (commands[-3:] == commands[-1]).all() and np.ptp(commands[-15:, 0]) > 5e-3, 'a ramp, then a hold'


def test_an_active_executor_that_is_deactivated_brakes_holds_and_falls_silent(slow, bench):
    assert bench.change('executor_node', 'deactivate')
    bench.until(lambda: slow.says('INACTIVE'))
    assert_came_to_rest_within_limits(slow)
    assert slow.last(ExecutedStep.HOLD)
    count = len(slow.commands)
    slow.delta = 1.0
    slow.enter('reset', 2)
    slow.enter('critical', 2)
    bench.spin(0.5)
    assert len(slow.commands) == count and slow.says('INACTIVE')
    # activated again: what began before is not joined, and the next episode starts where the robot stands now
    slow.human, slow.position = False, HOME + 0.05
    assert bench.change('executor_node', 'activate')
    bench.until(lambda: slow.says('IDLE'))
    slow.enter('critical', 2)
    bench.until(lambda: slow.says('IDLE; episode 2 is not joined'))
    assert len(slow.commands) == count
    slow.enter('approach', 3)
    bench.until(lambda: len(slow.commands) > count)
    np.testing.assert_allclose(slow.commands[count].points[0].positions, HOME + 0.05, atol=1e-6)
    bench.until(lambda: slow.last(ExecutedStep.HOLD) and slow.steps[-1].episode == 3)


def test_sigint_under_way_brakes_holds_and_ends(slow, bench):
    slow.process.send_signal(signal.SIGINT)
    bench.until(lambda: slow.process.poll() == 0)
    assert_came_to_rest_within_limits(slow)
    assert 'Traceback' not in bench.log('executor_node')


def test_an_episode_that_ends_under_way_ends_in_a_ramp(slow, bench):
    slow.enter('ended')
    bench.until(lambda: slow.says('IDLE'))
    bench.spin(0.1)
    assert_came_to_rest_within_limits(slow)
    steps = np.array([step.command for step in slow.steps if step.phase == 'critical'])
    assert len(points(slow)) > len(steps) and (points(slow)[: len(steps)] == steps).all()


def test_the_next_episode_waits_until_the_robot_stands(slow, bench):
    slow.enter('ended')
    slow.enter('approach', 2)
    bench.until(lambda: slow.steps[-1].episode == 2)
    rest = [i for i, step in enumerate(slow.steps) if step.episode == 2][0]
    held = np.array([step.command for step in slow.steps[rest - 3 : rest]])
    assert (held == held[0]).all()
    steps = np.array([step.command for step in slow.steps[:rest] if step.phase != 'idle'])
    limit = np.array([joint.acceleration for joint in slow.profile.joints]) / slow.profile.control_rate**2
    assert (np.abs(np.diff(steps, 2, axis=0)) <= limit + 1e-9).all()


def test_a_deactivated_executor_is_not_armed_beside_another_publisher(slow, bench):
    assert bench.change('executor_node', 'deactivate')
    other = bench.node.create_publisher(JointTrajectory, PROFILE.command_topic, COMMAND)
    bench.until(lambda: slow.says('INACTIVE: 1 publishers on'))
    assert not bench.change('executor_node', 'activate') and bench.state('executor_node') == 'inactive'
    assert 'the robot is not armed: 1 publishers on' in bench.log('executor_node')
    bench.node.destroy_publisher(other)
    bench.until(lambda: slow.says('INACTIVE') and 'publishers' not in slow.statuses[-1].reason)
    assert bench.change('executor_node', 'activate')


def test_an_estop_stays_pressed_through_all_states(slow, bench):
    assert slow.call('estop')[0]
    for transition in ('deactivate', 'cleanup', 'configure', 'activate'):
        assert bench.change('executor_node', transition)
    bench.until(lambda: slow.says('ESTOP: pressed, service'))


def test_an_executor_that_was_killed_and_started_again_does_not_join_the_episode(slow, bench):
    slow.process.kill()
    slow.process.wait()
    bench.processes.clear()
    bench.spin(0.2)
    count, slow.delta = len(slow.commands), 1.0
    bench.start('executor_node', **slow.parameters)
    bench.until(lambda: slow.says('IDLE; episode 1 is not joined'))
    slow.enter('critical')  # a person's hand-over, say
    bench.spin(0.5)
    assert len(slow.commands) == count and slow.says('IDLE; episode 1 is not joined')
    slow.human = False
    slow.enter('approach', 2)
    bench.until(lambda: slow.steps[-1].episode == 2)


def test_a_vla_whose_chunks_are_too_short_for_the_method_is_refused(bench, tmp_path):
    (tmp_path / 'method.yaml').write_text('{name: long, chunk: 40}')
    process = bench.start('vla_node', method=str(tmp_path / 'method.yaml'), **parameters('vla_node', tmp_path))
    assert process.wait(60) == 2
    bench.processes.remove(process)
    assert 'have 20 steps, method long needs 43 of them' in bench.log('vla_node')
