"""The flow-matching action expert: it attends to what the VLA has understood, and denoises a chunk."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlt_ros.vla.layers import Block, fourier


@dataclass(frozen=True)
class VlaSizes:
    """What the weights were made for."""

    cameras: int
    image_size: int
    proprioception: int  # pose features
    action_dim: int
    horizon: int = 50
    width: int = 128
    heads: int = 4
    prefix_layers: int = 2
    expert_layers: int = 2
    steps_per_token: int = 5  # actions that share an expert token

    @property
    def grid(self) -> int:
        return self.image_size // 16

    @property
    def tokens(self) -> int:
        """M: image tokens and the state token; the instruction's tokens are left out, as in the paper."""
        return self.cameras * self.grid**2 + 1


class Expert(nn.Module):
    def __init__(self, sizes: VlaSizes):
        super().__init__()
        self.sizes, d = sizes, sizes.width
        group = sizes.steps_per_token * sizes.action_dim
        self.noisy = nn.Linear(group, d)
        self.step_place = nn.Parameter(0.02 * torch.randn(sizes.horizon // sizes.steps_per_token, d))
        self.time = nn.Sequential(nn.Linear(32, d), nn.GELU(), nn.Linear(d, d))
        self.blocks = nn.ModuleList([Block(d, sizes.heads, cross=True) for _ in range(sizes.expert_layers)])
        self.head = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, group))

    def context(self, seen: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values for each layer, of embeddings (B, M, d)."""
        return [block.cross_attention.project(seen) for block in self.blocks]

    def velocity(self, context: list[tuple[Tensor, Tensor]], noisy: Tensor, t: Tensor) -> Tensor:
        """Flow (B, H, D) that carries noise at t = 0 to actions at t = 1, at noisy (B, H, D) and t (B,).

        B may be a multiple of the context's: samples of one context follow each other.
        """
        batch, sizes = len(noisy), self.sizes
        x = self.noisy(noisy.reshape(batch, -1, sizes.steps_per_token * sizes.action_dim))
        x = x + self.step_place + self.time(fourier(t, 32))[:, None]
        for block, keys_values in zip(self.blocks, context, strict=True):
            x = block(x, keys_values)
        return self.head(x).reshape(batch, sizes.horizon, sizes.action_dim)

    def sample(self, seen: Tensor, noise: Tensor, steps: int = 5) -> Tensor:
        """Chunks (B, H, D) from noise (B, H, D) by Euler steps."""
        context, x = self.context(seen), noise
        for i in range(steps):
            t = torch.full((len(x),), i / steps, dtype=x.dtype, device=x.device)
            x = x + self.velocity(context, x, t) / steps
        return x

    def loss(self, seen: Tensor, chunk: Tensor, known: Tensor | None, noises: int) -> Tensor:
        """Flow-matching loss of chunks (B, H, D); known: (B, H) bool, steps that count, None: all.

        noises: noise samples per chunk, as understanding is the expensive part.
        """
        target = chunk.repeat_interleave(noises, 0)
        noise, t = torch.randn_like(target), torch.rand(len(target))
        velocity = self.velocity(self.context(seen), noise + (target - noise) * t[:, None, None], t)
        missed = velocity.float() - (target - noise)
        return (missed if known is None else missed[known.repeat_interleave(noises, 0)]).square().mean()
