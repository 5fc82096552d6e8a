"""Which demonstrations do for training, and what is said of those that do not."""

import json
from pathlib import Path

import demonstrations
import numpy as np
import pytest

from rlt_ros.config import RobotProfile
from rlt_ros.errors import UserError
from rlt_ros.vla.examples import HELD_OUT, load_examples


def test_episodes_without_what_is_learned_do_not_count(tmp_path: Path) -> None:
    folder = demonstrations.write(tmp_path / 'set', [0, 4] * (HELD_OUT - 1), rows=4)
    with pytest.raises(UserError, match='set: 9 episodes with observations of the critical phase; at least 10'):
        load_examples([folder], demonstrations.ROBOT, 5, approach=False)
    assert len(np.unique(load_examples([folder], demonstrations.ROBOT, 5).episode)) == 18


def test_every_tenth_of_those_that_count_is_held_out(tmp_path: Path) -> None:
    critical = [4] * HELD_OUT
    critical.insert(HELD_OUT - 1, 0)
    folder = demonstrations.write(tmp_path / 'set', critical, rows=4)
    examples = load_examples([folder], demonstrations.ROBOT, 5, approach=False)
    assert examples.held_out.sum() == 4 and len(examples.images) == 40


def test_a_data_set_given_twice_is_refused(tmp_path: Path) -> None:
    folder = demonstrations.write(tmp_path / 'set', [4] * HELD_OUT, rows=4)
    (tmp_path / 'link').symlink_to(folder)
    other = demonstrations.write(tmp_path / 'other', [4] * HELD_OUT, rows=4)
    for again in (folder, tmp_path / 'other' / '..' / 'set', tmp_path / 'link'):
        with pytest.raises(UserError, match=f'data set {folder} is given 2 times; allowed: once'):
            load_examples([folder, other, again], demonstrations.ROBOT, 5)
    assert len(load_examples([folder, other], demonstrations.ROBOT, 5).images) == 80


def other_robot(changes: dict) -> RobotProfile:
    """The robot of the demonstrations with other values; joints: its first ones in this order; cameras: their names."""
    data = demonstrations.ROBOT.model_dump()
    joints, camera = data['arms'][0]['joints'], data['cameras'][0]
    joints[:] = [joints[i] for i in changes.get('joints', range(len(joints)))]
    cameras = [camera | {'name': name} for name in changes.get('cameras', [camera['name']])]
    rest = {name: value for name, value in changes.items() if name not in ('joints', 'cameras')}
    return RobotProfile.model_validate(data | rest | {'cameras': cameras})


@pytest.mark.parametrize(('changes', 'says'), [
    ({'joints': [1, 0, 2, 3, 4, 5]}, "robot single_arm has ['right/shoulder', 'right/waist', 'right/elbow'"),
    ({'joints': [0]}, "robot single_arm has ['right/waist', 'right/gripper']"),
    ({'cameras': ['base']}, "set was recorded with cameras ['right_wrist'], robot single_arm has ['base']"),
    ({'cameras': ['right_wrist', 'base']}, "cameras ['right_wrist'], robot single_arm has ['right_wrist', 'base']"),
    ({'image_size': 64}, 'set was recorded with pictures [[32, 32, 3]], robot single_arm has [[64, 64, 3]]'),
    ({'observation_rate': 50.0}, 'set was recorded with Hz of observations 25.0, robot single_arm has 50.0'),
    ({'control_rate': 100.0}, 'set was recorded with Hz of commands 50.0, robot single_arm has 100.0'),
])  # fmt: skip
def test_a_data_set_of_another_robot_is_refused_with_what_both_have(tmp_path: Path, changes: dict, says: str) -> None:
    folder = demonstrations.write(tmp_path / 'set', [4] * HELD_OUT, rows=4)
    with pytest.raises(UserError) as error:
        load_examples([folder], other_robot(changes), 5)
    assert says in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize(('feature', 'shape', 'says'), [
    ('action', [7], 'set was recorded with commands a row 1.0, robot single_arm has 2'),
    ('observation.state', [14], 'set is damaged: its rows are not as meta/info.json says'),
])  # fmt: skip
def test_another_number_of_commands_a_row_is_noticed(tmp_path: Path, feature: str, shape: list, says: str) -> None:
    folder = demonstrations.write(tmp_path / 'set', [4] * HELD_OUT, rows=4)
    info = folder / 'meta' / 'info.json'
    content = json.loads(info.read_text())
    content['features'][feature]['shape'] = shape
    info.write_text(json.dumps(content))
    with pytest.raises(UserError) as error:
        load_examples([folder], demonstrations.ROBOT, 5)
    assert says in str(error.value)
