"""The VLA's way to the critical phase: eyes and an action expert of their own.

Long ways and the last millimetre spoil each other in one network of this size, and what the frozen prefix knows of
the part in its rack is not enough to grasp it. So the VLA is trained on critical phases, and this is added later: it
acts while nobody has handed over to the critical phase and the prefix says that it is its turn, and leaves everything
else, the prefix above all, as it was.

It does not feel how far the arm is behind its commands: that points to where a demonstration is going, and is nothing
where it has arrived. Who learns from it takes a hand at rest for one that is there, and closes beside the part.
"""

import torch
from torch import Tensor, nn

from rlt_ros.vla.expert import Expert, VlaSizes
from rlt_ros.vla.proprioception import MEASURED_PER_ARM, POSE_PER_ARM
from rlt_ros.vla.trunk import Trunk

SMALLEST_SPAN, LARGEST_SPAN = 0.1, 10.0


class Approach(nn.Module):
    def __init__(self, sizes: VlaSizes):
        super().__init__()
        self.trunk, self.expert = Trunk(sizes), Expert(sizes)
        self.span_head = nn.Linear(sizes.width, 1)  # how far the chunk goes
        self.turn_head = nn.Linear(2 * sizes.width, 1)
        self.register_buffer('mean', torch.zeros(sizes.horizon, sizes.action_dim))  # of its chunks, in the VLA's units
        self.register_buffer('deviation', torch.ones(sizes.horizon, sizes.action_dim))

    def turn(self, outline: Tensor) -> Tensor:
        """Log odds (B,) that the critical phase has not begun, from the `outline` of the VLA's prefix."""
        return self.turn_head(outline)[:, 0]

    def span(self, log_span: Tensor) -> Tensor:
        """What the expert's chunks are multiplied by (B, 1, 1): it works at the same precision near and far."""
        return log_span.float().exp().clamp(SMALLEST_SPAN, LARGEST_SPAN)[:, None, None]

    def see(self, images: Tensor, words: Tensor, proprioception: Tensor) -> Tensor:
        """The trunk's embeddings (B, M, d)."""
        felt = proprioception.unflatten(1, (-1, POSE_PER_ARM))
        felt = torch.cat([felt[..., :MEASURED_PER_ARM], 0 * felt[..., MEASURED_PER_ARM:]], dim=2)
        return self.trunk(images, words, felt.flatten(1))

    def sample(self, images: Tensor, words: Tensor, proprioception: Tensor, noise: Tensor) -> Tensor:
        """Chunks (B, H, D) in the VLA's units, from noise (B, H, D)."""
        seen = self.see(images, words, proprioception)
        log_span = self.span_head(self.trunk.foresight(seen))[:, 0]
        return self.expert.sample(seen, noise) * self.span(log_span) * self.deviation + self.mean


def outline(prefix: Tensor) -> Tensor:
    """(B, 2 d) of embeddings (B, M, d): the robot's state, and the mean over all."""
    return torch.cat([prefix[:, -1], prefix.mean(1)], dim=1)
