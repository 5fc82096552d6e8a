"""The VLA that is fine-tuned while the token is trained (paper, alpha > 0): it learns by its own loss alone."""

import torch

from rlt_ros.vla.examples import Examples
from rlt_ros.vla.model import BuiltinVla
from rlt_ros.vla.normalisation import Normalisation
from rlt_ros.vla.train import GOAL_WEIGHT, NOISES, SHIFT, STATE_NOISE, losses, tensors

LEARNING_RATE = 1e-4  # a tenth of that from scratch: it has learned already


class Tuning:
    """Network and examples in its units. The units themselves stay, so that actions keep their meaning."""

    def __init__(self, vla: BuiltinVla, unit: Normalisation, examples: Examples):
        self.vla = vla.requires_grad_(True)
        self.data = tensors(examples, unit, vla.sizes)

    @torch.no_grad()
    def prefix(self, rows: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, M, d) by the network as it is now, of pictures as the robot will see them."""
        return self.vla.prefix(*(self.data[name][rows] for name in ('images', 'words', 'state')))

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        """L_vla, with which the VLA was trained: flow matching and hindsight."""
        flow, goal = losses(self.vla, self.data, rows, NOISES, STATE_NOISE, SHIFT)
        return flow + GOAL_WEIGHT * goal

    def freeze(self) -> None:
        self.vla.requires_grad_(False)
