"""Adam on a network's flat parameter vector."""

import torch
from torch.optim.adam import adam

from rlt_ros.rl.networks import Networks


class Adam:
    """Kingma and Ba, 2015, with PyTorch's fused step; moments are plain vectors, for checkpoints."""

    def __init__(self, networks: Networks, learning_rate: float):
        self.networks, self.learning_rate = networks, learning_rate
        self.first = torch.zeros_like(networks.weights.flat)
        self.second = torch.zeros_like(networks.weights.flat)
        self.steps = torch.zeros(())

    def step(self) -> None:
        """Move the weights along their gradients."""
        weights, gradients = self.networks.weights, self.networks.gradients
        adam(
            [weights.flat], [gradients.flat], [self.first], [self.second], [], [self.steps], fused=True,
            amsgrad=False, beta1=0.9, beta2=0.999, lr=self.learning_rate, weight_decay=0.0, eps=1e-8, maximize=False,
        )  # fmt: skip
        weights.changed()
