"""The cell as MJCF: which robots it can be built for."""

import pytest

from rlt_ros.config import RobotProfile, Task, load
from rlt_ros.errors import UserError
from rlt_ros.sim.scene import build
from rlt_ros.sim.tasks import open_task


@pytest.mark.parametrize('count', [5, 7])
def test_an_arm_of_another_number_of_joints_is_refused_by_name(count: int) -> None:
    data = load(RobotProfile, 'bimanual').model_dump()
    joints = data['arms'][1]['joints']
    data['arms'][1]['joints'] = (joints + [joints[-1] | {'name': 'right/seventh'}])[:count]
    with pytest.raises(UserError, match=f'robot bimanual: arm right has {count} joints, .* arms of 6 alone'):
        build(RobotProfile.model_validate(data), open_task(load(Task, 'ethernet').scene))
