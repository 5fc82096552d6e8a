"""From messages in any order, lost and doubled to transitions: only right ones, each once."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
import tiny_weights

from rlt_ros.camera.sync import ObservationSync
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.control.chunks import ACTOR, HUMAN
from rlt_ros.rl.assembly import LABEL_PATIENCE, PATIENCE, Assembly, Finished, kept
from rlt_ros.rl.transitions import Ending, Seen, Step, Transition, TransitionBuilder
from rlt_ros.token.backend import TokenBackend
from rlt_ros.vla.builtin import BuiltinBackend, Look

ROBOT = load(RobotProfile, 'single_arm')
PERIOD = 20_000_000
START = 1_700_000_000_000_000_000
METHOD = Method(name='test', chunk=4, delay=2, discount=0.9)
N, C = 2, 4
BUILDER = TransitionBuilder(METHOD, np.array([0.5, 2.0]))
ROOM = 6000
TICKS = range(100, 130)  # critical from tick 104 on
END = START + 126 * PERIOD - 3_000_000
LATER = LABEL_PATIENCE + 1


def step(tick: int) -> Step:
    """A person drives from 112 to 115, and after the end; the actor otherwise."""
    return Step(np.array([tick, -10.0 * tick]), HUMAN if 112 <= tick < 116 or tick >= 126 else ACTOR, tick)


def seen(tick: int) -> Seen:
    reference = (100 * tick + np.arange(12, dtype=np.float32))[:, None] + np.array([0, 0.5], np.float32)
    return Seen(np.float32([tick]), np.float32([-tick]), reference, np.array([tick, 1.0]))


JITTER = np.random.default_rng(0).integers(-2_500_000, 2_500_000, 200)
STEPS = [('step', tick) for tick in TICKS]
STATES = [('state', tick) for tick in range(100, 130, 2)]
MESSAGES = [*STEPS, *STATES, ('next', 150), ('end', 0)]


def feed(assembly: Assembly, kind: str, tick: int, start: int = START, back: int = 0, outcome: str = 'success') -> None:
    """A message as the nodes send it; back: ticks that a restarted executor counts less."""
    if kind == 'step':
        phase = 'critical' if tick >= 104 else 'approach'
        assembly.add_step(tick - back, start + tick * PERIOD, PERIOD, 7, phase, step(tick))
    elif kind == 'state':
        stamp = start + tick * PERIOD - 8_000_000 + int(JITTER[tick])
        assembly.add_state(7, stamp, seen(tick), last=tick == 128)
    elif kind == 'next':
        assembly.add_step(tick, start + tick * PERIOD, PERIOD, 8, 'approach', step(tick))
    else:
        assembly.end(7, END, outcome, 'online', now=0.0)


def expected(builder: TransitionBuilder = BUILDER, outcome: str = 'success') -> dict[int, Transition]:
    steps = {tick: step(tick) for tick in range(104, 126)}
    ending = Ending(126, outcome == 'success', terminated=outcome != 'timeout')
    return {t.tick: t for t in builder.build({tick: seen(tick) for tick in range(104, 130, 2)}, steps, ending)}


def assert_right(
    finished: Finished, right: dict[int, Transition] | None = None, lost: frozenset[int] = frozenset()
) -> None:
    """lost: ticks of a person's steps that never came; the references behind them stay the VLA's."""
    right = expected() if right is None else right
    assert len({t.tick for t in finished.transitions}) == len(finished.transitions)
    for transition in finished.transitions:
        unknown = lost & set(range(transition.tick + C + N, transition.tick + C + N + C))
        for name, value in vars(transition).items():
            if name.startswith('next') and transition.discount == 0 or name == 'next_reference' and unknown:
                continue
            np.testing.assert_array_equal(value, getattr(right[transition.tick], name), err_msg=name)


def test_a_whole_episode_in_order() -> None:
    assembly = Assembly(BUILDER, ROOM)
    for message in MESSAGES[:-1]:
        feed(assembly, *message)
        assert not list(assembly.finished(LATER)), 'nothing before the end'
    feed(assembly, *MESSAGES[-1])
    (finished,) = assembly.finished(0.0)
    assert (finished.episode, finished.mode, finished.outcome) == (7, 'online', 'success')
    assert [t.tick for t in finished.transitions] == sorted(expected())
    assert max(t.reward for t in finished.transitions) == pytest.approx(0.9)  # 124 sees actions of no tick, 122 of two
    assert_right(finished)
    assert not list(assembly.finished(LATER))
    for message in MESSAGES:  # the same once more
        feed(assembly, *message)
    assert not list(assembly.finished(2 * LATER)) and not assembly.episodes


BUILDERS = {
    (stride, intervention): TransitionBuilder(
        METHOD.model_copy(update={'stride': stride, 'intervention': intervention}), BUILDER.scale
    )
    for stride in (2, 4) for intervention in ('replace', 'keep')
}  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(list(BUILDERS.values())), st.sampled_from(['success', 'failure', 'timeout']),
    st.permutations(MESSAGES), st.lists(st.sampled_from(MESSAGES), max_size=20),
    st.sets(st.sampled_from(MESSAGES), max_size=6),
)  # fmt: skip
def test_any_order_with_doubles_and_losses(
    builder: TransitionBuilder, outcome: str, order: list, doubles: list, lost: set
) -> None:
    assembly, given_out, right = Assembly(builder, ROOM), 0, expected(builder, outcome)
    for message in [*order, *doubles, None]:
        if message is not None and message not in lost:
            feed(assembly, *message, outcome=outcome)
        for finished in assembly.finished(0.0 if message else LATER):
            assert_right(finished, right, frozenset(range(112, 116)) - assembly.log.steps.keys())
            given_out += 1
    assert given_out <= 1


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(list(BUILDERS.values())), st.sampled_from(['success', 'failure', 'timeout']),
    st.permutations(MESSAGES), st.lists(st.sampled_from(MESSAGES), max_size=20),
)  # fmt: skip
def test_nothing_is_lost_where_all_comes_before_one_looks(
    builder: TransitionBuilder, outcome: str, order: list, doubles: list
) -> None:
    assembly, right = Assembly(builder, ROOM), expected(builder, outcome)
    for message in [*order, *doubles]:
        feed(assembly, *message, outcome=outcome)
    (finished,) = assembly.finished(0.0)
    assert {t.tick for t in finished.transitions} == set(right)
    assert_right(finished, right)
    assert any(t.human.any() for t in finished.transitions)
    assert any(t.truncated for t in finished.transitions) == (outcome == 'timeout')
    assert any(t.terminated for t in finished.transitions) == (outcome != 'timeout')


def test_jitter_around_a_tick_moves_no_observation_to_another() -> None:
    assembly = Assembly(BUILDER, ROOM)
    for tick in TICKS:
        feed(assembly, 'step', tick)
        if tick % 2 == 0:
            late = (-3_000_000, 3_000_000)[tick // 2 % 2]  # ns, to either side of when the tick is due
            assembly.add_state(7, START + tick * PERIOD + late, seen(tick), last=tick == 128)
    feed(assembly, 'end', 0)
    (finished,) = assembly.finished(np.inf)
    assert {t.tick for t in finished.transitions} == set(expected())
    assert_right(finished)


@pytest.mark.parametrize('moved', [25_000_000, -7_000_000_000])
def test_an_ended_episode_that_waits_for_its_label_outlives_a_new_clock(moved: int) -> None:
    """The executor is taken out and back in, or somebody sets the clock, before the next episode starts."""
    assembly = Assembly(BUILDER, ROOM)
    for message in MESSAGES:
        if message[0] != 'next':
            feed(assembly, *message)
    for tick in range(3):
        assembly.add_step(tick, START + moved + (140 + tick) * PERIOD, PERIOD, 8, 'reset', step(tick))
    for tick in range(3, 30):
        assembly.add_step(tick, START + moved + (140 + tick) * PERIOD, PERIOD, 8, 'approach', step(tick))
    (finished,) = assembly.finished(1.0)
    assert len(finished.transitions) == len(expected())
    assert_right(finished)


def test_a_state_whose_reference_ends_before_a_chunk_is_refused_and_costs_itself_alone() -> None:
    assembly = Assembly(BUILDER, ROOM)
    for message in MESSAGES:
        feed(assembly, *message)
    short = seen(112)
    with pytest.raises(ValueError, match='reference of 5 steps, at least 6 are needed'):
        assembly.add_state(7, START + 112 * PERIOD, Seen(short.token, short.proprioception, short.reference[:5],
                                                         short.position), False)  # fmt: skip
    (finished,) = assembly.finished(1.0)
    assert len(finished.transitions) == len(expected())


@pytest.mark.parametrize('rate', [30, 60])
def test_a_camera_of_another_rate_loses_hardly_anything(rate: int) -> None:
    """Thinned to 25 observations a second, with a jitter of 2 ms."""
    random, seconds, every = np.random.default_rng(0), 9, 40_000_000
    sync, stamps = ObservationSync(['camera', 'joint_states'], every, 20_000_000, 200_000_000), []
    looks = [(START + round(i * 1e9 / rate + random.normal(0, 2e6)), 'camera') for i in range(seconds * rate)]
    joints = [(START + i * 8_000_000, 'joint_states') for i in range(seconds * 125)]
    for stamp, name in sorted(looks + joints):
        sync.add(name, stamp, 0, stamp)
        while assembled := sync.poll(stamp):
            stamps += [] if assembled.stale else [assembled.stamp]
    assembly = Assembly(BUILDER, ROOM)
    for tick in range(seconds * 50):
        assembly.add_step(tick, START + tick * PERIOD, PERIOD, 7, 'critical', step(tick))
    for stamp in stamps:
        assembly.add_state(7, stamp, seen(0), False)
    assembly.end(7, START + seconds * 50 * PERIOD, 'timeout', 'online', 0.0)
    (finished,) = assembly.finished(np.inf)
    possible = sum(stamp + (N + C + 1) * PERIOD < START + seconds * 50 * PERIOD for stamp in stamps)
    assert len(finished.transitions) > 0.95 * possible


def test_missing_parts_are_waited_for_and_then_given_up() -> None:
    assembly = Assembly(BUILDER, ROOM)
    for message in MESSAGES:
        if message != ('state', 128):  # the one that says "last"
            feed(assembly, *message)
    assert not list(assembly.finished(PATIENCE - 0.1))
    (finished,) = assembly.finished(PATIENCE + 0.1)
    assert len(finished.transitions) == len(expected())


def test_the_log_of_a_long_day_takes_no_more_room_than_that_of_two_minutes() -> None:
    room = kept(load(Task, 'ethernet'), 50.0)
    assert room == 120 * 50
    assembly, same = Assembly(BUILDER, room), step(0)
    for tick in range(2 * room):
        assembly.add_step(tick, tick * PERIOD, PERIOD, 1, 'critical', same)
    assert list(assembly.log.steps) == list(range(room, 2 * room))


def test_of_an_episode_that_is_longer_nothing_is_lost_before_its_label_counts() -> None:
    assert kept(load(Task, 'ethernet', time_limit=600.0), 50.0) >= (600 + LABEL_PATIENCE) * 50


@pytest.mark.parametrize('corrected', ['failure', 'abort', 'success'])
def test_a_label_can_be_corrected_until_the_next_episode_starts(corrected: str) -> None:
    assembly = Assembly(BUILDER, ROOM)
    for message in MESSAGES:
        if message[0] != 'next':
            feed(assembly, *message)
    assert not list(assembly.finished(LABEL_PATIENCE - 0.1))
    assembly.end(7, END, 'abort', 'online', 10.0)
    assembly.end(7, END, corrected, 'online', 11.0)
    assembly.add_step(140, START + 140 * PERIOD, PERIOD, 8, 'reset', step(140))
    assert not list(assembly.finished(12.0)), 'its reset is not its start'
    feed(assembly, 'next', 150)
    (finished,) = assembly.finished(12.0)
    assert finished.outcome == corrected
    assert len(finished.transitions) == (0 if corrected == 'abort' else len(expected()))
    assert any(t.reward > 0 for t in finished.transitions) == (corrected == 'success')
    assembly.end(7, END, 'failure', 'online', 13.0)
    assert not list(assembly.finished(np.inf)), 'too late'


@pytest.mark.parametrize('now', [LABEL_PATIENCE + 0.1, np.inf])
def test_the_last_episode_counts_after_a_while_or_when_nothing_comes_any_more(now: float) -> None:
    assembly = Assembly(BUILDER, ROOM)
    for message in MESSAGES:
        if message[0] != 'next':
            feed(assembly, *message)
    for tick in range(200, 200 + 4000):  # a minute of standing still costs nothing of it
        assembly.add_step(tick, START + tick * PERIOD, PERIOD, 8, 'reset', step(tick))
    assembly.end(7, END, 'success', 'online', 5.0)  # said again: it is waited for no longer
    (finished,) = assembly.finished(now)
    assert_right(finished)
    assert len(finished.transitions) == len(expected())


@pytest.mark.fault('restart', 'a new executor: nothing of both is mixed in a transition')
@pytest.mark.parametrize('restart', range(104, 126))
@pytest.mark.parametrize('back', [None, 8, -8], ids=['counts from 0', 'counts ticks again', 'leaves some out'])
def test_a_restarted_executor_voids_the_log_and_mixes_nothing(restart: int, back: int | None) -> None:
    assembly, back = Assembly(BUILDER, ROOM), restart if back is None else back
    new_start = START + 7_000_000  # its ticks fall elsewhere and count from 0
    for kind, tick in sorted([*STEPS, *STATES], key=lambda m: m[1]):
        new = kind == 'step' and tick >= restart
        feed(assembly, kind, tick, start=new_start if new else START, back=back if new else 0)
    feed(assembly, 'end', 0)
    (finished,) = assembly.finished(LATER)
    right = [tick for tick in sorted(expected()) if tick >= restart]
    assert [t.tick + back for t in finished.transitions] == right
    for transition, tick in zip(finished.transitions, right, strict=True):
        np.testing.assert_array_equal(transition.action, expected()[tick].action)
        np.testing.assert_array_equal(transition.state, expected()[tick].state)


@pytest.mark.parametrize(('mode', 'outcome', 'stored'), [
    ('online', 'success', True), ('warmup', 'failure', True), ('warmup', 'timeout', True),
    ('evaluation', 'success', False), ('online', 'abort', False),
])  # fmt: skip
def test_what_is_stored(mode: str, outcome: str, stored: bool) -> None:
    assembly = Assembly(BUILDER, ROOM)
    for message in MESSAGES[:-1]:
        feed(assembly, *message)
    assembly.end(7, END, outcome, mode, 0.0)
    (finished,) = assembly.finished(0.0)
    assert bool(finished.transitions) == stored
    if stored:
        assert any(t.discount == 0 for t in finished.transitions) == (outcome != 'timeout')
        assert any(t.reward > 0 for t in finished.transitions) == (outcome == 'success')


def test_live_and_backfilled_features_give_the_same_transitions(tmp_path: Path) -> None:
    """Whether the VLA looks at observations one at a time as they come, or later in batches in another order."""
    vla_hash = tiny_weights.save_vla(tmp_path / 'vla', ROBOT)
    tiny_weights.save_token(tmp_path / 'token', ROBOT, vla_hash)
    random, home = np.random.default_rng(0), np.array([joint.home for joint in ROBOT.joints])
    images = random.integers(0, 256, (13, len(ROBOT.cameras), ROBOT.image_size, ROBOT.image_size, 3), np.uint8)
    near = lambda: home + random.normal(0, 0.01, len(home))  # noqa: E731
    looks = {START + tick * PERIOD: Look(images[i], near(), near() - home, near(), START + tick * PERIOD)
             for i, tick in enumerate(range(104, 130, 2))}  # fmt: skip
    commands = {tick: near() for tick in TICKS}

    def made(batches: list[list[int]]) -> list[Transition]:
        vla = BuiltinBackend(tmp_path / 'vla', ROBOT)  # a process of its own
        token = TokenBackend(tmp_path / 'token', vla.hash, vla.unit.hash)
        assembly = Assembly(TransitionBuilder(METHOD, vla.unit.scale), ROOM)
        for tick, command in commands.items():
            assembly.add_step(tick, START + tick * PERIOD, PERIOD, 7, 'critical', Step(command, ACTOR, 1))
        for stamps in batches:
            result = vla.infer([looks[stamp] for stamp in stamps], 'plug it in')
            tokens = token.encode(result.prefix)
            for i, stamp in enumerate(stamps):
                state = Seen(tokens[i], result.proprioception[i], result.reference[i], looks[stamp].position)
                assembly.add_state(7, stamp, state, last=stamp == max(looks))
        assembly.end(7, END, 'success', 'online', 0.0)
        (finished,) = assembly.finished(np.inf)
        return finished.transitions

    stamps = list(looks)
    live = made([[stamp] for stamp in stamps])
    mixed = [stamps[i] for i in random.permutation(len(stamps))]
    decided = [[stamp] for stamp in stamps[::2]]
    for batches in ([mixed[:8], mixed[8:]], [stamps[::-1]], [*decided, stamps[1::2]]):
        later = made(batches)
        assert len(later) == len(live) == len(range(104, 124, 2))
        for one, other in zip(live, later, strict=True):
            for name, value in vars(one).items():
                # tokens are made of prefixes with half the digits, of which rounding may turn the last one
                off = 1e-5 if 'state' not in name else 2e-3
                np.testing.assert_allclose(getattr(other, name), value, rtol=1e-5, atol=off, err_msg=name)
    assert np.abs(live[0].reference - live[1].reference).max() > 0.1, 'every look has another chunk'
