"""The built-in VLA: images, instruction and proprioception to a chunk of actions, small enough for one CPU core.

A convolutional stem makes 6 x 6 tokens per camera, a transformer mixes them with the instruction and the robot's state
(the prefix), and a flow-matching expert that attends to the prefix denoises the chunk. How large the chunk is, is told
apart first: long ways and the last millimetre have the same share of the expert's precision.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from rlt_ros.vla.language import VOCABULARY, WORDS
from rlt_ros.vla.layers import Block, fourier

GOAL_SIZE = 4  # tool position and yaw
LONGEST_LOG_SPAN = 5.0


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

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class BuiltinVla(nn.Module):
    def __init__(self, sizes: VlaSizes):
        super().__init__()
        self.sizes = sizes
        d = sizes.width
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 6, 4, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, d, 3, 2, 1)
        )
        self.place = nn.Parameter(0.02 * torch.randn(sizes.tokens - 1, d))
        self.words = nn.Embedding(VOCABULARY, d)
        self.word_place = nn.Parameter(0.02 * torch.randn(WORDS, d))
        self.state = nn.Sequential(nn.Linear(sizes.proprioception, d), nn.GELU(), nn.Linear(d, d))
        self.prefix_blocks = nn.ModuleList([Block(d, sizes.heads) for _ in range(sizes.prefix_layers)])
        self.prefix_norm = nn.LayerNorm(d)
        # hindsight: where the tool will be at success, relative to now (trains the prefix, unused at run time), and how
        # far the chunk goes
        self.goal_query = nn.Parameter(0.02 * torch.randn(1, 1, d))
        self.goal_block = Block(d, sizes.heads, cross=True)
        self.goal_head = nn.Linear(d, GOAL_SIZE)
        self.span_head = nn.Linear(d, 1)
        nn.init.zeros_(self.span_head.weight)
        nn.init.zeros_(self.span_head.bias)
        group = sizes.steps_per_token * sizes.action_dim
        self.noisy = nn.Linear(group, d)
        self.step_place = nn.Parameter(0.02 * torch.randn(sizes.horizon // sizes.steps_per_token, d))
        self.time = nn.Sequential(nn.Linear(32, d), nn.GELU(), nn.Linear(d, d))
        self.expert_blocks = nn.ModuleList([Block(d, sizes.heads, cross=True) for _ in range(sizes.expert_layers)])
        self.velocity_head = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, group))

    def prefix(self, images: Tensor, words: Tensor, proprioception: Tensor) -> Tensor:
        """Final-layer embeddings (B, M, d) of images (B, N, S, S, 3) uint8, words (B, WORDS) and pose features (B, P).

        The order is camera by camera, row by row, then the state token.
        """
        batch, cameras = images.shape[:2]
        pixels = images.flatten(0, 1).permute(0, 3, 1, 2).to(self.place.dtype) / 127.5 - 1
        seen = self.stem(pixels).flatten(2).transpose(1, 2).reshape(batch, -1, self.sizes.width) + self.place
        told = self.words(words) + self.word_place
        felt = self.state(proprioception)[:, None]
        x = torch.cat([seen, felt, told], dim=1)
        for block in self.prefix_blocks:
            x = block(x)
        return self.prefix_norm(x[:, : self.sizes.tokens])

    def foresight(self, prefix: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted pose change to success (B, GOAL_SIZE), in the units of the training targets, and log span (B,)."""
        query = self.goal_query.expand(len(prefix), -1, -1)
        seen = self.goal_block(query, self.goal_block.cross_attention.project(prefix))[:, 0]
        return self.goal_head(seen), self.span_head(seen)[:, 0]

    @staticmethod
    def span(log_span: Tensor) -> Tensor:
        """What the expert's chunks are multiplied by (B, 1, 1), 1 or more."""
        return log_span.float().clamp(0.0, LONGEST_LOG_SPAN).exp()[:, None, None]

    def context(self, prefix: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of the prefix for each expert layer."""
        return [block.cross_attention.project(prefix) for block in self.expert_blocks]

    def velocity(self, context: list[tuple[Tensor, Tensor]], noisy: Tensor, t: Tensor) -> Tensor:
        """Flow (B, H, D) that carries noise at t = 0 to actions by their span at t = 1, at noisy (B, H, D) and t (B,).

        B may be a multiple of the context's: samples of one context follow each other.
        """
        batch, sizes = len(noisy), self.sizes
        x = self.noisy(noisy.reshape(batch, -1, sizes.steps_per_token * sizes.action_dim))
        x = x + self.step_place + self.time(fourier(t, 32))[:, None]
        for block, keys_values in zip(self.expert_blocks, context, strict=True):
            x = block(x, keys_values)
        return self.velocity_head(x).reshape(batch, sizes.horizon, sizes.action_dim)

    def sample(self, prefix: Tensor, noise: Tensor, steps: int = 5) -> Tensor:
        """Chunks (B, H, D), standardised, from noise (B, H, D) by Euler steps."""
        context, x, (_, log_span) = self.context(prefix), noise, self.foresight(prefix)
        for i in range(steps):
            t = torch.full((len(x),), i / steps, dtype=x.dtype, device=x.device)
            x = x + self.velocity(context, x, t) / steps
        return x * self.span(log_span)
