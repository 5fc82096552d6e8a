"""Kinematics against the physics engine and against themselves."""

import mujoco
import numpy as np
import pytest

from rlt_ros.config import RobotProfile, load
from rlt_ros.control.kinematics import Kinematics, rotation_vector
from rlt_ros.sim import scene
from rlt_ros.sim.tasks.ethernet import Ethernet


@pytest.fixture(params=['bimanual', 'single_arm'])
def robot(request: pytest.FixtureRequest) -> RobotProfile:
    return load(RobotProfile, request.param)


def random_joints(robot: RobotProfile, random: np.random.Generator) -> np.ndarray:
    return np.array([random.uniform(joint.lower, joint.upper) for joint in robot.joints])


def test_tools_are_where_mujoco_puts_them(robot: RobotProfile) -> None:
    model = mujoco.MjModel.from_xml_string(scene.build(robot, Ethernet()))
    data, kinematics, random = mujoco.MjData(model), Kinematics(robot), np.random.default_rng(0)
    for _ in range(10):
        q = random_joints(robot, random)
        for name, value in zip(robot.joint_names, q, strict=True):
            data.joint(name).qpos[0] = value
        mujoco.mj_forward(model, data)
        for arm, part, profile in zip(kinematics.arms, kinematics.slices, robot.arms, strict=True):
            position, rotation = arm.tool(q[part])
            site = data.site(f'{profile.name}/tool')
            np.testing.assert_allclose(position, site.xpos, atol=1e-8)
            np.testing.assert_allclose(rotation, site.xmat.reshape(3, 3), atol=1e-8)
        np.testing.assert_allclose(kinematics.tool_positions(q)[-1], site.xpos, atol=1e-8)


def test_jacobian_is_the_derivative_and_inverse_kinematics_reach(robot: RobotProfile) -> None:
    kinematics, random = Kinematics(robot), np.random.default_rng(1)
    home = np.array([joint.home for joint in robot.joints])
    for arm, part in zip(kinematics.arms, kinematics.slices, strict=True):
        q, h = random_joints(robot, random)[part], 1e-6
        jacobian = arm.jacobian(q)
        for i in range(len(q)):
            step = np.eye(len(q))[i] * h
            (p1, r1), (p0, r0) = arm.tool(q + step), arm.tool(q - step)
            np.testing.assert_allclose(jacobian[:3, i], (p1 - p0) / (2 * h), atol=1e-7)
            np.testing.assert_allclose(jacobian[3:, i], rotation_vector(r1 @ r0.T) / (2 * h), atol=1e-7)
        goal = home[part] + random.uniform(-0.2, 0.2, len(q))
        position, rotation = arm.tool(goal)
        solved = arm.solve(position, rotation, home[part], iterations=60)
        reached, turned = arm.tool(solved)
        np.testing.assert_allclose(reached, position, atol=1e-6)
        np.testing.assert_allclose(turned, rotation, atol=1e-5)
        assert (solved >= arm.lower).all() and (solved <= arm.upper).all()


def test_rotation_vector_of_no_turn_a_half_turn_and_any_turn() -> None:
    assert (rotation_vector(np.eye(3)) == 0).all()
    np.testing.assert_allclose(np.abs(rotation_vector(np.diag([-1.0, 1.0, -1.0]))), [0, np.pi, 0])
    angle = 2.5
    about_z = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    np.testing.assert_allclose(rotation_vector(about_z), [0, 0, angle])
