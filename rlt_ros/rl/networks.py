"""Small multilayer perceptrons with hand-written gradients: one flat parameter vector, several members in one product.

On a CPU the overhead of automatic differentiation over many small tensors costs as much as the arithmetic; these
networks have two or three layers and never change, so their backward pass is written out. A test holds it against
autograd. The first layer is split by what it reads, so that actor and critics share what does not depend on the action.
"""

from dataclasses import dataclass
import math

import torch
from torch import Tensor

layer_norm = torch.ops.aten.native_layer_norm
layer_norm_backward = torch.ops.aten.native_layer_norm_backward
relu_backward = torch.ops.aten.threshold_backward


@dataclass(frozen=True)
class Sizes:
    """What the networks read: z_rl, the rest of the state (proprioception, committed commands), a chunk C x D."""

    token: int
    rest: int
    chunk: int

    @property
    def state(self) -> int:
        return self.token + self.rest

    @property
    def inputs(self) -> int:
        return self.state + self.chunk


class Weights:
    """Parameters in one flat vector, by name; matrices named in `in_half` in bfloat16 besides."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], in_half: tuple[str, ...] = ()):
        self.shapes = shapes
        self.flat = torch.zeros(sum(math.prod(shape) for shape in shapes.values()))
        self.named: dict[str, Tensor] = {}
        start = 0
        for name, shape in shapes.items():
            size = math.prod(shape)
            self.named[name] = self.flat[start : start + size].view(shape)
            start += size
        self.half = {name: self.named[name].bfloat16() for name in in_half}

    def __getitem__(self, name: str) -> Tensor:
        return self.named[name]

    def factor(self, name: str) -> Tensor:
        """A matrix in the precision in which it is multiplied."""
        return self.half.get(name, self.named[name])

    def changed(self) -> None:
        """To be called after every change of `flat`."""
        for name, copy in self.half.items():
            copy.copy_(self.named[name])

    def copy(self) -> 'Weights':
        """Parameters of their own with the same values."""
        other = Weights(self.shapes, tuple(self.half))
        other.flat.copy_(self.flat)
        other.changed()
        return other


class Networks:
    """n members of shape inputs -> hidden x layers (ReLU) -> outputs, which share their input.

    norm: LayerNorm without scale and shift before each ReLU. half: the largest products in bfloat16; what depends on
    the action alone, and all sums, stay float32.
    """

    def __init__(self, members: int, sizes: Sizes, outputs: int, hidden: int, layers: int, norm: bool, half: bool):
        self.members, self.hidden, self.layers, self.norm = members, hidden, layers, norm
        n, h = members, hidden
        shapes = {'token': (n, sizes.token, h), 'rest': (n, sizes.rest, h), 'chunk': (n, sizes.chunk, h)}
        for i in range(layers):
            shapes |= {f'w{i}': (n, h, h), f'b{i}': (n, 1, h)} if i else {'b0': (n, 1, h)}
        shapes |= {f'w{layers}': (n, h, outputs), f'b{layers}': (n, 1, outputs)}
        in_half = ('token', *(f'w{i}' for i in range(1, layers))) if half else ()
        self.weights, self.gradients = Weights(shapes, in_half), Weights(shapes)
        for name, value in self.weights.named.items():
            bound = (sizes.inputs if name in ('token', 'rest', 'chunk', 'b0') else hidden) ** -0.5
            value.uniform_(-bound, bound)
        self.weights.changed()

    def sums(self, token: Tensor, rest: Tensor, weights: Weights | None = None) -> Tensor:
        """What the state (B, Z) and (B, R) adds to the first layer, (members, B, hidden)."""
        w = weights or self.weights
        out = torch.empty(self.members, len(rest), self.hidden)
        for i in range(self.members):
            torch.addmm(w['b0'][i], rest, w['rest'][i], out=out[i])
            out[i] += token @ w.factor('token')[i]
        return out

    def forward(self, sums: Tensor, chunk: Tensor, weights: Weights | None = None) -> tuple[Tensor, list]:
        """Outputs (members, B, outputs) for sums of a state and a chunk (B, C * D), and what `backward` needs."""
        w = weights or self.weights
        saved = []
        u = torch.empty_like(sums)
        for i in range(self.members):
            torch.addmm(sums[i], chunk, w['chunk'][i], out=u[i])
        for i in range(1, self.layers + 1):
            h, statistics = u, None
            if self.norm:
                h, *statistics = layer_norm(u, [self.hidden], None, None, 1e-5)
            h, factor = h.relu_(), w.factor(f'w{i}')
            left = h.to(factor.dtype)
            saved.append((u, statistics, h, left))
            u = torch.bmm(left, factor).to(u.dtype).add_(w[f'b{i}'])
        return u, saved

    def backward(self, upstream: Tensor, saved: list, inputs: tuple[Tensor, Tensor, Tensor] | None) -> Tensor:
        """Gradient at the first layer's sums (members, B, hidden), from d loss / d outputs (members, B, outputs).

        inputs: token, rest and chunk of the forward pass, to write `gradients`; None leaves them as they are.
        """
        w, into = self.weights, self.gradients
        g = upstream
        for i in range(self.layers, 0, -1):
            (u, statistics, h, left), factor = saved[i - 1], w.factor(f'w{i}')
            rounded = g.to(factor.dtype)
            if inputs is not None:
                into[f'w{i}'].copy_(torch.bmm(left.transpose(1, 2), rounded))
                torch.sum(g, 1, keepdim=True, out=into[f'b{i}'])
            g = relu_backward(torch.bmm(rounded, factor.transpose(1, 2)).to(g.dtype), h, 0)
            if self.norm:
                g = layer_norm_backward(g, u, [self.hidden], *statistics, None, None, [True, False, False])[0]
        if inputs is not None:
            token, rest, chunk = inputs
            rounded = g.to(token.dtype)
            for i in range(self.members):
                into['token'][i].copy_(token.t() @ rounded[i])
                torch.mm(rest.t(), g[i], out=into['rest'][i])
                torch.mm(chunk.t(), g[i], out=into['chunk'][i])
            torch.sum(g, 1, keepdim=True, out=into['b0'])
        return g

    def at_chunk(self, at_sums: Tensor) -> Tensor:
        """Gradient at the chunk (B, C * D) from that at the sums."""
        return torch.bmm(at_sums, self.weights['chunk'].transpose(1, 2)).sum(0)
