"""Replay memory, update budget and exact resumption."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from rlt_ros.config import Method
from rlt_ros.errors import UserError
from rlt_ros.rl import checkpoint
from rlt_ros.rl.learner import Learner
from rlt_ros.rl.replay import Replay
from rlt_ros.rl.transitions import Transition

torch.set_num_threads(1)
S, A = 5, 4
METHOD = Method(name='test', hidden=16, batch=8, first_updates=10, updates_per_transition=2.5, replay_capacity=1000)


@pytest.fixture(autouse=True)
def _denormal_numbers() -> Iterator[None]:
    """Learning flushes denormal numbers to zero in the whole process; other tests need them."""
    yield
    torch.set_flush_denormal(False)


def transition(number: int) -> Transition:
    random = np.random.default_rng(number)
    arrays = {name: random.standard_normal(size, dtype=np.float32) for name, size in
              (('state', S), ('reference', A), ('action', A), ('next_state', S), ('next_reference', A))}  # fmt: skip
    return Transition(
        **arrays, reward=float(number % 3 == 0), discount=0.9, steps=4, human_steps=0, policy_version=1, tick=number
    )


def test_ring_keeps_the_newest_and_samples_all_of_them_whole() -> None:
    replay = Replay(8, S, A)
    for number in range(19):
        replay.add(transition(number))
    assert len(replay) == 8 and replay.added == 19
    batch = replay.sample(400)
    kept = {transition(n).state.tobytes(): transition(n) for n in range(11, 19)}
    found = set()
    for i in range(400):
        original = kept[batch.state[i].numpy().tobytes()]
        found.add(original.tick)
        for name in ('reference', 'action', 'next_state', 'next_reference', 'reward', 'discount'):
            np.testing.assert_array_equal(getattr(batch, name)[i].numpy(), np.float32(getattr(original, name)))
    assert found == set(range(11, 19))


def test_updates_are_allowed_by_transitions_since_the_warm_up() -> None:
    learner = Learner(METHOD, S, A)
    for number in range(20):
        learner.add(transition(number))
    assert learner.budget == 0, 'not before learning begins'
    learner.begin()
    assert learner.budget == 10 and not learner.ready
    while learner.budget > 0:
        learner.update()
    assert learner.agent.updates == 10 and learner.ready
    learner.add(transition(20))
    assert learner.budget == 2
    learner.add(transition(21))
    assert learner.budget == 5
    too_few = Learner(METHOD, S, A)
    too_few.begin()
    for number in range(7):
        too_few.add(transition(number))
    assert too_few.budget == 0, 'less than a batch'


def learner_after(updates: int) -> Learner:
    learner = Learner(METHOD, S, A, seed=5)
    for number in range(30):
        learner.add(transition(number))
    learner.begin()
    for _ in range(updates):
        learner.update()
    return learner


@pytest.mark.parametrize('before', [0, 1, 7])
def test_resuming_from_a_checkpoint_is_as_if_nothing_had_happened(tmp_path: Path, before: int) -> None:
    whole = learner_after(before + 6)
    first = learner_after(before)
    first.version = 3
    path = tmp_path / 'new' / 'learner.safetensors'
    checkpoint.write(path, first)
    resumed = Learner(METHOD, S, A, seed=77)
    for number in range(30):
        resumed.add(transition(number))
    checkpoint.read(path, resumed)
    assert (resumed.version, resumed.learning, resumed.budget) == (3, True, first.budget)
    for _ in range(6):
        resumed.update()
    for name in ('actor', 'critics'):
        assert (getattr(resumed.agent, name).flat == getattr(whole.agent, name).flat).all()
    assert (resumed.agent.target == whole.agent.target).all()
    assert resumed.agent.updates == whole.agent.updates
    assert [file.name for file in path.parent.iterdir()] == [path.name], 'nothing is left beside it'


def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / 'learner.safetensors'
    checkpoint.write(path, learner_after(3))
    data = path.read_bytes()
    for damaged in (b'', b'nonsense', data[:9], data[: len(data) // 2], data[:-1], b'\xff' * 8 + data[8:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match='is damaged') as error:
            checkpoint.read(path, Learner(METHOD, S, A))
        assert '\n' not in str(error.value)
    header = int.from_bytes(data[:8], 'little') + 8
    for at in [
        *range(0, header, 3),
        *range(header, len(data), 997),
    ]:  # one wrong byte: refused or loaded, never a crash
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x11]) + data[at + 1 :])
        try:
            checkpoint.read(path, Learner(METHOD, S, A))
        except UserError:
            pass
    path.write_bytes(data)
    with pytest.raises(UserError, match='other network sizes'):
        checkpoint.read(path, Learner(METHOD, S + 1, A))
    with pytest.raises(UserError):
        checkpoint.read(tmp_path / 'none.safetensors', Learner(METHOD, S, A))


def test_a_failed_write_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
