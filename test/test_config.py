"""What a user with a wrong configuration reads: the file, the key, the value and what is allowed."""

from collections.abc import Callable
import math
from pathlib import Path

import pytest
import yaml

from rlt_ros.config import Method, RobotProfile, Task, config_hash, learned_with, load, names
from rlt_ros.errors import UserError
from rlt_ros.paths import share


@pytest.mark.parametrize('model', [RobotProfile, Task, Method])
def test_every_shipped_configuration_loads_under_its_name(model: type) -> None:
    assert names(model)
    for name in names(model):
        assert load(model, name).name == name


def shipped(folder: str, name: str) -> dict:
    return yaml.safe_load((share() / 'config' / folder / f'{name}.yaml').read_text())


def refused(tmp_path: Path, model: type, content: object) -> str:
    """The message for a file with this content; it names the file and has no traceback in it."""
    path = tmp_path / 'mine.yaml'
    path.write_bytes(content if isinstance(content, bytes) else yaml.safe_dump(content).encode())
    with pytest.raises(UserError) as error:
        load(model, str(path))
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(('changes', 'says'), [
    ({'chnk': 5}, ['unknown key "chnk"', 'allowed: name, chunk, delay']),
    ({'chunk': 51}, ['chunk = 51', 'less than or equal to 50']),
    ({'chunk': 0}, ['chunk = 0', 'greater than or equal to 1']),
    ({'chunk': 'ten'}, ["chunk = 'ten'", 'integer']),
    ({'discount': 1.0}, ['discount = 1.0', 'less than 1']),
    ({'noise': float('nan')}, ['noise = nan', 'finite']),
    ({'name': None}, ['name = None', 'string']),
    ({'chunk': 0, 'delay': 99, 'x': 1}, ['chunk = 0', 'delay = 99', 'unknown key "x"']),
])  # fmt: skip
def test_wrong_method(tmp_path: Path, changes: dict, says: list[str]) -> None:
    message = refused(tmp_path, Method, {'name': 'mine', **changes})
    assert all(text in message for text in says), message
    assert len(message.splitlines()) <= len(changes)


def test_missing_key_and_unreadable_files(tmp_path: Path) -> None:
    assert 'key "name" is missing' in refused(tmp_path, Method, {'chunk': 5})
    for content in (b'a: [1, 2', b'\xff\xfe\x00', b'a: b: c'):
        message = refused(tmp_path, Method, content)
        assert 'no readable YAML' in message and len(message.splitlines()) == 1
    for content in (b'', b'- a list', b'just words'):
        assert 'must hold keys and values of a method' in refused(tmp_path, Method, content)


@pytest.mark.parametrize('name', ['nosuch', './nosuch.yaml', '/etc', '../tasks/ethernet', ''])
def test_unknown_names_list_what_there_is(name: str) -> None:
    with pytest.raises(UserError) as error:
        load(RobotProfile, name)
    assert f'robot "{name}" does not exist; there are: bimanual, single_arm' in str(error.value)


def test_overrides_win_and_are_checked() -> None:
    assert load(Method, 'rlt', chunk=5).chunk == 5
    with pytest.raises(UserError, match='chunk = 500 is not allowed'):
        load(Method, 'rlt', chunk=500)


def test_robots_that_contradict_themselves(tmp_path: Path) -> None:
    robot = shipped('robots', 'single_arm')
    joints = robot['arms'][0]['joints']
    for change, says in (
        (lambda: joints[0].update(home=9.0), 'home 9.0 is outside [-3.1, 3.1]'),
        (lambda: joints[0].update(home=0.0, name='right/elbow'), 'names must be unique'),
        (lambda: joints[0].update(name='right/waist') or robot.update(observation_rate=30.0), 'whole multiple'),
        (lambda: joints[0].update(colour='red'), 'unknown key "arms.0.joints.0.colour"; allowed: name, origin, axis, '),
        (lambda: robot.update(arms=[]), 'arms = []'),
    ):
        change()
        assert says in refused(tmp_path, RobotProfile, robot)


def first_joint(robot: dict) -> dict:
    return robot['arms'][0]['joints'][0]


def first_mount(robot: dict) -> dict:
    return robot['cameras'][0]['mount']


@pytest.mark.parametrize(('change', 'says'), [
    (lambda robot: first_joint(robot).update(axis=[0, 0, 2]),
     'arms.0.joints.0.axis = [0, 0, 2] is not allowed: Value error, its length is 2, it must be 1 within 0.001'),
    (lambda robot: first_joint(robot).update(axis=[0, 0, 0]),
     'arms.0.joints.0.axis = [0, 0, 0] is not allowed: Value error, its length is 0, it must be 1 within 0.001'),
    (lambda robot: first_mount(robot).update(body='rigth'),
     "camera right_wrist: mount.body = 'rigth' is not allowed; allowed: world, left, right"),
    (lambda robot: first_mount(robot).update(look_at=[0.06, 0.0, -0.07]),
     'cameras.0.mount is not allowed: Value error, look_at [0.06, 0.0, -0.07] must be another point than position'),
    (lambda robot: robot.update(workspace_low=[-0.3, -0.25, 0.5]),
     'workspace_low[2] = 0.5 is not allowed: it must be less than workspace_high[2] = 0.45'),
    (lambda robot: robot['arms'][0].update(name='right'), 'arm names must be unique: right, right'),
    (lambda robot: robot['arms'][0].update(name='world'), "an arm cannot be named 'world'"),
    (lambda robot: robot['arms'][1].update(squeeze=0.003), 'arm right: squeeze = 0.003 is not allowed: at most 0.002'),
    (lambda robot: first_mount(robot).update(position=[0, 0, 0.1], look_at=[0, 0, 0], up=[0, 0, 1]),
     'up [0.0, 0.0, 1.0] must be another direction than that from position to look_at'),
    (lambda robot: first_mount(robot).update(up=[0, 0, 0]), 'up [0.0, 0.0, 0.0] must be another direction'),
])  # fmt: skip
def test_a_robot_that_cannot_be_is_refused(tmp_path: Path, change: Callable[[dict], None], says: str) -> None:
    robot = shipped('robots', 'bimanual')
    change(robot)
    message = refused(tmp_path, RobotProfile, robot)
    assert says in message and len(message.splitlines()) == 1


@pytest.mark.parametrize(('changes', 'says'), [
    ({'topic': ''}, 'right_wrist: a topic or a source must be given'),
    ({'topic': '', 'source': '/dev/video0'}, ''),
    ({'source': '/dev/video0'}, ''),
])  # fmt: skip
def test_a_camera_has_a_topic_or_a_source(tmp_path: Path, changes: dict, says: str) -> None:
    robot = shipped('robots', 'single_arm')
    robot['cameras'][0].update(changes)
    if says:
        assert says in refused(tmp_path, RobotProfile, robot)
        return
    if not changes.get('topic', 'kept'):
        del robot['cameras'][0]['topic']
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump(robot))
    assert load(RobotProfile, str(path)).cameras[0].source == '/dev/video0'


def test_pictures_are_cut_into_whole_tokens(tmp_path: Path) -> None:
    robot = shipped('robots', 'single_arm') | {'image_size': 100}
    assert 'image_size = 100 is not allowed: Input should be a multiple of 16' in refused(tmp_path, RobotProfile, robot)


def test_an_axis_may_be_rounded(tmp_path: Path) -> None:
    robot = shipped('robots', 'bimanual')
    first_joint(robot)['axis'] = [0.7071, 0.0, -0.7071]
    path = tmp_path / 'mine.yaml'
    path.write_text(yaml.safe_dump(robot))
    assert load(RobotProfile, str(path)).joints[0].axis == [0.7071, 0.0, -0.7071]


def test_sizes_and_order_come_from_the_robot() -> None:
    robot = load(RobotProfile, 'bimanual')
    assert robot.action_dim == 14 and robot.stride == 2
    assert [robot.joint_names[i] for i in (0, 6, 7, 13)] == [
        'left/waist',
        'left/gripper',
        'right/waist',
        'right/gripper',
    ]


def test_hash_follows_the_content_alone(tmp_path: Path) -> None:
    content = shipped('methods', 'rlt')
    path = tmp_path / 'other_file.yaml'
    path.write_text(yaml.safe_dump({**dict(reversed(content.items())), 'chunk': 10}))
    same, other = load(Method, str(path)), load(Method, 'rlt', chunk=9)
    assert config_hash(same) == config_hash(load(Method, 'rlt')) != config_hash(other)
    with pytest.raises(ValueError, match='frozen'):
        same.chunk = 3


def test_a_task_scales_the_pull_to_the_reference_and_leaves_none_where_there_is_none():
    task = load(Task, 'screw', bc_factor=3.0)
    assert learned_with(Method(name='test', bc_weight=0.1), task).bc_weight == pytest.approx(0.3)
    assert learned_with(Method(name='test', bc_weight=0.0), task).bc_weight == 0.0


def test_a_task_scales_all_noise():
    names = 'noise', 'token_noise', 'rest_noise', 'action_noise'
    method = load(Method, 'rlt', **dict(zip(names, (0.02, 0.3, 0.1, 0.2), strict=True)))
    for factor, noises in ((1.0, [0.02, 0.3, 0.1, 0.2]), (0.5, [0.01, 0.15, 0.05, 0.1]), (0.0, [0.0] * 4)):
        learned = learned_with(method, load(Task, 'ethernet', noise_factor=factor))
        assert [getattr(learned, name) for name in names] == noises
    screw = learned_with(method, load(Task, 'screw'))
    assert [getattr(screw, name) for name in names] == [0.01, 0.15, 0.05, 0.1]


def test_an_approach_begins_the_critical_phase_or_is_given_up_in_time():
    full = load(Task, 'screw_full')
    assert not full.hands_over(1e6) and full.limit('approach') == 30.0 and full.limit('critical') == 12.0
    timed = full.model_copy(update={'handover_after': 2.0, 'approach_limit': None})
    assert not timed.hands_over(1.9) and timed.hands_over(2.0) and timed.limit('approach') == math.inf
    assert full.alone() == load(Task, 'screw').model_copy(update={'name': 'screw_full', 'bc_factor': full.bc_factor})
    with pytest.raises(UserError, match='handover_after and approach_limit are both null'):
        load(Task, 'screw_full', approach_limit=None)
