"""What holds the robot, what it takes to go on, and what a person reads about it."""

import pytest

from rlt_ros.control.chunks import ACTOR, HOLD, HUMAN, VLA
from rlt_ros.control.executor import Executed
from rlt_ros.control.guard import ESTOP, IDLE, Guard
from rlt_ros.control.inputs import Hand, JointStates

WALL = 1_700_000_000_000_000_000
CHUNK = 4


def guard(now: float = 10.0) -> Guard:
    """With joint states and a person's hand off the robot."""
    made = Guard(JointStates(['a'], 0.1, 0.02), Hand(1))
    made.joints.take(['a'], [0.0], WALL, WALL, now)
    return made


def executed(source: int, index: int = 0, version: int = 0) -> Executed:
    return Executed(5, None, source, version, 1, index, 0)


@pytest.mark.fault('clock', 'hold until the episode is over, named')
@pytest.mark.parametrize(
    ('broken', 'why'),
    [
        ({'intruders': '2 publishers on rl_state: /a, /b'}, '2 publishers on rl_state: /a, /b'),
        ({'jump': -3.2}, 'the clock jumped by -3.2 s'), ({'misplaced': 'a stands 1 outside'}, 'a stands 1 outside'),
        ({}, 'joint states 500 ms old'),
    ],
)  # fmt: skip
def test_a_fault_holds_while_it_lasts_is_named_and_forbids_to_rearm(broken: dict, why: str) -> None:
    made = guard()
    now = 10.01 if broken else 10.5
    assert not made.holds(10.01)
    for name, value in broken.items():
        setattr(made, name, value)
    assert made.holds(now) and made.describe(executed(HOLD), CHUNK, now) == (HOLD, f'HOLD: {why}')
    assert made.describe(None, CHUNK, now) == (IDLE, f'IDLE: {why}')
    made.stop('joy')
    assert made.rearm(now) == why and made.estop
    for name in broken:
        setattr(made, name, type(broken[name])())
    made.joints.take(['a'], [0.0], WALL + 1, WALL, now)
    assert made.holds(now), 'that nothing is wrong any more does not release the E-stop'
    assert made.rearm(now) == '' and not made.holds(now)


@pytest.mark.fault('estop', 'latched, beats everything, re-arm refused while anything is wrong')
def test_the_estop_stays_beats_everything_and_remembers_who_was_first() -> None:
    made = guard()
    made.stop('joy')
    made.stop('service')
    made.hand.take(True, [1.0], 'joy', 0, 0, 10.01)
    assert made.holds(10.01)
    assert made.describe(executed(HOLD), CHUNK, 10.01) == (ESTOP, 'ESTOP: pressed, joy')
    assert made.describe(None, CHUNK, 10.5) == (ESTOP, 'ESTOP: pressed, joy; joint states 500 ms old')
    assert made.rearm(10.02) == 'a person has the robot (joy)'
    made.hand.take(False, [], 'joy', 0, 0, 10.03)
    assert made.rearm(10.03) == ''


@pytest.mark.fault('joy-unplugged', 'told; ended by a re-arm, which is refused while anything else is wrong')
def test_a_takeover_that_fell_silent_is_told_and_ended_by_a_rearm() -> None:
    made, why = guard(), 'joy fell silent during a takeover'
    made.hand.take(True, [1.0], 'joy', 0, 0, 10.0)
    made.joints.take(['a'], [0.0], WALL + 1, WALL, 12.0)
    assert made.holds(12.01) and made.describe(executed(HOLD), CHUNK, 12.01) == (HOLD, f'HOLD: {why}')
    assert made.describe(None, CHUNK, 12.01) == (IDLE, f'IDLE: {why}'), 'the next episode does not move either'
    made.jump = 1.0
    assert made.rearm(12.01) == 'the clock jumped by 1 s'
    made.jump = 0.0
    assert made.holds(12.01)
    made.stop('pedal')
    assert made.rearm(12.01) == '' and not made.holds(12.01), 'the E-stop and the silence at once'
    assert made.rearm(12.01) == 'the E-stop is not pressed'


def test_who_drives_is_said_in_a_word() -> None:
    made = guard()
    made.hand.take(True, [1.0], 'joy', 0, 0, 10.0)
    for done, line in (
        (executed(VLA), 'VLA'), (executed(ACTOR, 3, 12), 'ACTOR v12'), (executed(HUMAN, -1), 'HUMAN joy'),
        (executed(VLA, CHUNK), 'VLA: the next chunk is late'), (executed(HOLD, -1), 'HOLD: waiting for a chunk'),
    ):  # fmt: skip
        assert made.describe(done, CHUNK, 10.0) == (done.source, line)
    assert made.describe(executed(HOLD, -1), CHUNK, 10.0, False) == (HOLD, 'HOLD: stopping after the episode')
    assert made.describe(None, CHUNK, 10.0) == (IDLE, 'IDLE')
