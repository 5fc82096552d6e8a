"""How the VLA sees: images, instruction and proprioception to embeddings."""

import torch
from torch import Tensor, nn

from rlt_ros.vla.expert import VlaSizes
from rlt_ros.vla.language import VOCABULARY, WORDS
from rlt_ros.vla.layers import Block

GOAL_SIZE = 4  # tool position and yaw


class Trunk(nn.Module):
    """A convolutional stem makes grid x grid tokens per camera, a transformer mixes them with words and the robot's
    state."""

    def __init__(self, sizes: VlaSizes):
        super().__init__()
        self.sizes, d = sizes, sizes.width
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 6, 4, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, d, 3, 2, 1)
        )
        self.place = nn.Parameter(0.02 * torch.randn(sizes.tokens - 1, d))
        self.words = nn.Embedding(VOCABULARY, d)
        self.word_place = nn.Parameter(0.02 * torch.randn(WORDS, d))
        self.state = nn.Sequential(nn.Linear(sizes.proprioception, d), nn.GELU(), nn.Linear(d, d))
        self.blocks = nn.ModuleList([Block(d, sizes.heads) for _ in range(sizes.prefix_layers)])
        self.norm = nn.LayerNorm(d)
        # hindsight: where the tool will be at success (or at the way's end), relative to now
        self.goal_query = nn.Parameter(0.02 * torch.randn(1, 1, d))
        self.goal_block = Block(d, sizes.heads, cross=True)
        self.goal_head = nn.Linear(d, GOAL_SIZE)

    def forward(self, images: Tensor, words: Tensor, proprioception: Tensor) -> Tensor:
        """Final-layer embeddings (B, M, d) of images (B, N, S, S, 3) uint8, words (B, WORDS) and pose features (B, P).

        The order is camera by camera, row by row, then the state token.
        """
        batch, cameras = images.shape[:2]
        pixels = images.flatten(0, 1).permute(0, 3, 1, 2).to(self.place.dtype) / 127.5 - 1
        seen = self.stem(pixels).flatten(2).transpose(1, 2).reshape(batch, -1, self.sizes.width) + self.place
        told = self.words(words) + self.word_place
        felt = self.state(proprioception)[:, None]
        x = torch.cat([seen, felt, told], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, : self.sizes.tokens])

    def foresight(self, prefix: Tensor) -> Tensor:
        """What there is to be done (B, d), from embeddings (B, M, d)."""
        query = self.goal_query.expand(len(prefix), -1, -1)
        return self.goal_block(query, self.goal_block.cross_attention.project(prefix))[:, 0]

    def goal(self, prefix: Tensor) -> Tensor:
        """Predicted pose change to success (B, GOAL_SIZE), in the units of the training targets."""
        return self.goal_head(self.foresight(prefix))
