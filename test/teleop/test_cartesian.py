"""A push on the stick moves the tool in the direction that the frame says."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from rlt_ros.config import RobotProfile, load
from rlt_ros.control.kinematics import Kinematics
from rlt_ros.teleop.cartesian import Cartesian
from rlt_ros.teleop.joystick import RELEASED, Takeover

PROFILE = load(RobotProfile, 'bimanual')
HOME = np.array([joint.home for joint in PROFILE.joints])
LIMITS = np.array([joint.velocity for joint in PROFILE.joints])
ARMS = Kinematics(PROFILE)
SECONDS = 0.01


def moved(velocity, arm):
    """How a tool is displaced, m per s in the world, and its rotation before."""
    joints = ARMS.slices[arm]
    before, rotation = ARMS.arms[arm].tool(HOME[joints])
    after, _ = ARMS.arms[arm].tool((HOME + velocity * SECONDS)[joints])
    return (after - before) / SECONDS, rotation


@pytest.mark.parametrize('axis', range(3))
@pytest.mark.parametrize('arm', [0, 1])
@pytest.mark.parametrize('frame', ['tool', 'world'])
def test_the_tool_goes_along_the_axis_of_the_frame(frame, arm, axis):
    push = 0.02 * np.eye(3)[axis]
    velocity = Cartesian(PROFILE, frame).velocity(Takeover(True, (arm,), linear=push), HOME)
    step, rotation = moved(velocity, arm)
    np.testing.assert_allclose(step, rotation @ push if frame == 'tool' else push, atol=1.5e-3)
    other = ARMS.slices[1 - arm]
    assert not velocity[other].any() and not velocity[ARMS.grippers].any()


def test_it_turns_in_place():
    turn = np.array([0.0, 0.3, 0.0])
    velocity = Cartesian(PROFILE, 'tool').velocity(Takeover(True, (1,), angular=turn), HOME)
    step, rotation = moved(velocity, 1)
    assert np.linalg.norm(step) < 5e-3
    _, after = ARMS.arms[1].tool((HOME + velocity * SECONDS)[ARMS.slices[1]])
    assert np.trace(rotation.T @ after) == pytest.approx(1 + 2 * np.cos(0.3 * SECONDS), abs=1e-6)


def test_both_arms_and_grippers_at_once():
    velocity = Cartesian(PROFILE, 'world').velocity(Takeover(True, (0, 1), np.array([0, 0, 0.02]), gripper=-0.3), HOME)
    for arm in (0, 1):
        assert moved(velocity, arm)[0][2] == pytest.approx(0.02, abs=1.5e-3)
    np.testing.assert_allclose(velocity[ARMS.grippers], -0.3 * LIMITS[ARMS.grippers])


def test_nothing_moves_while_nobody_knows_where_the_arm_is_or_after_the_release():
    hand = Cartesian(PROFILE, 'tool')
    assert not hand.velocity(Takeover(True, (1,), np.ones(3)), None).any()
    assert not hand.velocity(RELEASED, HOME).any()


numbers = st.floats(-1, 1)


@given(st.lists(numbers, min_size=6, max_size=6), st.lists(numbers, min_size=14, max_size=14))
def test_no_joint_is_ever_faster_than_it_may_and_the_direction_stays(twist, pose):
    """Anywhere, also where the arm is stretched."""
    low, high = (np.array([getattr(joint, name) for joint in PROFILE.joints]) for name in ('lower', 'upper'))
    position = low + (np.array(pose) + 1) / 2 * (high - low)
    takeover = Takeover(True, (0, 1), np.array(twist[:3]), 5 * np.array(twist[3:]), 1.0)
    hand = Cartesian(PROFILE, 'tool')
    velocity = hand.velocity(takeover, position)
    assert np.isfinite(velocity).all() and (np.abs(velocity) <= LIMITS + 1e-9).all()
    slow = hand.velocity(Takeover(True, (0, 1), 1e-4 * takeover.linear, 1e-4 * takeover.angular), position)
    for joints in ARMS.slices:
        both = np.linalg.norm(velocity[joints]) * np.linalg.norm(slow[joints])
        assert velocity[joints] @ slow[joints] == pytest.approx(both, rel=1e-6)
