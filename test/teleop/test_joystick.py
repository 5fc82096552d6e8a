"""What a person does with the controller becomes what the robot is told; nothing else does."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from rlt_ros.config import RobotProfile, load
from rlt_ros.errors import UserError
from rlt_ros.teleop.joystick import Joystick
from rlt_ros.teleop.mapping import load_mapping

PROFILE = load(RobotProfile, 'bimanual')
DEADMAN, NEXT_ARM, SUCCESS, FAILURE, ABORT = 10, 7, 0, 1, 4


def buttons(*held):
    return [int(i in held) for i in range(15)]


@pytest.fixture
def joystick():
    joystick = Joystick(load_mapping('gamecontroller'), PROFILE)
    joystick.update([0.0] * 6, buttons(), 0.0)
    return joystick


def test_sticks_move_an_arm_only_while_the_deadman_is_held(joystick):
    axes = [1.0, 0, 0, -0.55, 0, 0]
    takeover, _ = joystick.update(axes, buttons(), 0.1)
    assert not takeover.active and not takeover.velocity.any()
    takeover, _ = joystick.update(axes, buttons(DEADMAN), 0.2)
    assert takeover.active
    expected = np.zeros(14)
    expected[7], expected[9] = 0.3 * 2.0, -0.5 * 0.3 * 2.0  # waist and elbow of the right arm; 2 rad/s is their limit
    np.testing.assert_allclose(takeover.velocity, expected)
    takeover, _ = joystick.update(axes, buttons(), 0.3)
    assert not takeover.active and not takeover.velocity.any()


def test_dead_zone_buttons_and_triggers(joystick):
    takeover, _ = joystick.update([0.09, -0.09, 0, 0, 0, 1.0], buttons(DEADMAN, 13), 0.1)
    expected = np.zeros(14)
    expected[10], expected[13] = -0.3 * 2.0, -0.3 * 0.1  # forearm by the d-pad, gripper closes by the right trigger
    np.testing.assert_allclose(takeover.velocity, expected)


def test_the_other_arm(joystick):
    joystick.update([0.0] * 6, buttons(NEXT_ARM), 0.1)
    takeover, _ = joystick.update([1.0, 0, 0, 0, 0, 0], buttons(DEADMAN, NEXT_ARM), 0.2)
    assert takeover.velocity[0] > 0 and not takeover.velocity[7:].any()
    left = Joystick(load_mapping('gamecontroller'), PROFILE, 'left')
    assert left.update([1.0], buttons(DEADMAN), 0.0)[0].velocity[0] > 0
    with pytest.raises(UserError, match='"middle".*left, right'):
        Joystick(load_mapping('gamecontroller'), PROFILE, 'middle')


def test_silence_is_a_release_told_once(joystick):
    joystick.update([1.0] * 6, buttons(DEADMAN), 1.0)
    assert joystick.check(1.25) is None
    takeover = joystick.check(1.26)
    assert takeover is not None and not takeover.active
    assert joystick.check(1.3) is None


def test_events_come_once_per_press_and_do_not_bounce(joystick):
    seen = []
    for now, held in [(0.1, SUCCESS), (0.12, SUCCESS), (0.14, None), (0.16, SUCCESS), (0.3, None), (0.5, SUCCESS)]:
        seen += [(now, event) for event in joystick.update([], buttons(held), now)[1]]
    assert seen == [(0.1, 'success'), (0.5, 'success')]


def test_success_and_failure_at_once_say_nothing_but_abort_does(joystick):
    assert joystick.update([], buttons(SUCCESS, FAILURE, ABORT), 0.1)[1] == ['abort']


def test_a_button_held_at_the_start_or_after_silence_is_no_press():
    joystick = Joystick(load_mapping('gamecontroller'), PROFILE)
    assert joystick.update([], buttons(SUCCESS), 0.0)[1] == []
    assert joystick.update([], buttons(), 0.1)[1] == []
    assert joystick.update([], buttons(SUCCESS), 5.0)[1] == []


def test_numbers_that_are_none_release(joystick):
    assert not joystick.update([float('nan')] * 6, buttons(DEADMAN), 0.1)[0].active


@given(
    st.lists(
        st.tuples(
            st.lists(st.floats(width=32), max_size=8),
            st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20),
            st.floats(0, 1),
        ),
        max_size=10,
    )
)
def test_any_message_gives_a_velocity_within_the_limits(messages):
    joystick, now = Joystick(load_mapping('gamecontroller'), PROFILE), 0.0
    limits = 0.3 * np.array([joint.velocity for joint in PROFILE.joints])
    for axes, held, pause in messages:
        now += pause
        takeover, _ = joystick.update(axes, held, now)
        assert np.all(np.abs(takeover.velocity) <= limits + 1e-12)
        assert takeover.active == (len(held) > DEADMAN and held[DEADMAN] != 0 and bool(np.isfinite(axes).all()))


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('deadman: axis 3\njoints: [{plus: axis 0}]', ['deadman', 'axis 3']),
        ('deadman: button 1\njoints: []', ['joints']),
        ('deadman: button 1\njoints: [{plus: axis 0}]\nevents: {success: button 1}', ['different buttons']),
        ('deadman: button 1\njoints: [{plus: axis 0}]\nevents: {victory: button 2}', ['victory']),
        ('deadmen: button 1\ndeadman: button 1\njoints: [{plus: axis 0}]', ['unknown key "deadmen"']),
        ('[', ['no readable YAML']),
        ('', ['valid dictionary']),
    ],
)
def test_a_wrong_mapping_is_told(tmp_path, text, words):
    path = tmp_path / 'joy.yaml'
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_mapping(str(path))
    assert all(word in str(error.value) for word in [str(path), *words])


def test_an_unknown_mapping_names_those_there_are():
    with pytest.raises(UserError, match='"nonesuch" does not exist; there are: gamecontroller'):
        load_mapping('nonesuch')
