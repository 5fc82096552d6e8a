"""The robot side tick by tick: chunks, takeover, holds, noise, and what the actor is told."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.control.chunks import ACTOR, HOLD, HUMAN, VLA
from rlt_ros.control.executor import SETTLE, Executor
from rlt_ros.rl.policy import Policy
from rlt_ros.rl.transitions import Seen

ROBOT = load(RobotProfile, 'single_arm')
HOME = np.array([joint.home for joint in ROBOT.joints])
D = len(HOME)
METHOD = Method(name='test', chunk=4, delay=2, noise=0.05)
SCALE = np.full(D, 1e-3)
PUSH = np.append(np.arange(1, D) * 0.1, 0.05)  # rad/s, gripper: m/s


@dataclass
class Shift:
    """An actor that adds a half to the reference, and remembers what it was told."""

    version: int = 3
    shift: float = 0.5
    states: list[np.ndarray] = field(default_factory=list)

    def mean(self, state: np.ndarray, reference: np.ndarray) -> np.ndarray:
        self.states.append(state)
        return reference + self.shift


def seen(value: float = 0.0, position: np.ndarray = HOME) -> Seen:
    """A state whose reference is `value` + 0.01 k at step k, in every joint."""
    reference = np.repeat(value + 0.01 * np.arange(12, dtype=np.float32)[:, None], D, axis=1)
    return Seen(np.zeros(2, np.float32), np.zeros(3, np.float32), reference, position)


def started(mode: str, noise: float = 0.0, phase: str = 'critical', actor: Shift | None = None) -> Executor:
    executor = Executor(ROBOT, METHOD.model_copy(update={'noise': noise}), SCALE)
    executor.actor = actor
    executor.episode(1, 'reset', mode, 0, None)
    executor.episode(1, phase, mode, 0, HOME)
    return executor


def run(executor: Executor, ticks: range, velocity: np.ndarray | None = None, hold: bool = False) -> list:
    return [executor.tick(tick, executor.filter.command, velocity, hold) for tick in ticks]


@pytest.mark.parametrize('actor', [None, Shift()], ids=['no policy yet', 'policy'])
def test_the_actor_drives_from_the_delay_on_then_the_reference_then_a_hold(actor: Shift | None) -> None:
    executor = started('online', actor=actor)
    assert executor.choose(1, 1, seen(), observed=0, now=0) is not None
    executed = run(executor, range(0, 14))
    driver, shift, version = (ACTOR, 0.5, 3) if actor else (VLA, 0.0, 0)
    assert [e.source for e in executed] == [HOLD] * 2 + [driver] * 4 + [VLA] * 6 + [HOLD] * 2
    assert [e.policy_version for e in executed] == [0] * 2 + [version] * 4 + [0] * 8
    # the step of the reference that belongs to a tick is the one counted from the observation
    steps = [(e.command - HOME) / SCALE for e in executed]
    for tick in range(2, 12):
        np.testing.assert_allclose(steps[tick], 0.01 * tick + (shift if tick < 6 else 0.0), atol=1e-5)
    assert (steps[13] == steps[11]).all() and executed[13].flags == 0


@pytest.mark.parametrize(
    ('mode', 'phase', 'noisy', 'source'),
    [
        ('evaluation', 'critical', False, VLA), ('warmup', 'approach', False, VLA), ('online', 'approach', False, VLA),
        ('warmup', 'critical', True, VLA), ('online', 'critical', True, ACTOR),
    ],
)  # fmt: skip
def test_noise_and_actor_belong_to_the_critical_phase_of_learning(
    mode: str, phase: str, noisy: bool, source: int
) -> None:
    executor = started(mode, noise=0.05, phase=phase, actor=Shift())
    chunk = executor.choose(1, 1, seen(), 0, 0)
    clean = 0.01 * np.arange(2, 6)[:, None] + (0.5 if source == ACTOR else 0.0)
    off = (chunk.action - HOME) / SCALE - clean
    assert chunk.source == source
    assert (0.02 < off.std() < 0.1) if noisy else (np.abs(off) < 1e-5).all()
    np.testing.assert_allclose((chunk.rest - HOME) / SCALE, 0.01 * np.arange(6, 12)[:, None] + np.zeros(D), atol=1e-5)


def test_the_actor_is_told_exactly_the_commands_that_are_executed_until_it_takes_over() -> None:
    actor = Shift()
    executor = started('online', noise=0.05, actor=actor)
    log = {}
    for tick in range(20):
        if tick % 4 == 0:  # the answer comes a tick after its observation: one committed tick is past, one to come
            here = tick
        if tick % 4 == 1:
            assert executor.choose(1, tick, seen(0.1 * tick), observed=here, now=tick) is not None
        log[tick] = executor.tick(tick, executor.filter.command, None).command
    for decision, state in zip(range(0, 20, 4), actor.states, strict=True):
        committed = np.array([log[decision], log[decision + 1]])
        np.testing.assert_allclose(state[5:].reshape(2, D), (committed - HOME) / SCALE, atol=1e-5)


def test_the_actor_is_told_what_the_filter_made_of_commands() -> None:
    actor, scale = Shift(), SCALE * 50
    executor = Executor(ROBOT, METHOD.model_copy(update={'noise': 0.0}), scale)
    executor.actor = actor
    executor.episode(1, 'critical', 'online', 0, HOME)
    log = []
    for tick in range(12):
        if tick > 1 and tick % 4 == 2:  # both committed ticks are past
            executor.choose(1, tick, seen(), observed=tick - 2, now=tick)
        log.append(executor.tick(tick, executor.filter.command, None))
    assert log[4].flags, 'too far for one tick'
    for decision, state in zip((0, 4, 8), actor.states, strict=True):
        committed = np.array([log[decision].command, log[decision + 1].command])
        np.testing.assert_allclose(state[5:].reshape(2, D), (committed - HOME) / scale, atol=1e-5)


def test_a_person_takes_over_and_gives_back_within_one_tick() -> None:
    executor = started('online', actor=Shift())
    executor.choose(1, 1, seen(), 0, 0)
    before = run(executor, range(0, 3))[-1]
    assert before.source == ACTOR
    taken = run(executor, range(3, 8), velocity=PUSH)
    assert [t.source for t in taken] == [HUMAN] * 5 and taken[0].index == -1
    assert (taken[0].command - before.command > 0).all()
    np.testing.assert_allclose(taken[4].command - taken[3].command, PUSH * executor.dt, atol=5e-4)
    assert executor.choose(1, 2, seen(), observed=2, now=8) is None, 'what was computed before counts no more'
    assert executor.choose(1, 3, seen(), observed=5, now=8) is not None
    released = run(executor, range(8, 10))
    assert [r.source for r in released] == [HOLD] * 2, 'nor what was computed while the person drove'
    assert executor.choose(1, 4, seen(position=released[-1].command), observed=8, now=10) is not None
    assert run(executor, range(10, 11))[0].source == ACTOR


# who wants what for some ticks: chunks of any size or none, a person, a fault, another phase or episode
WISHES = st.lists(
    st.tuples(
        st.sampled_from(['chunk', 'wild chunk', 'none', 'person', 'wild person', 'hold', 'critical', 'approach']),
        st.integers(0, 2**32 - 1),
        st.integers(1, 6),
    ),
    min_size=1,
    max_size=25,
)


@pytest.mark.fault('switch', 'no jump: velocity and acceleration stay within limits')
@settings(max_examples=80, deadline=None)
@given(wishes=WISHES)
def test_no_change_of_hands_makes_the_command_jump(wishes: list[tuple[str, int, int]]) -> None:
    scale = np.array([0.05] * 6 + [0.005])
    executor = Executor(ROBOT, METHOD.model_copy(update={'noise': 0.05}), scale)
    executor.actor = Shift()
    executor.episode(1, 'approach', 'online', 0, HOME)
    commands, tick = [HOME, HOME], 0
    for kind, seed, times in wishes:
        random, velocity = np.random.default_rng(seed), None
        if kind == 'chunk':
            executor.choose(1, tick + 1, seen(random.normal(), commands[-1]), tick, tick)
        elif kind == 'wild chunk':
            executor.choose(1, tick + 1, seen(1e30, random.choice([-1e9, 1e9], D)), tick, tick)
        elif kind == 'person':
            velocity = PUSH * random.normal(0, 5, D)
        elif kind == 'wild person':
            velocity = random.choice([np.nan, np.inf, -np.inf, 1e300, 0.0], D)
        elif kind in ('critical', 'approach'):
            executor.episode(1, kind, 'online', tick, commands[-1])
        for _ in range(times):
            done = executor.tick(tick, commands[-1], velocity, hold=kind == 'hold')
            tick += 1
            commands.append(done.command)
            if kind == 'hold':
                assert done.source == HOLD
            elif velocity is not None:
                assert done.source == HUMAN
            else:
                assert done.source != HUMAN
    limit = np.array([joint.acceleration for joint in ROBOT.joints]) * executor.dt**2
    assert (np.abs(np.diff(commands, 2, axis=0)) <= limit + 1e-9).all()
    assert (np.abs(np.diff(commands, axis=0)) <= executor.filter.velocity_limit * executor.dt + 1e-9).all()


@pytest.mark.fault('chunk-foreign', 'after a stop only what was seen since counts')
def test_after_a_stop_only_what_was_seen_since_counts() -> None:
    executor = started('online', actor=Shift())
    executor.choose(1, 1, seen(), 0, 0)
    run(executor, range(0, 4), hold=True)
    assert [e.source for e in run(executor, range(4, 6))] == [HOLD] * 2, 'not on from the middle of what was under way'
    assert executor.choose(1, 2, seen(), observed=3, now=6) is None
    assert executor.choose(1, 3, seen(), observed=4, now=6) is not None
    assert run(executor, range(6, 7))[0].source == ACTOR


def test_what_happened_is_counted() -> None:
    executor = started('evaluation')
    executor.choose(1, 1, seen(), 0, 0)
    run(executor, range(0, 14))
    assert (executor.held, executor.rests) == (4, 6)
    executor.choose(1, 2, seen(np.nan), 14, 14)
    executor.choose(2, 3, seen(), 14, 14)
    assert executor.schedule.dropped == {'foreign': 1, 'old': 0, 'late': 0, 'invalid': 1}
    run(executor, range(14, 17), velocity=PUSH * 20)
    counts = executor.clamped
    assert counts['acceleration'] == 3 and counts['not_finite'] == counts['position'] == 0
    run(executor, range(17, 19), velocity=np.full(D, np.nan))
    assert counts['not_finite'] == 2


def test_stale_data_stops_the_robot_whoever_drives() -> None:
    executor = started('online', actor=Shift())
    executor.choose(1, 1, seen(), 0, 0)
    run(executor, range(0, 4))
    held = run(executor, range(4, 10), hold=True)
    assert [h.source for h in held] == [HOLD] * 6
    assert (held[-1].command == held[-2].command).all()
    assert run(executor, range(10, 11), velocity=PUSH, hold=True)[0].source == HOLD


def test_a_fast_arm_whose_position_is_not_known_any_more_brakes_and_never_runs_back() -> None:
    executor, tick, command = started('online'), 0, [HOME] * 4
    push = np.array([2.0, *[0.0] * (D - 1)])
    for _ in range(6):
        tick += 1
        command.append(executor.tick(tick, command[-4], push).command)  # the arm follows three ticks late
    last_heard = command[-4]
    for _ in range(4):
        tick += 1
        command.append(executor.tick(tick, last_heard, push).command)
    held = [executor.tick(tick + i, None, push) for i in range(1, 31)]
    way = np.diff([e.command[0] for e in held])
    assert {e.source for e in held} == {HOLD} and held[0].command[0] > command[-1][0]
    assert (way >= 0.0).all(), 'not back towards where it was last seen'
    assert (way[-20:] == 0.0).all(), 'it stands'
    ramp = np.diff([*command[-2:], *(e.command for e in held)], 2, axis=0)
    assert (np.abs(ramp) <= executor.filter.acceleration * executor.dt**2 + 1e-9).all()


@pytest.mark.fault('not-finite', 'the whole chunk is dropped and counted')
@pytest.mark.fault('wrong-shape', 'the whole chunk is dropped and counted')
def test_what_cannot_be_used_is_dropped() -> None:
    executor = started('online', actor=Shift())
    poisoned = np.full((12, D), np.nan, np.float32)
    good = seen()
    short = Seen(good.token, good.proprioception, good.reference[:5], HOME)
    for state in (Seen(good.token, good.proprioception, poisoned, HOME),
                  Seen(np.full(2, np.inf, np.float32), good.proprioception, good.reference, HOME), short,
                  Seen(good.token, good.proprioception, good.reference, np.full(D, np.nan)),
                  Seen(good.token, good.proprioception, good.reference, np.zeros(3))):  # fmt: skip
        assert executor.choose(1, 1, state, 0, 0) is None
    executor.actor = Shift(shift=np.nan)
    assert executor.choose(1, 1, good, 0, 0) is None
    executor.actor = Policy([(np.zeros((9, 4)), np.zeros(4)), (np.zeros((4, 4 * D)), np.zeros(4 * D))], 1)
    assert executor.choose(1, 1, good, 0, 0) is None, 'of another encoder'
    assert executor.choose(2, 1, good, 0, 0) is None, 'of another episode'
    assert run(executor, range(0, 3))[-1].source == HOLD
    executor.episode(1, 'ended', 'online', 3, HOME)
    assert executor.choose(1, 2, good, 3, 3) is None


def test_wild_actions_stay_near_the_robot() -> None:
    executor = started('online', actor=Shift(shift=1e30))
    chunk = executor.choose(1, 1, seen(), 0, 0)
    assert np.abs((chunk.action - HOME) / SCALE).max() <= 3.0 + 1e-9
    for value in (20.0, 1e30):  # the way to the critical phase is longer
        chunk = started('online', phase='approach').choose(1, 1, seen(value), 0, 0)
        np.testing.assert_allclose((chunk.action - HOME) / SCALE, min(value, 40.0), rtol=0.01)


def test_phases_keep_or_void_what_is_in_flight() -> None:
    executor = started('online', phase='approach', actor=Shift())
    executor.choose(1, 1, seen(), 0, 0)
    run(executor, range(0, 3))
    executor.episode(1, 'critical', 'online', 3, HOME)
    assert run(executor, range(3, 5))[-1].source == VLA, 'the approach plays on until the actor has chosen'
    assert executor.choose(1, 2, seen(), observed=2, now=5) is None
    assert executor.choose(1, 3, seen(), observed=3, now=5).source == ACTOR
    executor.episode(1, 'ended', 'online', 6, HOME)
    executor.episode(2, 'reset', 'online', 6, HOME)
    elsewhere = HOME + 0.01
    executor.episode(2, 'critical', 'online', 7, elsewhere)
    first = executor.tick(7, elsewhere, None)
    assert first.source == HOLD
    np.testing.assert_allclose(first.command, np.clip(elsewhere, executor.filter.lower, executor.filter.upper))
    with pytest.raises(ValueError, match='where it stands'):
        started('online').episode(2, 'critical', 'online', 0, None)


def stop(executor: Executor, tick: int) -> list:
    """Ticks of the ramp after an episode, until nothing is commanded any more."""
    done = []
    while executor.stopping:
        done.append(executor.brake(tick + len(done)))
        assert len(done) < 1000
    return done


@settings(max_examples=60, deadline=None)
@given(push=st.lists(st.floats(-6, 6), min_size=D, max_size=D), ticks=st.integers(1, 40))
def test_motion_ends_in_a_ramp_within_limits_and_a_hold(push: list[float], ticks: int) -> None:
    executor = started('online')
    commands = [HOME, *(e.command for e in run(executor, range(ticks), velocity=np.array(push)))]
    executor.episode(1, 'ended', 'online', ticks, None)
    assert executor.choose(1, 9, seen(1.0), ticks, ticks) is None, 'no chunk counts any more'
    ramp = stop(executor, ticks)
    commands += [e.command for e in ramp]
    limit = np.array([joint.acceleration for joint in ROBOT.joints]) * executor.dt**2
    assert (np.abs(np.diff(commands, 2, axis=0)) <= limit + 1e-9).all()
    assert {(e.source, e.index) for e in ramp} == {(HOLD, -1)} and [e.tick for e in ramp][0] == ticks
    assert (np.diff(commands[-SETTLE - 1 :], axis=0) == 0).all(), 'the last commands are a hold'


def test_a_ramp_goes_the_shortest_way_and_the_next_episode_starts_where_the_robot_stands() -> None:
    executor = started('online')
    fast = run(executor, range(20), velocity=PUSH)[-2:]
    speed = fast[1].command - fast[0].command
    executor.episode(1, 'ended', 'online', 20, None)
    executor.episode(2, 'reset', 'online', 21, None)
    ramp = stop(executor, 20)
    way = np.array([e.command for e in ramp]) - fast[1].command
    assert (np.diff(way, axis=0) * np.sign(PUSH) >= -1e-12).all(), 'never back'
    reach = executor.filter.acceleration * executor.dt**2
    assert len(ramp) == SETTLE + np.ceil(np.abs(speed) / reach - 1e-9).max() - 1
    executor.episode(2, 'approach', 'online', 60, HOME + 0.01)
    assert not executor.stopping
    np.testing.assert_array_equal(executor.tick(60, HOME + 0.01, None).command, HOME + 0.01)


def test_another_episode_starts_only_once_the_arm_that_moves_was_stopped() -> None:
    executor = started('online')
    commands = [e.command for e in run(executor, range(20), velocity=PUSH)]
    with pytest.raises(ValueError, match='episode 2 cannot start before episode 1 is ended'):
        executor.episode(2, 'critical', 'online', 20, commands[-4])
    commands += [e.command for e in run(executor, range(20, 25), velocity=PUSH)]
    executor.end(25)
    commands += [e.command for e in stop(executor, 25)]
    executor.episode(2, 'critical', 'online', 60, commands[-1])
    commands += [e.command for e in run(executor, range(60, 65), velocity=PUSH)]
    limit = executor.filter.acceleration * executor.dt**2
    assert (np.abs(np.diff(commands, 2, axis=0)) <= limit + 1e-9).all()


def test_before_the_first_episode_nothing_is_to_be_stopped() -> None:
    executor = Executor(ROBOT, METHOD, SCALE)
    assert not executor.stopping
    executor.episode(1, 'reset', 'online', 0, None)
    assert not executor.stopping
