"""Joint states and commands in the profile's order."""

import numpy as np
import pytest

from rlt_ros.camera.joints import CommandLog, JointReader, in_order

WANTED = ['left/waist', 'left/gripper', 'right/waist']


def test_joints_are_found_by_name_among_others():
    names = ['right/waist', 'base_wheel', 'left/gripper', 'left/waist']
    np.testing.assert_array_equal(in_order(WANTED, names, [1.0, 9.0, 2.0, 3.0]), [3.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ('names', 'values', 'message'),
    [
        (WANTED[:2], [1.0, 2.0], 'no joint right/waist'),
        (WANTED, [1.0, 2.0], '3 names but 2 values'),
        (WANTED, [1.0, float('nan'), 2.0], 'left/gripper is not finite'),
        (WANTED, [1.0, 2.0, float('-inf')], 'right/waist is not finite'),
        ([], [], 'no joint left/waist, left/gripper, right/waist'),
    ],
)
def test_what_is_wrong_is_named(names, values, message):
    with pytest.raises(ValueError, match=message):
        in_order(WANTED, names, values)


def test_a_joint_that_is_not_ours_may_be_broken():
    np.testing.assert_array_equal(in_order(WANTED, [*WANTED, 'wheel'], [1.0, 2.0, 3.0, float('nan')]), [1, 2, 3])


def test_velocities_are_taken_or_computed_from_positions():
    reader = JointReader(WANTED)
    _, velocity = reader.read(1_000_000_000, WANTED, [0.0, 0.0, 0.0], [])
    np.testing.assert_array_equal(velocity, [0, 0, 0])
    position, velocity = reader.read(1_020_000_000, WANTED, [0.02, 0.0, -0.04], [])
    np.testing.assert_allclose(position, [0.02, 0.0, -0.04])
    np.testing.assert_allclose(velocity, [1.0, 0.0, -2.0])
    _, velocity = reader.read(1_040_000_000, WANTED, [0.02, 0.0, -0.04], [7.0, 8.0, 9.0])
    np.testing.assert_array_equal(velocity, [7, 8, 9])
    for stamp in (1_040_000_000, 1_000_000_000, 9_000_000_000):
        assert not reader.read(stamp, WANTED, [1.0, 1.0, 1.0], [])[1].any()
    with pytest.raises(ValueError, match='3 names but 1 values'):
        reader.read(9_100_000_000, WANTED, [1.0, 1.0, 1.0], [1.0])


def test_a_joint_without_a_velocity_gets_it_from_its_positions():
    reader, nan = JointReader(WANTED), float('nan')
    assert reader.read(1_000_000_000, WANTED, [0.0, 0.0, 0.0], [1.0, nan, 2.0])[1].tolist() == [1.0, 0.0, 2.0]
    _, velocity = reader.read(1_020_000_000, WANTED, [0.1, 0.02, 0.1], [1.0, nan, 2.0])
    np.testing.assert_allclose(velocity, [1.0, 1.0, 2.0])
    _, velocity = reader.read(1_040_000_000, WANTED, [0.12, 0.02, 0.06], [nan] * 3)
    np.testing.assert_allclose(velocity, [1.0, 0.0, -2.0])


def test_an_infinite_velocity_and_a_position_that_is_no_number_are_refused():
    reader = JointReader(WANTED)
    with pytest.raises(ValueError, match='^velocity of joint left/gripper is not finite$'):
        reader.read(1_000_000_000, WANTED, [0.0, 0.0, 0.0], [1.0, float('inf'), 2.0])
    with pytest.raises(ValueError, match='^left/gripper is not finite$'):
        reader.read(1_020_000_000, WANTED, [0.0, float('nan'), 0.0], [1.0, 1.0, 2.0])


def test_the_command_before_a_moment():
    log = CommandLog()
    assert log.at(100) is None
    for received in (10, 20, 30):
        log.add(received, np.array([received]))
    assert log.at(10) is None
    assert log.at(25) == 20
    assert log.at(30) == 20
    assert log.at(1000) == 30
