"""Update budget, what is done about networks that went wrong, and exact resumption."""

from collections.abc import Callable
import hashlib
from pathlib import Path
import re

from made_up import METHOD, SIZES, A, R, S, Z, transition
import numpy as np
import pytest
import torch

from rlt_ros.config import Shares
from rlt_ros.errors import UserError
from rlt_ros.rl import checkpoint
from rlt_ros.rl.learner import Learner, sizes_of
from rlt_ros.rl.networks import Sizes
from rlt_ros.rl.policy import unpack

METHOD = METHOD.model_copy(
    update={'batch': 8, 'first_updates': 10, 'updates_per_transition': 2.5, 'critic_updates_per_actor_update': 2}
)


def fed(count: int = 30, seed: int = 5, **changes: object) -> Learner:
    """Has been shown transitions, the first ten of them in the warm-up."""
    learner = Learner(METHOD.model_copy(update=changes), SIZES, seed)
    for number in range(count):
        learner.add(transition(number), 'warmup' if number < 10 else 'online')
        if number == 9:
            learner.begin()
    return learner


def updated(learner: Learner, updates: int) -> Learner:
    for _ in range(updates):
        learner.update()
    return learner


def assert_same(one: Learner, other: Learner) -> None:
    for name, value in one.agent.tensors().items():
        assert (value == other.agent.tensors()[name]).all(), name
    assert one.counters() == other.counters()


def test_updates_are_allowed_by_transitions_since_the_warm_up() -> None:
    learner = Learner(METHOD, SIZES)
    for number in range(20):
        learner.add(transition(number), 'warmup')
    assert learner.budget == 0, 'not before learning begins'
    learner.begin()
    assert learner.budget == 10 and not learner.ready
    while learner.budget > 0:
        learner.update()
    assert learner.agent.updates == 10 and learner.ready
    learner.add(transition(20), 'online')
    assert learner.budget == 2
    learner.add(transition(21), 'online')
    assert learner.budget == 5
    too_few = Learner(METHOD, SIZES)
    too_few.begin()
    for number in range(7):
        too_few.add(transition(number), 'online')
    assert too_few.budget == 0, 'less than a batch'


def test_budget_counts_what_was_added_not_what_is_kept() -> None:
    learner = fed(60, replay_capacity=20)
    assert len(learner.replay) == 20
    assert learner.budget == 10 + int(50 * 2.5)


def test_what_is_published_is_the_actor_as_it_is_now() -> None:
    learner = updated(fed(), 20)
    assert sizes_of(transition(0)) == SIZES == Sizes(Z, R, A)
    state, reference = transition(1).state, transition(1).reference
    for version in (1, 2):
        published = learner.publish()
        assert published.version == learner.version == version
        assert published.sha256 == hashlib.sha256(published.weights).hexdigest()
        policy = unpack(published.weights, version, published.sha256, S, A)
        token, rest = torch.from_numpy(state[None]).split([Z, R], 1)
        mean = learner.agent.mean(token, rest, torch.from_numpy(reference[None]))[0][0]
        np.testing.assert_allclose(policy.mean(state, reference), mean, atol=1e-5)
        assert np.abs(policy.mean(state, reference) - reference).max() > 1e-4
        updated(learner, 10)


def test_a_version_that_has_driven_is_not_given_out_again() -> None:
    learner = updated(fed(), 20)
    assert [learner.publish(after).version for after in (0, 40, 40, 0)] == [1, 41, 42, 43]


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_predictions_are_the_smaller_q_of_what_was_done(precision: str) -> None:
    learner = updated(fed(token_precision=precision), 20)
    made = [transition(number) for number in range(5)]
    batch = torch.from_numpy(np.stack([t.state for t in made]))
    token = batch[:, :Z].to(torch.bfloat16 if precision == 'bfloat16' else torch.float32)
    q = learner.agent.values(token, batch[:, Z:], torch.from_numpy(np.stack([t.action for t in made])))
    assert (learner.predicted(made) == torch.minimum(q[0], q[1]).numpy()).all()
    assert (q[0] != q[1]).all()


def poison(name: str, value: float) -> Callable[[Learner], None]:
    def poisoned(learner: Learner) -> None:
        learner.agent.tensors()[name].view(-1)[[0, -1]] = value
        learner.agent.weights_changed()

    return poisoned


def explode(learner: Learner) -> None:
    for sign, weights in enumerate((learner.agent.critics.weights, learner.agent.target)):
        weights[f'b{METHOD.layers}'].fill_(50.0 - 100 * sign)


def sink(learner: Learner) -> None:
    learner.agent.critics.weights[f'b{METHOD.layers}'].fill_(-50.0)


@pytest.mark.fault('diverged', 'back to the last good networks, nothing is published')
@pytest.mark.parametrize(('damage', 'says'), [
    *[(poison(name, value), f'{name} is not finite') for value in (np.nan, np.inf) for name in
      ('actor', 'critics', 'target', 'actor.first', 'critics.second', 'actor.steps')],
    (explode, r'Q is \d\d'), (sink, r'Q is -\d\d'),
])  # fmt: skip
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_networks_that_went_wrong_are_put_back_and_learn_on(
    damage: Callable[[Learner], None], says: str, precision: str
) -> None:
    learner = updated(fed(token_precision=precision), 50)
    assert learner.check() == '' and learner.recoveries == 0
    sound = {name: value.clone() for name, value in learner.agent.tensors().items()}
    damage(learner)
    if says.startswith('Q'):
        updated(learner, 1)  # the 51st reports Q
    assert re.search(says, learner.check())
    for name, value in learner.agent.tensors().items():
        assert (value == sound[name]).all(), name
    assert learner.recoveries == 1 and learner.agent.updates in (50, 51)
    assert learner.check() == '', 'what was wrong is forgotten'
    updated(learner, 60)
    assert learner.check() == '' and learner.recoveries == 1
    policy = learner.publish()
    unpack(policy.weights, 1, policy.sha256, S, A)  # refuses what is not finite
    assert (learner.agent.actor.weights.flat != sound['actor']).any()
    assert abs(learner.agent.statistics['q_mean']) < 2
    # what it remembers is the newest that was sound, not the first
    later = learner.agent.actor.weights.flat.clone()
    damage(learner)
    if says.startswith('Q'):
        learner.update()
        while learner.agent.updates % 25 != 1:
            learner.update()
    assert learner.check() and (learner.agent.actor.weights.flat == later).all()


def test_after_a_recovery_new_batches_are_drawn() -> None:
    learner = updated(fed(), 50)
    learner.check()
    state = learner.replay.random.get_state()
    updated(learner, 3)
    poison('actor', np.nan)(learner)
    learner.check()
    assert (learner.replay.random.get_state() != state).any() and learner.agent.updates == 53


def test_half_precision_learns_end_to_end() -> None:
    whole, half = (updated(fed(200, token_precision=p), 200) for p in ('float32', 'bfloat16'))
    assert half.replay.tokens.dtype == torch.bfloat16 and half.check() == ''
    made = [transition(number) for number in range(200)]
    q = [learner.predicted(made) for learner in (whole, half)]
    assert np.isfinite(q[1]).all() and 0 < np.abs(q[0] - q[1]).mean() < 1e-2
    for name, value in whole.agent.statistics.items():
        assert half.agent.statistics[name] == pytest.approx(value, abs=1e-2), name


def test_a_robot_without_a_token_learns_too() -> None:
    learner = Learner(METHOD, Sizes(0, S, A))
    for number in range(20):
        learner.add(transition(number, token=0), 'online')
    updated(learner, 20)
    assert learner.check() == '' and np.isfinite(learner.predicted([transition(1, token=0)])).all()
    data = learner.publish()
    assert unpack(data.weights, 1, data.sha256, S, A).layers[0][0].shape[0] == S + A


@pytest.mark.parametrize('changes', [
    {}, {'token_precision': 'bfloat16'}, {'shares': Shares(online=0.5, warmup=0.4, human=0.1)}
], ids=['plain', 'half', 'mixed'])  # fmt: skip
@pytest.mark.parametrize('before', [0, 1, 7])
def test_resuming_from_a_checkpoint_is_as_if_nothing_had_happened(
    tmp_path: Path, before: int, changes: dict
) -> None:
    whole = updated(fed(**changes), before + 6)
    first = updated(fed(**changes), before)
    whole.version = first.version = 3
    path = tmp_path / 'new' / 'learner.safetensors'
    checkpoint.write(path, first)
    resumed = fed(seed=77, **changes)
    checkpoint.read(path, resumed)
    assert (resumed.version, resumed.learning, resumed.budget) == (3, True, first.budget)
    assert_same(updated(resumed, 6), whole)
    assert [file.name for file in path.parent.iterdir()] == [path.name], 'nothing is left beside it'


@pytest.mark.fault('burst', 'what was learned is not learned again')
def test_a_restart_gives_no_burst_of_updates(tmp_path: Path) -> None:
    """The journal gives the transitions, the checkpoint says how many of them were of the warm-up."""
    path, learner = tmp_path / 'learner.safetensors', fed(40)
    while learner.budget > 4:
        learner.update()
    checkpoint.write(path, learner)
    for begins in (False, True):
        restored = Learner(METHOD, SIZES, 1)
        for number in range(40):
            restored.add(transition(number), 'warmup' if number < 10 else 'online')
        if begins:
            restored.begin()
        checkpoint.read(path, restored)
        assert restored.budget == learner.budget == 4 and restored.learning
        assert restored.counters() == learner.counters()


def test_after_a_resumption_the_resumed_networks_are_the_sound_ones(tmp_path: Path) -> None:
    path, learner = tmp_path / 'learner.safetensors', updated(fed(), 30)
    checkpoint.write(path, learner)
    resumed = fed()
    checkpoint.read(path, resumed)
    poison('critics', np.nan)(resumed)
    assert resumed.check()
    assert_same(resumed, learner)


@pytest.mark.fault('checkpoint', 'refused, by a hash over everything')
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / 'learner.safetensors'
    checkpoint.write(path, updated(fed(), 3))
    data = path.read_bytes()
    learner = Learner(METHOD, SIZES)
    untouched = {name: value.clone() for name, value in learner.agent.tensors().items()}
    header = int.from_bytes(data[:8], 'little') + 8
    cut = [b'', b'nonsense', data[:9], data[: len(data) // 2], data[:-1], b'\xff' * 8 + data[8:]]
    flipped = [
        data[:at] + bytes([data[at] ^ 0x11]) + data[at + 1 :]
        for at in [*range(0, header, 3), *range(header, len(data), 997), len(data) - 1]
    ]
    for damaged in (*cut, *flipped):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match='is damaged|other network sizes') as error:
            checkpoint.read(path, learner)
        assert '\n' not in str(error.value)
    for name, value in learner.agent.tensors().items():
        assert (value == untouched[name]).all(), 'nothing was changed'
    assert learner.counters() == Learner(METHOD, SIZES).counters()
    path.write_bytes(data)
    with pytest.raises(checkpoint.OtherSizes, match='other network sizes'):
        checkpoint.read(path, Learner(METHOD, Sizes(Z, R + 1, A)))
    with pytest.raises(checkpoint.OtherSizes, match='other network sizes'):
        checkpoint.read_newest(path, Learner(METHOD, Sizes(Z, R + 1, A)))
    with pytest.raises(UserError):
        checkpoint.read(tmp_path / 'none.safetensors', Learner(METHOD, SIZES))


@pytest.mark.fault('checkpoint', 'the one before is taken')
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    path, learner = tmp_path / 'learner.safetensors', fed()
    states = []
    for _ in range(3):
        updated(learner, 4)
        states.append({name: value.clone() for name, value in learner.agent.tensors().items()})
        checkpoint.write(path, learner)

    def restored() -> tuple[Learner, str]:
        made = fed(seed=9)
        return made, checkpoint.read_newest(path, made)

    made, complaint = restored()
    assert made.agent.updates == 12 and complaint == ''
    good, cut = path.read_bytes(), len(path.read_bytes()) // 2
    path.write_bytes(good[:cut] + bytes([good[cut] ^ 1]) + good[cut + 1 :])
    made, complaint = restored()
    assert made.agent.updates == 8 and 'learner.safetensors is damaged' in complaint
    for name, value in made.agent.tensors().items():
        assert (value == states[1][name]).all(), name
    path.unlink()  # killed between the two renames
    assert (restored()[0].agent.updates, restored()[1]) == (8, '')
    checkpoint.previous(path).write_bytes(b'?')
    path.write_bytes(b'?')
    made, complaint = restored()
    assert made.agent.updates == 0 and complaint.count('is damaged') == 2
    for file in (path, checkpoint.previous(path)):
        file.unlink()
    assert restored()[1] == '', 'there was none'


@pytest.mark.fault('checkpoint', 'a write that fails at any step leaves a whole one')
def test_a_failed_write_leaves_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'file'
    checkpoint.replace(path, b'first')

    def full(descriptor: int) -> None:
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch, pytest.raises(OSError, match='space'):
        patch.setattr('os.fsync', full)
        checkpoint.replace(path, b'second')
    assert path.read_bytes() == b'first'
    checkpoint.replace(path, b'third')
    assert path.read_bytes() == b'third'
    path, learner = tmp_path / 'learner.safetensors', updated(fed(), 3)
    checkpoint.write(path, learner)
    with monkeypatch.context() as patch, pytest.raises(OSError, match='space'):
        patch.setattr('os.fsync', full)
        checkpoint.write(path, updated(learner, 1))
    resumed = fed()
    assert checkpoint.read_newest(path, resumed) == '' and resumed.agent.updates == 3
