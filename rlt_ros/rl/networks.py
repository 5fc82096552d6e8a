"""Small multilayer perceptrons with hand-written gradients: one flat parameter vector, several members in one product.

On a CPU the overhead of automatic differentiation over many small tensors costs as much as the arithmetic; these
networks have two or three layers and never change, so their backward pass is written out. A test holds it against
autograd.
"""

import math

import torch
from torch import Tensor

layer_norm = torch.ops.aten.native_layer_norm
layer_norm_backward = torch.ops.aten.native_layer_norm_backward


class Networks:
    """n members of shape inputs -> hidden x layers (ReLU) -> outputs, which share their input.

    norm: LayerNorm without scale and shift before each ReLU. `flat` holds all parameters, `gradient` their gradient.
    """

    def __init__(self, members: int, inputs: int, outputs: int, hidden: int, layers: int, norm: bool):
        self.members, self.inputs, self.outputs = members, inputs, outputs
        self.hidden, self.layers, self.norm = hidden, layers, norm
        n, h = members, hidden
        self.shapes = {'w0': (inputs, n * h), 'b0': (n * h,)}
        for i in range(1, layers):
            self.shapes |= {f'w{i}': (n, h, h), f'b{i}': (n, 1, h)}
        self.shapes |= {f'w{layers}': (n, h, outputs), f'b{layers}': (n, 1, outputs)}
        size = sum(math.prod(shape) for shape in self.shapes.values())
        self.flat, self.gradient = torch.zeros(size), torch.zeros(size)
        self.weights, self.gradients = self.views(self.flat), self.views(self.gradient)
        for i in range(layers + 1):
            bound = (inputs if i == 0 else hidden) ** -0.5
            self.weights[f'w{i}'].uniform_(-bound, bound)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Named views of a flat vector."""
        views, start = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            views[name] = flat[start : start + size].view(shape)
            start += size
        return views

    def forward(self, x: Tensor, weights: dict[str, Tensor] | None = None) -> tuple[Tensor, list]:
        """Outputs (members, B, outputs) for x (B, inputs), and what the backward pass needs."""
        w = self.weights if weights is None else weights
        batch, saved = len(x), []
        u = torch.addmm(w['b0'], x, w['w0']).view(batch, self.members, self.hidden)
        for i in range(self.layers):
            if i > 0:
                u = torch.baddbmm(w[f'b{i}'], h, w[f'w{i}'])  # noqa: F821 (h is the previous layer)
            statistics = None
            a = u
            if self.norm:
                a, *statistics = layer_norm(u, [self.hidden], None, None, 1e-5)
            a = a.relu_()
            h = a.transpose(0, 1) if i == 0 else a  # (members, B, hidden)
            saved.append((u, statistics, a, h))
        return torch.baddbmm(w[f'b{self.layers}'], h, w[f'w{self.layers}']), [x, *saved]

    def backward(self, upstream: Tensor, saved: list, into_weights: bool) -> Tensor:
        """Gradient at the first layer's sums (B, members * hidden), from d loss / d outputs (members, B, outputs).

        Writes `gradient` if into_weights. Multiply by `weights['w0'].T` for the gradient at the input.
        """
        x, *layers = saved
        g = upstream
        for i in range(self.layers, 0, -1):
            u, statistics, a, h = layers[i - 1]
            if into_weights:
                torch.bmm(h.transpose(1, 2), g, out=self.gradients[f'w{i}'])
                torch.sum(g, 1, keepdim=True, out=self.gradients[f'b{i}'])
            g = torch.bmm(g, self.weights[f'w{i}'].transpose(1, 2))
            if i == 1:
                g = g.transpose(0, 1).contiguous()  # (B, members, hidden), as the first layer computed
            g *= a > 0
            if self.norm:
                g = layer_norm_backward(g, u, [self.hidden], *statistics, None, None, [True, False, False])[0]
        g = g.reshape(len(x), self.members * self.hidden)
        if into_weights:
            torch.mm(x.t(), g, out=self.gradients['w0'])
            torch.sum(g, 0, out=self.gradients['b0'])
        return g
