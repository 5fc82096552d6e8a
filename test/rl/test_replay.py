"""Replay memory: what is kept, how batches are mixed, what is refused."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import METHOD, SIZES, A, C, S, Z, transition
import numpy as np
import pytest
import torch

from rlt_ros.config import Method, Shares
from rlt_ros.rl.actor_critic import Batch
from rlt_ros.rl.networks import Sizes
from rlt_ros.rl.replay import Replay
from rlt_ros.rl.transitions import Transition

KNOWN = {transition(n).action.tobytes(): transition(n) for n in range(60)}
NOBODY, PERSON = np.zeros(C, bool), np.array([False, True])


def small(capacity: int = 8, shares: Shares | None = None) -> Method:
    return METHOD.model_copy(update={'replay_capacity': capacity, 'shares': shares})


def numbers(batch: Batch, compared: int = 400) -> list[int]:
    """Which transitions a batch holds; every field of the first rows is compared."""
    found = []
    for i in range(len(batch.reward)):
        original = KNOWN[batch.action[i].numpy().tobytes()]
        expected = {
            'token': original.state[:Z], 'rest': original.state[Z:], 'reference': original.reference,
            'action': original.action, 'reward': original.reward, 'discount': original.discount,
            'next_token': original.next_state[:Z], 'next_rest': original.next_state[Z:],
            'next_reference': original.next_reference, 'executed': np.arange(C) < original.steps,
        }  # fmt: skip
        for name, value in expected.items() if i < compared else ():
            np.testing.assert_array_equal(getattr(batch, name)[i].numpy(), np.float32(value), err_msg=name)
        found.append(original.tick)
    return found


def test_ring_keeps_the_newest_and_samples_all_of_them_whole() -> None:
    replay = Replay(small(), SIZES)
    for number in range(19):
        replay.add(transition(number), 'online')
    assert len(replay) == 8 and replay.added == 19
    batch = replay.sample(400)
    found = numbers(batch)
    assert set(found) == set(range(11, 19))
    for number, human in zip(found, batch.human.numpy(), strict=True):
        np.testing.assert_array_equal(human, transition(number).human)


def test_tokens_in_half_precision_take_half_the_room_and_lose_digits_alone() -> None:
    methods = (small(), small().model_copy(update={'token_precision': 'bfloat16'}))
    whole, half = (Replay(method, SIZES) for method in methods)
    assert whole.row_bytes - half.row_bytes == 2 * Z * 2
    for number in range(8):
        for replay in (whole, half):
            replay.add(transition(number), 'online')
    a, b = whole.sample(50), half.sample(50)
    for name in vars(a):
        if 'token' in name:
            assert (getattr(b, name) == getattr(a, name).bfloat16()).all()
        else:
            assert (getattr(b, name) == getattr(a, name)).all(), name


@settings(max_examples=60, deadline=None, derandomize=True)  # so that it cannot fail by chance
@given(
    kinds=st.lists(st.sampled_from(['online', 'warmup', 'human']), min_size=1, max_size=40),
    capacity=st.integers(1, 12),
    parts=st.tuples(*[st.sampled_from([0.0, 1.0, 3.0])] * 3).filter(any),
)  # fmt: skip
def test_mixed_batches_against_a_plain_list(kinds: list[str], capacity: int, parts: tuple[float, ...]) -> None:
    shares = Shares(**dict(zip(('online', 'warmup', 'human'), np.array(parts) / sum(parts), strict=True)))
    replay = Replay(small(capacity, shares), SIZES)
    kept: list[tuple[int, str]] = []
    for number, kind in enumerate(kinds):
        human = PERSON if kind == 'human' else NOBODY
        replay.add(transition(number, human=human), 'warmup' if kind == 'human' else kind)
        kept = [*kept, (number, kind)][-capacity:]
    assert len(replay) == len(kept) and replay.added == len(kinds)
    weight = {kind: getattr(shares, kind) for kind in {kind for _, kind in kept}}
    if not any(weight.values()):
        weight = dict.fromkeys(weight, 1.0)  # none that is wanted is there: whatever there is
    total, size = sum(weight.values()), 500
    found = numbers(replay.sample(size), compared=20)
    for kind, part in weight.items():
        of_kind = [number for number, k in kept if k == kind]
        drawn = [number for number in found if number in of_kind]
        expected = size * part / total
        assert abs(len(drawn) - expected) <= 5 * (expected * (1 - part / total)) ** 0.5
        if expected > 100:
            each = [drawn.count(number) for number in of_kind]
            assert all(abs(count - np.mean(each)) <= 5.5 * np.mean(each) ** 0.5 for count in each), 'uniform in a kind'
    assert set(found) <= {number for number, _ in kept}


def test_states_and_executed_chunks_have_fresh_noise_and_nothing_else_has() -> None:
    method = METHOD.model_copy(update={'token_noise': 0.5, 'rest_noise': 0.1, 'action_noise': 0.2})
    plain, noisy = (Replay(chosen, SIZES) for chosen in (METHOD, method))
    for made in (plain, noisy):
        made.add(transition(0), 'online')
    exact, first, second = plain.sample(4000), noisy.sample(4000), noisy.sample(4000)
    for name, sigma in (('token', 0.5), ('next_token', 0.5), ('rest', 0.1), ('next_rest', 0.1), ('action', 0.2)):
        for some in (first, second):
            noise = getattr(some, name) - getattr(exact, name)
            assert abs(noise.std() / sigma - 1) < 0.03 and abs(noise.mean()) < 0.03 * sigma
        assert not torch.equal(getattr(first, name), getattr(second, name))
    for name in ('reference', 'reward', 'discount', 'next_reference', 'executed', 'human'):
        assert torch.equal(getattr(first, name), getattr(exact, name))


def test_without_shares_all_that_is_kept_is_drawn_alike() -> None:
    replay = Replay(small(10), SIZES)
    for number in range(10):
        replay.add(transition(number), 'warmup' if number < 9 else 'online')
    counts = np.bincount(numbers(replay.sample(2000)), minlength=10)
    assert (np.abs(counts - 200) < 5 * 200**0.5).all()


@pytest.mark.parametrize('shares', [None, Shares(online=0.4, warmup=0.3, human=0.3)])
def test_a_seed_decides_the_batches_and_each_is_another(shares: Shares | None) -> None:
    drawn = []
    for seed in (0, 0, 1):
        replay = Replay(small(40, shares), SIZES, seed)
        for number in range(40):
            replay.add(transition(number), 'online' if number > 20 else 'warmup')
        torch.rand(seed + 2)  # whatever else draws random numbers
        drawn.append([numbers(replay.sample(16)) for _ in range(3)])
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0][0] != drawn[0][1] != drawn[0][2]


def wrong(field: str, value: float) -> Callable[[Transition], Transition]:
    def change(good: Transition) -> Transition:
        array = getattr(good, field)
        if isinstance(array, float):
            return replace(good, **{field: value})
        array = array.copy()
        array[-1] = value
        return replace(good, **{field: array})

    return change


ARRAYS = ('state', 'reference', 'action', 'next_state', 'next_reference')
WRONG = [
    *[wrong(name, value) for name in (*ARRAYS, 'reward', 'discount') for value in (np.nan, np.inf, -np.inf)],
    lambda good: replace(good, state=np.float32([np.nan, *good.state[1:]])),  # in the token
    *[lambda good, name=name: replace(good, **{name: getattr(good, name)[:-1]}) for name in ARRAYS],
    *[lambda good, name=name: replace(good, **{name: np.append(getattr(good, name), 0)}) for name in ARRAYS],
    lambda good: replace(good, human=np.zeros(C + 1, bool)),
]  # fmt: skip
MISFITS = [
    # one part is too long by what another is too short
    lambda good: replace(good, reference=good.reference[:-1], action=np.append(good.action, 0)),
    lambda good: replace(good, state=good.state[:-1], next_state=np.append(good.next_state, 0)),
    lambda good: replace(good, state=good.state[:-1], reference=np.append(good.reference, 0)),
    lambda good: replace(good, token=Z - 1),  # another encoder
]


@pytest.mark.parametrize('full', [False, True], ids=['filling', 'full'])
def test_what_is_wrong_is_refused_and_changes_nothing(full: bool) -> None:
    replay = Replay(small(4, Shares(online=0.5, warmup=0.5, human=0)), SIZES)
    for number in range(9 if full else 2):
        replay.add(transition(number), 'online' if number % 2 else 'warmup')
    state, added = replay.random.get_state(), replay.added
    before = numbers(replay.sample(50))
    refused = [(change(transition(10)), 'online') for change in [*WRONG, *MISFITS]]
    for bad, mode in [*refused, (transition(10), 'evaluation'), (transition(10), '')]:
        with pytest.raises(ValueError):
            replay.add(bad, mode)
        replay.random.set_state(state)
        assert replay.added == added and numbers(replay.sample(50)) == before
    replay.add(transition(12), 'online')
    assert 12 in numbers(replay.sample(100))


def test_sizes_are_those_of_the_method() -> None:
    replay = Replay(METHOD, Sizes(Z, S - Z, A))
    assert replay.capacity == METHOD.replay_capacity and replay.row_bytes == 4 * (2 * S + 3 * A + 2 * C + 2)
