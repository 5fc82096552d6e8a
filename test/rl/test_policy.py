"""The robot side runs the learner's actor exactly, and nothing that is not one."""

import hashlib

import numpy as np
import pytest
from safetensors.numpy import load
from safetensors.torch import save
import torch

from rlt_ros.config import Method
from rlt_ros.rl.learner import Learner
from rlt_ros.rl.networks import Sizes
from rlt_ros.rl.policy import Policy, pack, unpack

torch.set_num_threads(1)
Z, S, A = 4, 6, 8


def learner(layers: int = 2) -> Learner:
    made = Learner(Method(name='test', hidden=16, layers=layers), Sizes(Z, S - Z, A))
    flat = made.agent.actor.weights.flat
    flat.copy_(0.3 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(0)))
    return made


def opened(data: bytes, state_size: int = S) -> Policy:
    return unpack(data, 1, hashlib.sha256(data).hexdigest(), state_size, A)


@pytest.mark.parametrize('layers', [1, 2, 3])
def test_numpy_policy_equals_the_learners(layers: int) -> None:
    made = learner(layers)
    version = made.publish()
    policy = unpack(version.weights, version.version, version.sha256, S, A)
    state, reference = np.random.default_rng(0).standard_normal((2, 20, A)).astype(np.float32)
    token, rest = torch.from_numpy(state[:, :S]).split([Z, S - Z], 1)
    expected = made.agent.mean(token, rest, torch.from_numpy(reference))[0]
    actual = [policy.mean(x[:S], r) for x, r in zip(state, reference, strict=True)]
    np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-5, atol=1e-5)
    assert policy.version == 1 and made.publish().version == 2


@pytest.mark.fault('policy', 'refused, the last good actor goes on')
def test_a_damaged_message_is_refused() -> None:
    version = learner().publish()
    for at in np.random.default_rng(0).integers(0, len(version.weights), 50):
        damaged = bytearray(version.weights)
        damaged[at] ^= 1 << (at % 8)
        with pytest.raises(ValueError, match='damaged'):
            unpack(bytes(damaged), 1, version.sha256, S, A)


@pytest.mark.fault('policy', 'refused by its shapes')
def test_weights_of_another_kind_are_refused_although_their_hash_fits() -> None:
    data = learner().packed()
    weights = load(data)
    with pytest.raises(ValueError, match='shapes do not fit state size 7'):
        opened(data, state_size=S + 1)
    with pytest.raises(ValueError, match='finite'):
        opened(pack(weights | {'b1': weights['b1'] * np.nan}, 1))
    with pytest.raises(ValueError, match='no safetensors'):
        opened(b'something else altogether')
    with pytest.raises(ValueError):
        opened(data[:-4])
    with pytest.raises(ValueError):
        opened(b'')
    # a wrong byte in header or content, with a hash that fits: refused or a policy, never a crash
    for broken in range(8, len(data), 7):
        damaged = bytearray(data)
        damaged[broken] ^= 0x41
        try:
            assert opened(bytes(damaged)).mean(np.zeros(S, np.float32), np.zeros(A, np.float32)).shape == (A,)
        except ValueError:
            pass


def test_biases_and_layers_must_have_their_shape() -> None:
    good = {'w0': torch.zeros(S + A, 4), 'b0': torch.zeros(4), 'w1': torch.zeros(4, A), 'b1': torch.zeros(A)}
    as_bytes = lambda **changes: save(good | changes)  # noqa: E731
    assert (opened(as_bytes()).mean(np.ones(S), np.ones(A)) == 1).all()
    for changes in (
        {'b0': torch.zeros(4, 1)},
        {'b1': torch.zeros(())},
        {'w1': torch.zeros(5, A)},
        {'w1': torch.zeros(4)},
        {'b0': torch.zeros(4, dtype=torch.bfloat16)},
    ):
        with pytest.raises(ValueError):
            opened(as_bytes(**changes))
    del good['b0']
    with pytest.raises(ValueError):
        opened(as_bytes())
