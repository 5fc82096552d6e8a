"""What a person does with the controller becomes what the robot is told; nothing else does."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from rlt_ros.config import load
from rlt_ros.errors import UserError
from rlt_ros.teleop.joystick import RAMP, SHORTEST, SILENCE, Holder, Joystick
from rlt_ros.teleop.mapping import Mapping

ARMS = ('left', 'right')
DEADMAN, NEXT_ARM, SUCCESS, FAILURE, ABORT, ESTOP = 10, 7, 0, 1, 4, 9
MIDDLE = [0.0] * 6


def buttons(*held):
    return [int(i in held) for i in range(21)]


@pytest.fixture
def joystick():
    joystick = Joystick(load(Mapping, 'gamecontroller'), ARMS)
    joystick.update(MIDDLE, buttons(), 0.0)
    return joystick


def held(joystick, axes, *more, seconds=RAMP, begin=0.1):
    """The takeover after the deadman was held for so long, with a message every 20 ms."""
    for now in np.arange(begin, begin + seconds + 1e-6, 0.02):
        takeover, _ = joystick.update(axes, buttons(DEADMAN, *more), now)
    return takeover


def test_sticks_move_the_tool_only_while_the_deadman_is_held(joystick):
    axes = [1.0, -0.55, 0, 0, 0, 0]
    assert not joystick.update(axes, buttons(), 0.1)[0].active
    takeover = held(joystick, axes)
    assert takeover.active and takeover.arms == (1,)
    np.testing.assert_allclose(takeover.linear, [-0.5 * 0.05, 0.05, 0])
    takeover, _ = joystick.update(axes, buttons(), 0.5)
    assert not takeover.active and not takeover.linear.any()


def test_a_takeover_begins_smoothly(joystick):
    speeds = [held(joystick, [0, 1.0, 0, 0, 0, 0], seconds=0.0, begin=now).linear[0] for now in (0.1, 0.2, 0.3, 0.5)]
    np.testing.assert_allclose(speeds, [0, 0.05 / 3, 0.1 / 3, 0.05])


def test_dead_zone_buttons_and_triggers(joystick):
    takeover = held(joystick, [0.09, -0.09, 0, 0, -0.55, 0], 13)
    assert not takeover.linear.any()
    np.testing.assert_allclose(takeover.angular, [-0.5, 0, 0])  # the d-pad to the left rolls to the left
    assert takeover.gripper == pytest.approx(0.15)  # the left trigger, half pulled, opens
    linux = Joystick(load(Mapping, 'xbox_linux'), ARMS)
    for rest in (0.0, 1.0):  # untouched triggers report 0, later 1
        assert linux.update([0, 0, rest, 0, 0, rest, 0, 0], [int(i == 5) for i in range(11)], 0.1)[0].gripper == 0


def test_the_other_arm_and_both(joystick):
    arms, now = [], 0.0
    for _ in range(3):
        now += 0.5
        joystick.update(MIDDLE, buttons(), now)
        arms.append(joystick.update(MIDDLE, buttons(DEADMAN, NEXT_ARM), now + 0.1)[0].arms)
    assert arms == [(0, 1), (0,), (1,)]
    assert Joystick(load(Mapping, 'gamecontroller'), ARMS, 'left').arm == 'left'
    with pytest.raises(UserError, match='"middle".*left, right, all'):
        Joystick(load(Mapping, 'gamecontroller'), ARMS, 'middle')


def test_choosing_an_arm_takes_nothing_over(joystick):
    assert not joystick.update(MIDDLE, buttons(NEXT_ARM), 0.1)[0].active


def test_silence_during_a_takeover_is_told_once_and_is_no_release(joystick):
    assert not joystick.silent(1.0)
    joystick.update(MIDDLE, buttons(DEADMAN), 1.0)
    assert not joystick.silent(1.0 + SILENCE)
    assert joystick.check(1.01 + SILENCE) is None and joystick.silent(1.01 + SILENCE)
    assert joystick.check(1.3) is None and not joystick.silent(1.3)
    assert joystick.update(MIDDLE, buttons(DEADMAN), 2.0)[0].active
    joystick.update(MIDDLE, buttons(), 2.1)
    assert not joystick.silent(3.0)


def test_a_takeover_is_never_too_short_to_be_seen(joystick):
    """Pressed and let go within a tick: the robot stops what it did."""
    takeover, _ = joystick.update([1.0] * 6, buttons(DEADMAN), 0.1)
    takeover, _ = joystick.update([1.0] * 6, buttons(), 0.101)
    assert takeover.active and not takeover.linear.any() and not takeover.angular.any() and not takeover.gripper
    assert not joystick.update(MIDDLE, buttons(), 0.101 + SHORTEST)[0].active
    joystick.update(MIDDLE, buttons(DEADMAN), 1.0)
    joystick.update(MIDDLE, buttons(), 1.001)
    assert joystick.check(1.0 + SHORTEST / 2) is None
    assert joystick.check(1.0 + SHORTEST) is not None, 'also when the controller says no more'
    assert not joystick.silent(2.0)


def test_events_come_once_per_press_and_do_not_bounce(joystick):
    seen = []
    for now, held in [(0.1, SUCCESS), (0.12, SUCCESS), (0.14, None), (0.16, SUCCESS), (0.3, None), (0.5, SUCCESS)]:
        seen += [(now, event) for event in joystick.update(MIDDLE, buttons(held), now)[1]]
    assert seen == [(0.1, 'success'), (0.5, 'success')]


def test_success_and_failure_at_once_say_nothing_but_abort_does(joystick):
    assert joystick.update(MIDDLE, buttons(SUCCESS, FAILURE, ABORT), 0.1)[1] == ['abort']


def test_a_button_held_at_the_start_or_after_silence_is_no_press_but_the_e_stop_is():
    joystick = Joystick(load(Mapping, 'gamecontroller'), ARMS)
    assert joystick.update(MIDDLE, buttons(SUCCESS, ESTOP), 0.0)[1] == ['estop']
    assert joystick.update(MIDDLE, buttons(), 0.1)[1] == []
    assert joystick.update(MIDDLE, buttons(SUCCESS, ESTOP), 5.0)[1] == ['estop']


@pytest.mark.fault('joy-short', 'ignored, no takeover comes of it')
@pytest.mark.parametrize('bad', [
    ([0.0] * 5, buttons(DEADMAN, SUCCESS)), (MIDDLE, buttons(DEADMAN, SUCCESS)[:14]), ([], []),
    ([float('nan'), *MIDDLE[1:]], buttons(DEADMAN, SUCCESS)), ([*MIDDLE[:5], float('inf')], buttons(DEADMAN)),
])  # fmt: skip
def test_a_message_of_another_device_or_with_no_number_takes_nothing_over(joystick, bad):
    assert held(joystick, MIDDLE).active
    takeover, events = joystick.update(*bad, 0.5)
    assert not takeover.active and not events and joystick.complaint
    takeover, events = joystick.update(MIDDLE, buttons(DEADMAN, SUCCESS), 0.6)
    assert takeover.active and not events, 'nobody knows when it was pressed'
    assert not joystick.complaint


@pytest.mark.fault('joy-short', 'any message gives a motion within limits, or none')
@given(
    st.lists(
        st.tuples(
            st.lists(st.floats(-2, 2) | st.sampled_from([np.nan, np.inf]), min_size=5, max_size=7),
            st.lists(st.sampled_from([0, 0, 1, -1, 2**31 - 1]), min_size=14, max_size=22),
            st.floats(0, 0.3),
        ),
        max_size=10,
    )
)
def test_any_message_gives_a_motion_within_the_limits(messages):
    joystick, now, pressed = Joystick(load(Mapping, 'gamecontroller'), ARMS), 0.0, -1.0
    for axes, state, pause in messages:
        now += pause
        takeover, _ = joystick.update(axes, state, now)
        assert np.all(np.abs(takeover.linear) <= 0.05) and np.all(np.abs(takeover.angular) <= 0.5)
        assert abs(takeover.gripper) <= 0.3
        good = len(axes) >= 6 and len(state) >= 15 and bool(np.isfinite(axes).all())
        if good and state[DEADMAN]:
            pressed = now
            assert takeover.active
        elif takeover.active:
            assert good and now - pressed < SHORTEST, 'the deadman alone takes over'


def test_who_took_the_robot_first_has_it_until_the_release():
    holder = Holder()
    said = [('joy', False), ('keyboard', True), ('joy', False), ('joy', True), ('keyboard', True), ('keyboard', False),
            ('joy', True), ('keyboard', False)]  # fmt: skip
    assert [holder.admits(*word) for word in said] == [True, True, False, False, True, True, True, False]
    assert holder.device == 'joy'


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('deadman: axis 3', ['deadman', 'axis 3']),
        ('deadman: button 1\nlinear: {w: {plus: axis 0}}', ['linear.w']),
        ('deadman: button 1\nevents: {success: button 1}', ['different buttons']),
        ('deadman: button 1\nevents: {victory: button 2}', ['victory']),
        ('deadman: button 1\nlinear_speed: 3', ['linear_speed = 3']),
        ('deadmen: button 1\ndeadman: button 1', ['unknown key "deadmen"']),
        ('[', ['no readable YAML']),
        ('', ['keys and values']),
    ],
)
def test_a_wrong_mapping_is_told(tmp_path, text, words):
    path = tmp_path / 'joy.yaml'
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load(Mapping, str(path))
    assert all(word in str(error.value) for word in [str(path), *words])


def test_an_unknown_mapping_names_those_there_are():
    with pytest.raises(UserError, match='"nonesuch".*gamecontroller, keyboard, spacemouse, xbox_linux'):
        load(Mapping, 'nonesuch')


@pytest.mark.parametrize(
    ('name', 'needs'), [('gamecontroller', (6, 15)), ('xbox_linux', (8, 11)), ('spacemouse', (6, 2))]
)
def test_every_shipped_controller_has_what_its_device_sends(name, needs):
    assert load(Mapping, name).needs == needs
