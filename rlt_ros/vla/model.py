"""The built-in VLA: images, instruction and proprioception to a chunk of actions, small enough for one CPU core.

The trunk's embeddings are the prefix; a flow-matching expert that attends to the prefix denoises the chunk.
"""

from torch import Tensor, nn

from rlt_ros.vla.approach import Approach, outline
from rlt_ros.vla.expert import Expert, VlaSizes
from rlt_ros.vla.trunk import Trunk


class BuiltinVla(nn.Module):
    def __init__(self, sizes: VlaSizes):
        super().__init__()
        self.sizes = sizes
        self.trunk, self.expert = Trunk(sizes), Expert(sizes)
        self.approach: Approach | None = None  # once the way to the critical phase is learned too

    def prefix(self, images: Tensor, words: Tensor, proprioception: Tensor) -> Tensor:
        """Embeddings (B, M, d), as `Trunk`: what the RL token is made of."""
        return self.trunk(images, words, proprioception)

    def sample(self, prefix: Tensor, noise: Tensor) -> Tensor:
        """Chunks (B, H, D) of the critical phase, standardised, from noise (B, H, D)."""
        return self.expert.sample(prefix, noise)

    def reference(
        self, images: Tensor, words: Tensor, proprioception: Tensor, noise: Tensor, approaching: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Prefix, and chunks: the approach's while it is its turn, and never once the critical phase has begun.

        approaching: (B,) bool, whether it has not.
        """
        prefix = self.prefix(images, words, proprioception)
        chunk = self.sample(prefix, noise)
        if self.approach is not None and (turn := approaching & (self.approach.turn(outline(prefix)) > 0)).any():
            way = self.approach.sample(images[turn], words[turn], proprioception[turn], noise[turn])
            chunk = chunk.clone()
            chunk[turn] = way
        return prefix, chunk
