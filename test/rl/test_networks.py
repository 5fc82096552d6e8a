"""The hand-written backward pass against automatic differentiation of an independently written network."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rlt_ros.rl.networks import Networks

torch.set_num_threads(1)
INPUTS, OUTPUTS, HIDDEN, BATCH = 7, 3, 16, 11


def independent(weights: dict[str, Tensor], x: Tensor, members: int, layers: int, norm: bool) -> Tensor:
    """The same networks as ordinary linear layers, one after the other."""
    outputs = []
    for member in range(members):
        part = slice(member * HIDDEN, (member + 1) * HIDDEN)
        h = F.linear(x, weights['w0'][:, part].T, weights['b0'][part])
        for i in range(1, layers + 1):
            h = F.relu(F.layer_norm(h, [HIDDEN]) if norm else h)
            h = F.linear(h, weights[f'w{i}'][member].T, weights[f'b{i}'][member, 0])
        outputs.append(h)
    return torch.stack(outputs)


@pytest.mark.parametrize('norm', [False, True], ids=['plain', 'norm'])
@pytest.mark.parametrize('members', [1, 2, 3])
@pytest.mark.parametrize('layers', [1, 2, 3])
def test_outputs_and_gradients(members: int, layers: int, norm: bool) -> None:
    torch.manual_seed(members * 10 + layers)
    networks = Networks(members, INPUTS, OUTPUTS, HIDDEN, layers, norm)
    networks.flat.add_(0.1 * torch.randn_like(networks.flat))  # biases as well
    x, upstream = torch.randn(BATCH, INPUTS, requires_grad=True), torch.randn(members, BATCH, OUTPUTS)
    weights = {name: value.clone().requires_grad_() for name, value in networks.weights.items()}
    expected = independent(weights, x, members, layers, norm)
    expected.backward(upstream)
    with torch.no_grad():
        outputs, saved = networks.forward(x)
        at_sums = networks.backward(upstream, saved, into_weights=True)
        torch.testing.assert_close(outputs, expected.detach())
        for name, gradient in networks.gradients.items():
            torch.testing.assert_close(gradient, weights[name].grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(at_sums @ networks.weights['w0'].T, x.grad, rtol=1e-4, atol=1e-5)
        kept = networks.gradient.clone()
        outputs, saved = networks.forward(x)
        networks.backward(torch.ones_like(upstream), saved, into_weights=False)
        assert (networks.gradient == kept).all(), 'a gradient at the input alone leaves that of the weights'
