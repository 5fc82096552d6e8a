"""Replay memory: preallocated contiguous arrays, oldest transitions overwritten, uniform sampling."""

import numpy as np
import torch

from rlt_ros.rl.actor_critic import Batch
from rlt_ros.rl.transitions import Transition

FIELDS = ('state', 'reference', 'action', 'reward', 'discount', 'next_state', 'next_reference')


class Replay:
    """Up to `capacity` transitions; memory is taken as it fills (the system gives pages on first use)."""

    def __init__(self, capacity: int, state_size: int, chunk_size: int, seed: int = 0):
        widths = {'state': state_size, 'reference': chunk_size, 'action': chunk_size, 'reward': 0, 'discount': 0,
                  'next_state': state_size, 'next_reference': chunk_size}  # fmt: skip
        self.arrays = {
            name: torch.from_numpy(np.zeros((capacity, width) if width else (capacity,), np.float32))
            for name, width in widths.items()
        }
        self.capacity, self.added = capacity, 0
        self.random = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, transition: Transition) -> None:
        row = self.added % self.capacity
        for name in FIELDS:
            self.arrays[name].numpy()[row] = getattr(transition, name)
        self.added += 1

    def sample(self, size: int) -> Batch:
        """A uniform batch with replacement; at least one transition must be stored."""
        rows = torch.randint(len(self), (size,), generator=self.random)
        return Batch(**{name: self.arrays[name][rows] for name in FIELDS})
