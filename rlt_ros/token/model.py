"""The RL token: an encoder that compresses the VLA's prefix into one vector, and the decoder that keeps it honest.

Paper, section "RL token": z_rl = g([z_1:M, e_rl])_{M+1} (Eq. 1), trained by autoregressive reconstruction of the
prefix from the token (Eq. 2). Context dropout on the decoder's input keeps it from reading the answer off the
neighbouring tokens instead of from z_rl.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rlt_ros.vla.layers import Block


@dataclass(frozen=True)
class TokenSizes:
    """What the weights were made for."""

    tokens: int  # M
    width: int  # of a prefix token
    token_dim: int = 128  # of z_rl
    heads: int = 4
    layers: int = 2


class Encoder(nn.Module):
    """g: prefix (B, M, d), centred and scaled, to z_rl (B, token_dim)."""

    def __init__(self, sizes: TokenSizes):
        super().__init__()
        self.place = nn.Parameter(0.02 * torch.randn(sizes.tokens, sizes.width))
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, sizes.width))  # e_rl
        self.blocks = nn.ModuleList([Block(sizes.width, sizes.heads) for _ in range(sizes.layers)])
        self.head = nn.Sequential(nn.LayerNorm(sizes.width), nn.Linear(sizes.width, sizes.token_dim))

    def forward(self, prefix: Tensor) -> Tensor:
        x = torch.cat([prefix + self.place, self.query.expand(len(prefix), -1, -1)], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, -1])


class Decoder(nn.Module):
    """h(d([z_rl, z_1:i-1]))_i for all i at once: causal, teacher forced."""

    def __init__(self, sizes: TokenSizes):
        super().__init__()
        self.token = nn.Linear(sizes.token_dim, sizes.width)
        self.hidden = nn.Parameter(0.02 * torch.randn(1, 1, sizes.width))  # stands for a dropped context token
        self.place = nn.Parameter(0.02 * torch.randn(sizes.tokens, sizes.width))
        self.blocks = nn.ModuleList([Block(sizes.width, sizes.heads) for _ in range(sizes.layers)])
        self.head = nn.Sequential(nn.LayerNorm(sizes.width), nn.Linear(sizes.width, sizes.width))

    def forward(self, z: Tensor, prefix: Tensor, dropped: Tensor) -> Tensor:
        """Reconstruction (B, M, d) from z (B, token_dim); dropped (B, M) bool hides context tokens."""
        context = torch.where(dropped[..., None], self.hidden, prefix)[:, :-1]
        x = torch.cat([self.token(z)[:, None], context], dim=1) + self.place
        for block in self.blocks:
            x = block(x, causal=True)
        return self.head(x)


class RlToken(nn.Module):
    """Encoder, decoder and the hindsight head (pose change to the demonstration's success, linear in z_rl)."""

    def __init__(self, sizes: TokenSizes, goal_size: int):
        super().__init__()
        self.sizes = sizes
        self.register_buffer('centre', torch.zeros(sizes.tokens, sizes.width))  # of the prefix, over the demonstrations
        self.register_buffer('spread', torch.ones(()))
        self.register_buffer('mean', torch.zeros(sizes.token_dim))  # of z_rl, over the demonstrations
        self.register_buffer('deviation', torch.ones(sizes.token_dim))
        self.encoder = Encoder(sizes)
        self.decoder = Decoder(sizes)
        self.goal = nn.Linear(sizes.token_dim, goal_size)

    def scaled(self, prefix: Tensor) -> Tensor:
        """Prefix less its mean over the demonstrations, which carries nothing, at unit scale."""
        return (prefix - self.centre) / self.spread

    def forward(self, prefix: Tensor) -> Tensor:
        """Standardised z_rl (B, token_dim), clipped to +-5, of raw prefix embeddings (B, M, d)."""
        z = self.encoder(self.scaled(prefix))
        return ((z - self.mean) / self.deviation).clamp(-5, 5)
