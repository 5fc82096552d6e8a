"""How long joint states and a person's hand count, and which are refused."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from rlt_ros.control.inputs import Hand, JointStates

PERIOD, AGE = 0.02, 0.1
WALL = 1_700_000_000_000_000_000  # ns


def joints() -> JointStates:
    return JointStates(['a', 'b'], AGE, PERIOD)


def take(states: JointStates, now: float, stamp: float | None = None, **change: object) -> None:
    """A message that comes at `now`, stamped then or at `stamp`, s on the same scale."""
    message = {'names': ['a', 'b'], 'position': [1.0, 2.0]} | change
    wall = WALL + round(now * 1e9)
    states.take(stamp=wall if stamp is None else WALL + round(stamp * 1e9), wall=wall, now=now, **message)


@given(st.floats(0, 1000), st.floats(0, PERIOD), st.floats(0, AGE - PERIOD))
def test_the_hold_begins_within_the_limit_wherever_ticks_fall(made: float, phase: float, under_way: float) -> None:
    states = joints()
    take(states, made + under_way, stamp=made)
    ticks = made + under_way + phase + PERIOD * np.arange(20)
    first = next(tick for tick in ticks if states.fault(tick))
    assert first - made <= max(AGE, under_way + phase) + 1e-6
    assert first - made >= AGE - PERIOD - 1e-6


def test_joints_are_found_by_name_and_others_left_aside() -> None:
    states = joints()
    assert states.fault(0.0) == 'no joint states yet' and states.measured(0.0) is None
    take(states, 1.0, names=['wheel', 'b', 'a'], position=[9.0, 2.0, 1.0])
    assert states.position.tolist() == [1.0, 2.0]
    assert states.fault(1.05) == '' and states.measured(1.05).tolist() == [1.0, 2.0]
    assert states.fault(1.13) == 'joint states 130 ms old' and states.measured(1.13) is None


@pytest.mark.fault('joints-missing', 'refused, counts as silence')
@pytest.mark.fault('stamps', 'joint states of another time are refused')
@pytest.mark.parametrize(
    ('change', 'why'),
    [
        ({'names': ['a', 'c']}, 'no joint b'), ({'names': ['a']}, '1 names but 2 values'),
        ({'position': [1.0]}, '2 names but 1 values'), ({'position': [1.0, np.nan]}, 'b is not finite'),
        ({'position': [np.inf, 1.0]}, 'a is not finite'), ({'names': [], 'position': []}, 'no joint a, b'),
        ({'stamp': 5.2}, '0.2 s in the future'), ({'stamp': 4.8}, '0.2 s in the past'),
        ({'stamp': -WALL * 1e-9}, 'no stamp'), ({'stamp': 4.98}, 'not newer'), ({'stamp': 4.97}, 'not newer'),
    ],
)  # fmt: skip
def test_what_cannot_be_believed_is_refused_and_does_not_count_as_fresh(change: dict, why: str) -> None:
    states = joints()
    take(states, 4.98)
    with pytest.raises(ValueError, match=why):
        take(states, 5.0, **change)
    assert states.position.tolist() == [1.0, 2.0] and states.age(5.0) == pytest.approx(0.02)


@pytest.mark.fault('clock', 'joint states count again after the clock was put back')
def test_after_the_clock_was_put_back_states_count_again() -> None:
    states = joints()
    take(states, 100.0)
    wall = WALL + 50_000_000_000  # 50 s less than it was
    states.take(['a', 'b'], [3.0, 4.0], wall, wall, 100.02)
    assert states.position.tolist() == [3.0, 4.0]


def test_a_limit_shorter_than_a_tick_is_refused() -> None:
    with pytest.raises(ValueError, match='max_age 0.02 s must be more than the period'):
        JointStates(['a'], PERIOD, PERIOD)


def push(
    hand: Hand, velocity: list[float], now: float, stamp: float | None = None, active: bool = True, device: str = 'joy'
) -> None:  # fmt: skip
    """A message that comes at `now`, stamped then or at `stamp`."""
    wall = WALL + round(now * 1e9)
    hand.take(active, velocity, device, wall if stamp is None else WALL + round(stamp * 1e9), wall, now)


SILENT = 'joy fell silent during a takeover'


def silent_hand() -> Hand:
    hand = Hand(2)
    push(hand, [1.0, -1.0], 10.0)
    return hand


@pytest.mark.fault('joy-unplugged', 'silence is no release: a hold that stays')
def test_silence_holds_the_robot_at_once_and_for_good() -> None:
    hand = silent_hand()
    assert hand.velocity(10.0).tolist() == [1.0, -1.0] and hand.velocity(10.06 - 1e-9).any()
    assert not hand.fault(10.06 - 1e-9)
    for silence in (0.061, 0.1, 0.26, 3600.0):
        assert hand.fault(10.0 + silence) == SILENT and hand.velocity(10.0 + silence) is None


def test_nobody_is_missed_who_let_go_or_never_took_over() -> None:
    hand = Hand(2)
    assert hand.velocity(0.0) is None and not hand.fault(0.0)
    push(hand, [], 1.0, active=False)
    assert not hand.fault(9.0)
    push(hand, [1.0, -1.0], 11.0)
    push(hand, [], 11.01, active=False)
    assert hand.velocity(11.01) is None and not hand.fault(20.0)


def test_after_silence_the_same_device_anybody_who_takes_over_or_a_word_ends_the_hold() -> None:
    for active, device in ((True, 'joy'), (False, 'joy'), (True, 'keyboard')):
        hand = silent_hand()
        push(hand, [0.5, 0.5], 15.0, active=active, device=device)
        assert not hand.fault(15.0) and (hand.velocity(15.0) is not None) == active
    hand = silent_hand()
    hand.forget()
    assert not hand.fault(15.0) and hand.velocity(15.0) is None


def test_a_device_that_does_not_have_the_robot_cannot_let_go_of_it() -> None:
    hand = silent_hand()
    push(hand, [], 10.01, active=False, device='keyboard')
    assert hand.velocity(10.02).tolist() == [1.0, -1.0]
    for now in (10.2, 11.0):
        push(hand, [], now, active=False, device='keyboard')
        assert hand.fault(now) == SILENT


@pytest.mark.parametrize('velocity', [[], [1.0], [1.0, 2.0, 3.0], [np.nan, 0.0], [0.0, -np.inf]])
def test_a_hand_that_cannot_be_understood_rests_on_the_robot(velocity: list[float]) -> None:
    hand = Hand(2)
    push(hand, [1.0, 1.0], 1.0)
    with pytest.raises(ValueError, match='2 finite numbers'):
        push(hand, velocity, 1.02)
    assert hand.velocity(1.03).tolist() == [0.0, 0.0]


def test_a_hand_is_as_old_as_its_message_and_one_that_was_long_under_way_holds_the_robot() -> None:
    hand = Hand(1)
    push(hand, [1.0], 10.05, stamp=10.0)
    assert hand.velocity(10.05).any() and hand.fault(10.07)
    push(hand, [1.0], 20.0, stamp=15.0)
    assert hand.fault(20.0) == SILENT, 'a person who takes over late is not ignored'
    for stamp in (-WALL * 1e-9, 30.5):  # none at all, and of a clock that is ahead
        push(hand, [1.0], 30.0, stamp=stamp)
        assert hand.velocity(30.05).any()
