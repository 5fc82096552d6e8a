"""Transformer blocks shared by the built-in VLA and the RL token."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXPANSION = 3  # how much wider an MLP is inside


class Attention(nn.Module):
    """Multi-head attention of queries (B, Q, d) on a context (B, K, d)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.keys_values = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def project(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a context; computed once where it does not change."""
        keys, values = self.keys_values(context).chunk(2, dim=-1)
        return self.split(keys), self.split(values)

    def forward(self, x: Tensor, keys_values: tuple[Tensor, Tensor], causal: bool = False) -> Tensor:
        queries, (keys, values) = self.split(self.query(x)), keys_values
        if torch.is_grad_enabled():
            # written out: on a CPU the fused kernel's backward pass takes twice as long at these lengths
            scores = queries @ (keys.transpose(-1, -2) * keys.shape[-1] ** -0.5)
            if causal:
                later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
                scores = scores.masked_fill(later, -torch.inf)
            attended = scores.softmax(-1).to(values.dtype) @ values
        else:
            attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=causal)
        return self.out(attended.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-norm self-attention, optional cross-attention, MLP."""

    def __init__(self, width: int, heads: int, cross: bool = False):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width) if cross else None
        self.cross_attention = Attention(width, heads) if cross else None
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, EXPANSION * width), nn.GELU(), nn.Linear(EXPANSION * width, width)
        )

    def forward(self, x: Tensor, context: tuple[Tensor, Tensor] | None = None, causal: bool = False) -> Tensor:
        y = self.norm(x)
        x = x + self.attention(y, self.attention.project(y), causal)
        if self.cross_attention is not None:
            # several queries may share a context: those of one context follow each other
            queries = self.cross_norm(x).reshape(len(context[0]), -1, x.shape[-1])
            x = x + self.cross_attention(queries, context).view_as(x)
        return x + self.mlp(x)


def fourier(t: Tensor, size: int) -> Tensor:
    """Sines and cosines of times in [0, 1], (B,) to (B, size)."""
    frequencies = torch.exp(torch.linspace(0, 5, size // 2, device=t.device))
    angles = t[:, None] * frequencies
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
