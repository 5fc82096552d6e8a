"""A person's hand against chunks that arrive at the same moment: the person wins, and the record says so exactly."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.control.chunks import HUMAN
from rlt_ros.control.executor import Executor
from rlt_ros.rl.transitions import Seen
from rlt_ros.teleop.joystick import Joystick
from rlt_ros.teleop.mapping import Mapping

PROFILE = load(RobotProfile, 'bimanual')
METHOD = Method(name='short', chunk=4, delay=1)
HOME = np.array([joint.home for joint in PROFILE.joints])
DEADMAN = 10
TICK = 0.02

# what happens in a tick, in this order: messages of the controller (deadman held or not), chunks, then the tick itself
ticks = st.lists(st.tuples(st.lists(st.booleans(), max_size=3), st.booleans()), min_size=1, max_size=60)


def seen():
    reference = np.full((10, PROFILE.action_dim), 0.1, np.float32)
    return Seen(np.zeros(2, np.float32), np.zeros(2, np.float32), reference, HOME)


@pytest.mark.fault('race', 'the person wins; nothing computed before counts after')
@settings(max_examples=200, deadline=None)
@given(ticks)
def test_the_person_wins_and_nothing_computed_before_counts_after(happenings):
    joystick = Joystick(load(Mapping, 'gamecontroller'), [arm.name for arm in PROFILE.arms])
    executor = Executor(PROFILE, METHOD, np.full(PROFILE.action_dim, 0.01))
    executor.episode(1, 'critical', 'warmup', 0, HOME)
    active, down, back, answered = False, False, 0, {}
    for tick, (messages, chunk) in enumerate(happenings):
        pressed = False
        for i, hold in enumerate(messages):
            now = tick * TICK + (i + 1) * 0.001
            buttons = [int(hold and b == DEADMAN) for b in range(21)]
            active = joystick.update([0.0] * 6, buttons, now)[0].active
            pressed |= hold and not down
            down = hold
        if joystick.check(tick * TICK + 0.01) is not None or joystick.silent(tick * TICK + 0.01):
            active = down = False
        if chunk:
            executor.choose(1, tick + 1, seen(), tick, tick)
            answered[tick + 1] = tick
        velocity = np.zeros(PROFILE.action_dim) if active else None
        executed = executor.tick(tick, HOME, velocity)
        assert (executed.source == HUMAN) == active
        assert active or not pressed, 'a press is never lost, however short'
        if active:
            back = tick + 1
        elif executed.index >= 0:
            assert answered[executed.sequence] >= back, 'it answers what was seen while the person drove, or before'
