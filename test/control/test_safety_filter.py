"""Whatever comes in, what goes out is finite, within every limit, and honestly flagged."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
import numpy as np
import pytest

from rlt_ros.config import RobotProfile, load
from rlt_ros.control.safety_filter import ACCELERATION, LAG, NOT_FINITE, POSITION, VELOCITY, WORKSPACE, SafetyFilter

ROBOT = load(RobotProfile, 'single_arm')
HOME = np.array([joint.home for joint in ROBOT.joints])
EVERYWHERE = ROBOT.model_copy(update={'workspace_low': [-9.0] * 3, 'workspace_high': [9.0] * 3})

KINDS = (
    'far',
    'near',
    'limit',
    'hold',
    'nan',
    'inf',
    'denormal',
    'huge',
    'shape',
    'measured nan',
    'measured shape',
    'lag',
)
INPUTS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 2**32 - 1), st.integers(1, 8)), min_size=1, max_size=12
)


def one_input(kind: str, seed: int, safety: SafetyFilter) -> tuple[np.ndarray, np.ndarray]:
    """A target and a measured position of a kind."""
    random = np.random.default_rng(seed)
    d, command = len(HOME), safety.command.copy()
    target, measured = command + random.normal(0, 0.02, d), command + random.normal(0, 0.01, d)
    if kind == 'far':
        target = random.uniform(-4, 4, d)
        measured = target
    elif kind == 'limit':
        target = measured = np.where(random.random(d) < 0.5, safety.lower, safety.upper)
    elif kind == 'hold':
        target = command
    elif kind in ('nan', 'inf'):
        target[random.integers(d)] = {'nan': np.nan, 'inf': np.inf}[kind]
    elif kind == 'denormal':
        target = np.full(d, 5e-324)
    elif kind == 'huge':
        target = measured = random.choice([-1.7e308, 1.7e308], d)
    elif kind == 'shape':
        target = np.zeros((2, d))
    elif kind == 'measured nan':
        measured[random.integers(d)] = np.nan
    elif kind == 'measured shape':
        measured = np.zeros(d - 1)
    elif kind == 'lag':
        measured = command + random.uniform(-1, 1, d)
    return target, measured


class Limits:
    """Holds each command against the profile and the commands before."""

    def __init__(self, safety: SafetyFilter, robot: RobotProfile, start: np.ndarray):
        self.safety, self.before, self.speed = safety, start, np.zeros(len(start))
        self.low, self.high = np.array(robot.workspace_low), np.array(robot.workspace_high)

    def check(self, command: np.ndarray) -> None:
        safety = self.safety
        assert command.shape == self.before.shape and np.isfinite(command).all()
        assert (safety.lower <= command).all() and (command <= safety.upper).all()
        now = (command - self.before) / safety.dt
        assert (np.abs(now) <= safety.velocity_limit + 1e-9).all()
        assert (np.abs(now - self.speed) <= safety.acceleration * safety.dt + 1e-7).all()
        tool = safety.kinematics.tool_positions(command)
        assert (self.low - 1e-9 <= tool).all() and (tool <= self.high + 1e-9).all()
        self.before, self.speed = command, now


@pytest.mark.fault('limits', 'every command is within limits, whatever is asked for')
@pytest.mark.parametrize('robot', [ROBOT, EVERYWHERE], ids=['in its box', 'in a vast box'])
@settings(max_examples=60, deadline=None)
@given(inputs=INPUTS)
def test_no_input_breaks_a_limit(robot: RobotProfile, inputs: list[tuple[str, int, int]]) -> None:
    safety = SafetyFilter(robot)
    safety.restart(HOME)
    limits = Limits(safety, robot, HOME)
    for kind, seed, times in inputs:
        target, measured = one_input(kind, seed, safety)
        for _ in range(times):
            command, flags = safety(target, measured)
            limits.check(command)
            refused = kind in ('nan', 'inf', 'shape', 'measured nan', 'measured shape')
            assert bool(flags & NOT_FINITE) == refused
            if not refused:  # flagged exactly where the command is not what was asked for
                assert (flags == 0) == np.allclose(command, target, rtol=0, atol=1e-9)


SHAPES = st.sampled_from([(7,)] * 6 + [(), (0,), (6,), (1, 7), (7, 7)])
ANYTHING = SHAPES.flatmap(lambda shape: arrays(float, shape, elements=st.floats(width=64)))


@pytest.mark.fault('limits', 'NaN, infinity and wrong shapes mean: stop')
@settings(max_examples=200, deadline=None)
@given(inputs=st.lists(st.tuples(ANYTHING, ANYTHING, st.booleans()), min_size=1, max_size=20))
def test_no_numbers_of_any_shape_break_a_limit(inputs: list[tuple[np.ndarray, np.ndarray, bool]]) -> None:
    safety = SafetyFilter(ROBOT)
    safety.restart(HOME)
    limits = Limits(safety, ROBOT, HOME)
    for target, measured, follows in inputs:
        limits.check(safety(target, safety.command if follows else measured)[0])


def test_a_joint_stops_at_its_limit_without_braking_too_hard() -> None:
    for distance in np.linspace(0.0005, 0.13, 40):
        safety = SafetyFilter(EVERYWHERE)
        start = HOME.copy()
        start[0] = safety.upper[0] - distance
        safety.restart(start)
        commands = [start[0], start[0]]
        for _ in range(60):
            commands.append(safety(start + [9, *[0] * 6], safety.command)[0][0])
        assert np.abs(np.diff(commands, 2)).max() <= safety.acceleration[0] * safety.dt**2 * (1 + 1e-6), distance
        assert max(commands) <= safety.upper[0], distance
        assert commands[-1] == pytest.approx(safety.upper[0], abs=1e-9), 'it does get there'


def test_each_reason_has_its_flag() -> None:
    def flags(change: float, robot: RobotProfile = EVERYWHERE, measured: np.ndarray = HOME) -> int:
        safety = SafetyFilter(robot)
        safety.restart(HOME)
        return safety(HOME + [change, *[0] * 6], measured)[1]

    assert flags(0.004) == 0
    assert flags(0.03) == ACCELERATION
    assert flags(0.15) == VELOCITY | ACCELERATION
    assert flags(0.3) == LAG | VELOCITY | ACCELERATION
    assert flags(9.0) == POSITION | LAG | VELOCITY | ACCELERATION
    assert flags(0.004, measured=np.full(7, np.nan)) == NOT_FINITE
    tool = SafetyFilter(ROBOT).kinematics.tool_positions(HOME)[0]
    walled = ROBOT.model_copy(update={'workspace_low': list(tool - 1e-4), 'workspace_high': list(tool + 1e-4)})
    assert flags(0.004, robot=walled) == WORKSPACE


def test_a_gripper_keeps_hold_of_what_it_squeezes_when_an_episode_begins() -> None:
    arm = ROBOT.arms[0].model_copy(update={'squeeze': 0.003})
    safety, part = SafetyFilter(ROBOT.model_copy(update={'arms': [arm]})), HOME.copy()
    for measured, commanded in ((0.006, 0.003), (0.004, 0.002), (0.0015, 0.0015)):  # never beyond its limit of 2 mm
        part[-1] = measured
        safety.restart(part)
        command = safety(safety.command, part)[0]
        np.testing.assert_allclose(command, [*HOME[:-1], commanded], atol=1e-12)


def test_a_robot_that_starts_outside_its_box_may_come_in_and_never_goes_further_out() -> None:
    tool = SafetyFilter(ROBOT).kinematics.tool_positions(HOME)[0]
    above = ROBOT.model_copy(update={'workspace_low': [-9, -9, tool[2] + 0.01]})  # 1 cm too low
    for joint, sign, comes_in in ((1, -1, True), (1, 1, False)):
        safety = SafetyFilter(above)
        safety.restart(HOME)
        target = HOME.copy()
        target[joint] += sign * 0.1
        heights = [safety.kinematics.tool_positions(safety(target, safety.command)[0])[0, 2] for _ in range(50)]
        assert (heights[-1] > tool[2] + 0.01) == comes_in
        assert min(heights) >= tool[2] - 1e-9


def test_a_joint_that_starts_outside_its_limits_comes_in_without_a_jump_and_never_goes_further_out() -> None:
    safety = SafetyFilter(EVERYWHERE)
    start = HOME.copy()
    start[1] = safety.upper[1] + 0.1
    for target, end in ((HOME, HOME[1]), (start + 1.0, start[1]), (start, start[1])):
        safety.restart(start)
        commands = [start[1], start[1], *(safety(target, safety.command)[0][1] for _ in range(120))]
        assert np.abs(np.diff(commands, 2)).max() <= safety.acceleration[1] * safety.dt**2 * (1 + 1e-6)
        assert max(commands) <= start[1]
        assert commands[-1] == pytest.approx(end, abs=1e-6)


def test_restart_refuses_what_is_no_position_to_start_from() -> None:
    safety = SafetyFilter(ROBOT)
    for wrong in (np.zeros(3), np.full(7, np.nan)):
        with pytest.raises(ValueError, match='7 finite numbers'):
            safety.restart(wrong)
    with pytest.raises(ValueError, match='right/elbow stands 1.5 outside of its limits'):
        safety.restart(np.where(np.arange(7) == 2, safety.upper + 1.5, HOME))
