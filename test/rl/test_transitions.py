"""Transitions of hand-made logs with known answers."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from rlt_ros.config import Method
from rlt_ros.control.chunks import HUMAN
from rlt_ros.rl.transitions import Ending, Seen, Step, Transition, TransitionBuilder

METHOD = Method(name='test', chunk=4, delay=2, discount=0.9)
N, C, GAMMA = 2, 4, 0.9
SCALE = np.array([0.5, 2.0])
END = 20


def command(tick: int) -> np.ndarray:
    return np.array([tick, -10.0 * tick])


def observed(tick: int) -> Seen:
    """Everything in it tells its tick."""
    reference = (1000 * tick + np.arange(12, dtype=np.float32))[:, None] + np.array([0, 0.5], np.float32)
    return Seen(np.float32([tick]), np.float32([tick, -tick]), reference, np.array([tick, 1.0]))


def log(source: int = 1) -> tuple[dict[int, Seen], dict[int, Step]]:
    return {t: observed(t) for t in range(0, END, 2)}, {t: Step(command(t), source, 100 + t) for t in range(END)}


def built(
    seen: dict[int, Seen], steps: dict[int, Step], ending: Ending, method: Method = METHOD
) -> dict[int, Transition]:
    return {t.tick: t for t in TransitionBuilder(method, SCALE).build(seen, steps, ending)}


SUCCESS, FAILURE, TIMEOUT = Ending(END, True, True), Ending(END, False, True), Ending(END, False, False)


def normalised(ticks: range, position: np.ndarray) -> np.ndarray:
    return np.array([(command(t) - position) / SCALE for t in ticks], np.float32).ravel()


def test_every_part_of_a_transition_in_the_middle() -> None:
    t = built(*log(), SUCCESS)[6]
    here, there = observed(6), observed(10)
    np.testing.assert_array_equal(t.state, [6, 6, -6, *normalised(range(6, 8), here.position)])
    np.testing.assert_array_equal(t.reference, here.reference[2:6].ravel())
    np.testing.assert_array_equal(t.action, normalised(range(8, 12), here.position))
    np.testing.assert_array_equal(t.next_state, [10, 10, -10, *normalised(range(10, 12), there.position)])
    np.testing.assert_array_equal(t.next_reference, there.reference[2:6].ravel())
    assert (t.reward, t.discount, t.steps) == (0.0, pytest.approx(GAMMA**4), 4)
    assert (t.human.tolist(), t.policy_version, t.token, t.tick) == ([False] * 4, 108, 1, 6)
    assert not t.terminated and not t.truncated
    assert all(
        getattr(t, name).dtype == np.float32
        for name in ('state', 'reference', 'action', 'next_state', 'next_reference')
    )


def assert_same(one: Transition, other: Transition, but: tuple[str, ...] = ()) -> None:
    """Equal in everything that has weight."""
    for name, value in vars(one).items():
        if name not in but and not (name.startswith('next') and one.discount == 0):
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


@pytest.mark.parametrize(('ending', 'final'), [(SUCCESS, 1.0), (FAILURE, 0.0)], ids=['success', 'failure'])
def test_an_end_pays_once_discounted_by_the_steps_to_it_and_ends_the_value(ending: Ending, final: float) -> None:
    result = built(*log(), ending)
    # the action of observation t runs from t + 2 to t + 6; the end is before tick 20
    assert sorted(result) == list(range(0, 18, 2)), 'no step of the action of observation 18 was executed'
    assert [result[t].steps for t in (12, 14, 16)] == [4, 4, 2]
    assert [result[t].terminated for t in (12, 14, 16)] == [False, True, True]
    assert not any(t.truncated for t in result.values())
    assert [result[t].discount for t in (12, 14, 16)] == [pytest.approx(GAMMA**4), 0.0, 0.0]
    assert [result[t].reward for t in (12, 14, 16)] == [
        0.0,
        pytest.approx(final * GAMMA**3),
        pytest.approx(final * GAMMA),
    ]
    cut = result[16].action.reshape(4, 2)
    np.testing.assert_array_equal(cut[:2].ravel(), normalised(range(18, 20), observed(16).position))
    assert (cut[2:] == cut[1]).all(), 'what was not executed repeats the last command'


def test_after_a_timeout_the_value_goes_on_where_a_whole_chunk_was_executed() -> None:
    seen, steps = log()
    seen |= {t: observed(t) for t in range(END, END + 10, 2)}  # cameras do not stop with the episode
    result = built(seen, steps, TIMEOUT)
    assert sorted(result) == list(range(0, 16, 2)), 'the action of observation 14 ends with the last tick'
    assert all(t.discount == pytest.approx(GAMMA**4) and t.reward == 0 for t in result.values())
    assert [t for t in result if result[t].truncated] == [14] and not any(t.terminated for t in result.values())
    np.testing.assert_array_equal(result[14].next_reference, observed(18).reference[2:6].ravel())


@pytest.mark.parametrize('stride', [2, 4])
@pytest.mark.parametrize('end', [18, 19, 20, 21])
@pytest.mark.parametrize(('success', 'terminated'), [(True, True), (False, True), (False, False)])
def test_the_last_of_an_episode_says_how_it_ended(stride: int, end: int, success: bool, terminated: bool) -> None:
    steps = {t: step for t, step in log()[1].items() if t < end} | {t: Step(command(t), 1, 0) for t in range(END, end)}
    method = METHOD.model_copy(update={'stride': stride})
    seen = {t: observed(t) for t in range(0, 30, 2)}
    result = list(built(seen, steps, Ending(end, success, terminated), method).values())
    assert [t.truncated for t in result] == [False] * (len(result) - 1) + [not terminated]
    assert [t.terminated for t in result] == [terminated and t.tick + N + C >= end for t in result]
    assert [t.discount == 0 for t in result] == [t.terminated for t in result]


@pytest.mark.parametrize(('beside', 'there'), [(1, 11), (-1, 9), (2, None), (0, 10)])
def test_the_next_state_may_be_seen_a_tick_beside(beside: int, there: int | None) -> None:
    """Of a camera that does not keep the robot's time: then the value is that of there, and discounted by as much."""
    _, steps = log()
    found = built({t: observed(t) for t in (6, 10 + beside, 16)}, steps, SUCCESS)
    assert (6 in found) == (there is not None)
    if there:
        seen = observed(there)
        np.testing.assert_array_equal(
            found[6].next_state, [there, there, -there, *normalised(range(there, there + 2), seen.position)]
        )
        np.testing.assert_array_equal(found[6].next_reference, seen.reference[2:6].ravel())
        assert found[6].discount == pytest.approx(GAMMA ** (there - 6)) and found[6].steps == 4
        del steps[there + 1]  # committed there
        assert 6 not in built({t: observed(t) for t in (6, there)}, steps, SUCCESS)


def test_a_state_never_follows_itself() -> None:
    """With single steps the tick before the wanted one is the state's own: its value would be what it is held to."""
    method = METHOD.model_copy(update={'chunk': 1, 'delay': 1, 'stride': 1})
    seen, steps = {t: observed(t) for t in range(END) if t != 8}, {t: Step(command(t), 1, 100 + t) for t in range(END)}
    found = built(seen, steps, SUCCESS, method)
    assert found[7].next_state[0] == 9 and all(one.next_state[0] > one.tick for one in found.values() if one.discount)
    assert all(one.discount < 1 for one in found.values())


@pytest.mark.parametrize('exact', [True, False])
def test_the_observation_in_time_is_taken_before_those_beside_it(exact: bool) -> None:
    seen, steps = log()
    seen |= {t: observed(t) for t in (9, 11)}
    if not exact:
        del seen[10]
    assert built(seen, steps, SUCCESS)[6].next_state[0] == (10 if exact else 9)


@pytest.mark.parametrize('delay', [0, 1, 2, 6])
def test_any_delay(delay: int) -> None:
    method = METHOD.model_copy(update={'delay': delay})
    t = built(*log(), SUCCESS, method)[4]
    np.testing.assert_array_equal(t.action, normalised(range(4 + delay, 8 + delay), observed(4).position))
    np.testing.assert_array_equal(t.state[3:], normalised(range(4, 4 + delay), observed(4).position))
    np.testing.assert_array_equal(t.next_state[3:], normalised(range(8, 8 + delay), observed(8).position))
    np.testing.assert_array_equal(t.reference, observed(4).reference[delay : delay + 4].ravel())


def test_a_hole_costs_exactly_what_touches_it() -> None:
    seen, steps = log()
    whole = built(seen, steps, SUCCESS)
    without_tick = built(seen, {t: s for t, s in steps.items() if t != 9}, SUCCESS)
    assert sorted(set(whole) - set(without_tick)) == [4, 6, 8]
    without_look = built({t: s for t, s in seen.items() if t != 10}, steps, SUCCESS)
    assert sorted(set(whole) - set(without_look)) == [6, 10], 'its own, and the one whose value goes on there'


def test_a_persons_steps_are_marked_where_they_are_in_the_action() -> None:
    seen, steps = log()
    steps |= {t: replace(steps[t], source=HUMAN) for t in (7, 8, 9, 19)}
    result = built(seen, steps, SUCCESS)
    marked = [''.join('-h'[int(step)] for step in result[t].human) for t in range(0, 18, 2)]
    assert marked == ['----', '---h', '-hhh', 'hh--', '----', '----', '----', '---h', '-h--']


@pytest.mark.parametrize(('stride', 'first'), [(2, 0), (4, 0), (4, 1), (4, 2), (6, 0)])
def test_a_longer_stride_gives_every_second_or_third_of_the_same_transitions(stride: int, first: int) -> None:
    """first: the tick of the first observation; the others follow two apart."""
    steps = log()[1]
    seen = {t: observed(t) for t in range(first, END, 2)}
    whole = built(seen, steps, FAILURE)
    some = built(seen, steps, FAILURE, METHOD.model_copy(update={'stride': stride}))
    apart = np.diff(list(some))
    assert len(some) >= len(whole) // (stride // 2) and (apart == stride).all()
    for tick, transition in some.items():
        assert_same(transition, whole[tick])


@settings(max_examples=100, deadline=None)
@given(
    lost=st.sets(st.integers(0, END - 1)), unseen=st.sets(st.integers(0, END // 2)),
    ending=st.sampled_from([SUCCESS, FAILURE, TIMEOUT]), people=st.sets(st.integers(0, END - 1)),
    intervention=st.sampled_from(['replace', 'keep']), stride=st.sampled_from([2, 4]),
)  # fmt: skip
def test_any_part_of_the_log_gives_a_part_of_the_right_transitions(
    lost: set[int], unseen: set[int], ending: Ending, people: set[int], intervention: str, stride: int
) -> None:
    method = METHOD.model_copy(update={'intervention': intervention, 'stride': stride})
    seen, steps = log()
    steps |= {t: replace(steps[t], source=HUMAN) for t in people}
    whole = built(seen, steps, ending, method)
    some = built(
        {t: s for t, s in seen.items() if t // 2 not in unseen},
        {t: s for t, s in steps.items() if t not in lost},
        ending, method,
    )  # fmt: skip
    for tick, transition in some.items():
        # what a person did after a lost step is not in the next reference: nobody knows it
        reached = set(range(tick + C, tick + C + N + C)) if transition.discount else set()
        assert_same(transition, whole[tick], but=('next_reference',) if reached & lost & people else ())
