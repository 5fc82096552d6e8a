"""From messages in any order, lost and doubled to transitions: only right ones, each once."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from rlt_ros.config import Method
from rlt_ros.rl.assembly import PATIENCE, Assembly, Finished
from rlt_ros.rl.transitions import Ending, Seen, Step, Transition, TransitionBuilder

PERIOD = 20_000_000
START = 1_700_000_000_000_000_000
METHOD = Method(name='test', chunk=4, delay=2, reference_horizon=12, discount=0.9)
BUILDER = TransitionBuilder(METHOD, np.array([0.5, 2.0]))
TICKS = range(100, 130)  # critical from tick 104 on
END = START + 126 * PERIOD - 3_000_000
LATER = PATIENCE + 1


def step(tick: int) -> Step:
    return Step(np.array([tick, -10.0 * tick]), 1, tick)


def seen(tick: int) -> Seen:
    reference = (100 * tick + np.arange(12, dtype=np.float32))[:, None] + np.array([0, 0.5], np.float32)
    return Seen(np.float32([tick]), np.float32([-tick]), reference, np.array([tick, 1.0]))


JITTER = np.random.default_rng(0).integers(-2_500_000, 2_500_000, 200)
STEPS = [('step', tick) for tick in TICKS]
STATES = [('state', tick) for tick in range(100, 130, 2)]
MESSAGES = [*STEPS, *STATES, ('end', 0)]


def feed(assembly: Assembly, kind: str, tick: int, start: int = START, back: int = 0, outcome: str = 'success') -> None:
    """A message as the nodes send it; back: ticks that a restarted executor counts less."""
    if kind == 'step':
        phase = 'critical' if tick >= 104 else 'approach'
        assembly.add_step(tick - back, start + tick * PERIOD, PERIOD, 7, phase, step(tick))
    elif kind == 'state':
        stamp = start + tick * PERIOD - 8_000_000 + int(JITTER[tick])
        assembly.add_state(7, stamp, seen(tick), last=tick == 128)
    else:
        assembly.end(7, END, outcome, 'online', now=0.0)


def expected(success: bool = True) -> dict[int, Transition]:
    steps = {tick: step(tick) for tick in range(104, 126)}
    ending = Ending(126, success, terminated=True)
    return {t.tick: t for t in BUILDER.build({tick: seen(tick) for tick in range(104, 130, 2)}, steps, ending)}


def assert_right(finished: Finished) -> None:
    right = expected()
    assert len({t.tick for t in finished.transitions}) == len(finished.transitions)
    for transition in finished.transitions:
        for name, value in vars(transition).items():
            if not (name.startswith('next') and transition.discount == 0):
                np.testing.assert_array_equal(value, getattr(right[transition.tick], name))


def test_a_whole_episode_in_order() -> None:
    assembly = Assembly(BUILDER)
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


@settings(max_examples=80, deadline=None)
@given(
    st.permutations(MESSAGES),
    st.lists(st.sampled_from(MESSAGES), max_size=20),
    st.sets(st.sampled_from(MESSAGES), max_size=6),
)
def test_any_order_with_doubles_and_losses(order: list, doubles: list, lost: set) -> None:
    assembly, given_out = Assembly(BUILDER), []
    for message in [*order, *doubles]:
        if message not in lost:
            feed(assembly, *message)
            given_out += assembly.finished(0.0)
    given_out += assembly.finished(LATER)
    assert len(given_out) <= 1
    for finished in given_out:
        assert_right(finished)


@settings(max_examples=30, deadline=None)
@given(st.permutations(MESSAGES), st.lists(st.sampled_from(MESSAGES), max_size=20))
def test_nothing_is_lost_where_all_comes_before_one_looks(order: list, doubles: list) -> None:
    assembly = Assembly(BUILDER)
    for message in [*order, *doubles]:
        feed(assembly, *message)
    (finished,) = assembly.finished(0.0)
    assert {t.tick for t in finished.transitions} == set(expected())


def test_missing_parts_are_waited_for_and_then_given_up() -> None:
    assembly = Assembly(BUILDER)
    for message in MESSAGES:
        if message != ('state', 128):  # the one that says "last"
            feed(assembly, *message)
    assert not list(assembly.finished(PATIENCE - 0.1))
    (finished,) = assembly.finished(PATIENCE + 0.1)
    assert len(finished.transitions) == len(expected())


@pytest.mark.parametrize('restart', range(104, 126))
@pytest.mark.parametrize('back', [None, 8], ids=['counts from 0', 'counts ticks again'])
def test_a_restarted_executor_voids_the_log_and_mixes_nothing(restart: int, back: int | None) -> None:
    assembly, back = Assembly(BUILDER), restart if back is None else back
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
    assembly = Assembly(BUILDER)
    for message in MESSAGES[:-1]:
        feed(assembly, *message)
    assembly.end(7, END, outcome, mode, 0.0)
    (finished,) = assembly.finished(0.0)
    assert bool(finished.transitions) == stored
    if stored:
        assert any(t.discount == 0 for t in finished.transitions) == (outcome != 'timeout')
        assert any(t.reward > 0 for t in finished.transitions) == (outcome == 'success')
