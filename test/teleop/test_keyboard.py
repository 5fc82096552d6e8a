"""Keys of a terminal as a controller: what a person presses, holds and lets go."""

import pytest

from rlt_ros.config import load
from rlt_ros.teleop.joystick import Joystick
from rlt_ros.teleop.keyboard import AWAKE, HELD, Keyboard
from rlt_ros.teleop.mapping import Mapping

PERIOD = 0.04


class Person:
    """At a keyboard that is read every 40 ms, with teleop at the other end."""

    def __init__(self):
        self.keyboard, self.now = Keyboard(), 100.0
        self.joystick = Joystick(load(Mapping, 'keyboard'), ('left', 'right'))
        self.takeover, self.events, self.sent = None, [], 0

    def type(self, text='', seconds=PERIOD):
        """Type it, and let time pass."""
        self.keyboard.press(text, self.now)
        for _ in range(round(seconds / PERIOD)):
            for buttons in self.keyboard.messages(self.now):
                self.takeover, events = self.joystick.update([], buttons, self.now)
                self.events += events
                self.sent += 1
            self.takeover = self.joystick.check(self.now) or self.takeover
            self.now += PERIOD

    def hold(self, key, seconds):
        """As a terminal tells it: at once, after half a second again, then 25 times a second."""
        self.type(key, 0.52)
        for _ in range(round((seconds - 0.5) / PERIOD)):
            self.type(key)


@pytest.fixture
def person():
    return Person()


@pytest.mark.parametrize(('key', 'event'), [
    ('y', 'success'), ('n', 'failure'), ('h', 'handover'), ('b', 'abort'), ('z', 'undo'), ('\n', 'start'),
    ('\r', 'start'), ('\x1b', 'estop'), ('R', 'rearm'),
])  # fmt: skip
def test_every_key_says_one_thing_once_however_long_it_is_held(person, key, event):
    person.hold(key, 3.0)
    assert person.events == [event]
    person.type(seconds=1.0)
    person.type(key)
    assert person.events == [event, event] and not person.takeover.active


@pytest.mark.parametrize(('key', 'part', 'axis', 'sign'), [
    ('w', 'linear', 0, 1), ('s', 'linear', 0, -1), ('a', 'linear', 1, 1), ('d', 'linear', 1, -1),
    ('r', 'linear', 2, 1), ('f', 'linear', 2, -1), ('o', 'angular', 0, 1), ('u', 'angular', 0, -1),
    ('k', 'angular', 1, 1), ('i', 'angular', 1, -1), ('j', 'angular', 2, 1), ('l', 'angular', 2, -1),
])  # fmt: skip
def test_a_motion_key_moves_while_it_comes_and_stops_by_itself(person, key, part, axis, sign):
    person.type(key, 0.2)
    assert not person.takeover.active, 'nothing moves before the takeover'
    person.type(' ', 1.0)
    assert person.takeover.active and not person.takeover.linear.any()
    person.hold(key, 2.0)
    assert sign * getattr(person.takeover, part)[axis] > 0
    person.type(seconds=HELD + PERIOD)
    assert person.takeover.active and not getattr(person.takeover, part).any()


def test_grippers_and_the_next_arm(person):
    person.type(' ', 1.0)
    person.type('v')
    assert person.takeover.gripper > 0 and person.takeover.arms == (1,)
    person.type(seconds=0.4)
    person.type('c')
    assert person.takeover.gripper < 0
    person.type('\t')
    assert person.takeover.arms == (0, 1)


def test_space_switches_and_a_held_space_ends_switched_off(person):
    person.type(' ', 1.0)
    assert person.takeover.active
    person.type(' ', 0.4)
    assert not person.takeover.active
    person.type(seconds=1.0)
    person.hold(' ', 3.0)
    assert not person.takeover.active


def test_other_keys_arrows_and_silence_say_nothing(person):
    person.type('\x1b[A\x1b[1;5C\x1bOPqQ5ü\x00', 0.2)
    assert not person.sent
    person.type('w', AWAKE + 0.2)
    sent = person.sent
    person.type(seconds=1.0)
    assert person.sent == sent, 'a second terminal may be the one in use'


def test_a_view_that_dies_or_is_stopped_for_a_while_is_silent(person):
    person.type(' ', 1.0)
    assert person.takeover.active and not person.joystick.silent(person.now)
    person.now += 0.25
    assert person.joystick.silent(person.now)
    person.type('w', 1.0)
    assert not person.takeover.active, 'nor does it take over by itself when it goes on'
