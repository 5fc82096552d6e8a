"""Pictures that stay the same while the robot moves, and those that may."""

import numpy as np
import pytest

from rlt_ros.camera.frozen import FrozenCheck
from rlt_ros.config import RobotProfile, Task, load
from rlt_ros.control.kinematics import Kinematics
from rlt_ros.nodes.camera_node import Parameters
from rlt_ros.sim.teleoperation import Teleoperation
from rlt_ros.sim.world import World, down

PROFILE = load(RobotProfile, 'bimanual')
CAMERAS = [camera.name for camera in PROFILE.cameras]
LIMIT = Parameters().frozen_after
KINEMATICS = Kinematics(PROFILE)
HOME = np.array([joint.home for joint in PROFILE.joints])
IN_VIEW = np.array(PROFILE.cameras[-1].mount.look_at)  # of the base camera
SAME = b'picture'


def reach(tool: np.ndarray) -> np.ndarray:
    """Joints (D,) with the right tool there, m."""
    q, arm, part = HOME.copy(), KINEMATICS.arms[1], KINEMATICS.slices[1]
    q[part] = arm.solve(tool, down(0.0), q[part], iterations=60)
    np.testing.assert_allclose(arm.tool(q[part])[0], tool, atol=1e-4)
    return q


def show(check: FrozenCheck, camera: str, positions: list[np.ndarray], start: int = 1) -> list[str]:
    """What is said of a camera that sends the same picture at these positions of the joints."""
    return [check.check(camera, start + i, SAME, position) for i, position in enumerate(positions)]


def line(start: np.ndarray, metres: float, count: int = 20) -> list[np.ndarray]:
    """Joints on the right tool's way up from a point."""
    return [reach(start + [0, 0, height]) for height in np.linspace(0, metres, count)]


@pytest.mark.parametrize('camera', CAMERAS)
def test_the_same_picture_while_the_hand_moves_is_told_until_the_first_new_one(camera: str) -> None:
    check = FrozenCheck(PROFILE, LIMIT)
    said = show(check, camera, line(IN_VIEW, 2 * LIMIT))
    assert said[5] == '' and said[-1] == 'frozen: same picture for 20 frames while the tool moved 10 mm'
    assert all(said[-8:]), 'it stays'
    still = reach(IN_VIEW)
    assert 'for 23 frames while the tool moved 10 mm' in show(check, camera, [still] * 3, 100)[-1], 'also at rest'
    assert check.check(camera, 200, b'another', still) == ''
    assert show(check, camera, [still] * 3, 300) == [''] * 3


@pytest.mark.parametrize('camera', CAMERAS)
def test_at_rest_pictures_may_repeat_and_joints_may_tremble(camera: str) -> None:
    random, here = np.random.default_rng(0), reach(IN_VIEW)
    trembling = [here + random.normal(0, 2e-4, len(here)) for _ in range(1000)]
    assert not any(show(FrozenCheck(PROFILE, LIMIT), camera, trembling))


def test_a_hand_out_of_sight_says_nothing_of_a_camera_on_a_wall_but_of_the_one_it_carries() -> None:
    away = line(IN_VIEW + [0.15, 0.0, 0.1], 0.1)
    assert not any(show(FrozenCheck(PROFILE, LIMIT), 'base', away))
    assert any(show(FrozenCheck(PROFILE, LIMIT), 'right_wrist', away))


def test_a_frame_that_is_given_again_is_no_new_one() -> None:
    check = FrozenCheck(PROFILE, LIMIT)
    assert not any(check.check('base', 7, SAME, position) for position in line(IN_VIEW, 2 * LIMIT))


@pytest.mark.parametrize('task', ['ethernet', 'charger', 'screw', 'zip_tie', 'ethernet_full'])
def test_no_demonstration_looks_frozen_but_every_frozen_camera_does(task: str) -> None:
    world = World(PROFILE, load(Task, task), 11)
    operator = Teleoperation(world, np.random.default_rng(12))
    check, frozen = FrozenCheck(PROFILE, LIMIT), FrozenCheck(PROFILE, LIMIT)
    told, tick = set(), 0
    while not world.success():
        if tick % PROFILE.stride == 0:
            for camera, image in zip(CAMERAS, world.images(), strict=True):
                assert check.check(camera, tick + 1, image.tobytes(), world.position) == ''
                assert check.last[camera].moved < LIMIT / 2, 'with margin'
                if frozen.check(camera, tick + 1, SAME, world.position):
                    told.add(camera)
        world.step(operator.command(), 1 / PROFILE.control_rate)
        tick += 1
    world.close()
    assert told == set(CAMERAS)
