"""The hand-written backward pass against automatic differentiation of an independently written network."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rlt_ros.rl.networks import Networks, Sizes

torch.set_num_threads(1)
TOKEN, REST, CHUNK, OUTPUTS, HIDDEN, BATCH = 4, 2, 3, 3, 16, 11
SIZES = Sizes(TOKEN, REST, CHUNK)


def independent(weights: dict[str, Tensor], x: Tensor, members: int, layers: int, norm: bool) -> Tensor:
    """The same networks as ordinary linear layers, one after the other."""
    outputs = []
    for member in range(members):
        first = torch.cat([weights[name][member] for name in ('token', 'rest', 'chunk')])
        h = F.linear(x, first.T, weights['b0'][member, 0])
        for i in range(1, layers + 1):
            h = F.relu(F.layer_norm(h, [h.shape[-1]]) if norm else h)
            h = F.linear(h, weights[f'w{i}'][member].T, weights[f'b{i}'][member, 0])
        outputs.append(h)
    return torch.stack(outputs)


def made(members: int, layers: int, norm: bool, half: bool = False) -> Networks:
    torch.manual_seed(members * 10 + layers)
    networks = Networks(members, SIZES, OUTPUTS, HIDDEN, layers, norm, half)
    networks.weights.flat.add_(0.1 * torch.randn_like(networks.weights.flat))  # biases as well
    networks.weights.changed()
    return networks


@pytest.mark.parametrize('norm', [False, True], ids=['plain', 'norm'])
@pytest.mark.parametrize('members', [1, 2, 3])
@pytest.mark.parametrize('layers', [1, 2, 3])
def test_outputs_and_gradients(members: int, layers: int, norm: bool) -> None:
    networks = made(members, layers, norm)
    x, upstream = torch.randn(BATCH, SIZES.inputs, requires_grad=True), torch.randn(members, BATCH, OUTPUTS)
    weights = {name: value.clone().requires_grad_() for name, value in networks.weights.named.items()}
    expected = independent(weights, x, members, layers, norm)
    expected.backward(upstream)
    token, rest, chunk = x.detach().split([TOKEN, REST, CHUNK], 1)
    with torch.no_grad():
        sums = networks.sums(token, rest)
        kept_sums = sums.clone()
        outputs, saved = networks.forward(sums, chunk)
        at_sums = networks.backward(upstream, saved, (token, rest, chunk))
        torch.testing.assert_close(outputs, expected.detach())
        for name, gradient in networks.gradients.named.items():
            torch.testing.assert_close(gradient, weights[name].grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(networks.at_chunk(at_sums), x.grad[:, -CHUNK:], rtol=1e-4, atol=1e-5)
        assert (sums == kept_sums).all(), 'another forward pass may begin from the same sums'
        kept = networks.gradients.flat.clone()
        outputs, saved = networks.forward(sums, chunk)
        networks.backward(torch.ones_like(upstream), saved, None)
        assert (networks.gradients.flat == kept).all(), 'a gradient at the input alone leaves that of the weights'


@pytest.mark.parametrize('norm', [False, True], ids=['plain', 'norm'])
def test_half_precision_is_near_and_follows_the_weights(norm: bool) -> None:
    whole, half = made(2, 2, norm), made(2, 2, norm, half=True)
    assert (whole.weights.flat == half.weights.flat).all()
    token, rest, chunk = torch.randn(64, TOKEN), torch.randn(64, REST), torch.randn(64, CHUNK)
    upstream = torch.randn(2, 64, OUTPUTS)
    for _ in range(2):
        outputs = []
        for networks, z in ((whole, token), (half, token.bfloat16())):
            out, saved = networks.forward(networks.sums(z, rest), chunk)
            networks.backward(upstream, saved, (z, rest, chunk))
            outputs.append(out)
        assert 0 < (outputs[0] - outputs[1]).abs().max() < 0.05
        for name, gradient in whole.gradients.named.items():  # a unit that switches costs some
            assert torch.cosine_similarity(half.gradients[name].flatten(), gradient.flatten(), dim=0) > 0.95, name
        for networks in (whole, half):  # as after a step of the optimiser
            networks.weights.flat.mul_(-0.9)
            networks.weights.changed()
    copied = half.weights.copy()
    assert (copied.factor('token') == half.weights['token'].bfloat16()).all()
    copied.flat.zero_()
    assert half.weights.flat.any(), 'a copy has numbers of its own'
