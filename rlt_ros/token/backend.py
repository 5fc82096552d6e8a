"""The frozen RL-token encoder at run time."""

from pathlib import Path

import numpy as np
import torch

from rlt_ros.token import weights
from rlt_ros.weights_files import file_hash


class TokenBackend:
    """prefix -> standardised z_rl. Refuses an encoder that was trained on another VLA or other units (UserError)."""

    def __init__(self, path: Path, vla_hash: str, normalisation_hash: str, device: str = 'cpu'):
        self.device = torch.device(device)
        self.model = weights.load(path, vla_hash, normalisation_hash).to(self.device)
        self.hash = file_hash(path)

    @property
    def size(self) -> int:
        return self.model.sizes.token_dim

    @torch.inference_mode()
    def encode(self, prefix: np.ndarray) -> np.ndarray:
        """(B, token_dim) float32 of prefix embeddings (B, M, d). Raises ValueError for another shape."""
        sizes = self.model.sizes
        if prefix.shape[1:] != (sizes.tokens, sizes.width):
            raise ValueError(f'prefix is {prefix.shape[1:]}, the encoder takes {(sizes.tokens, sizes.width)}')
        return self.model(torch.from_numpy(prefix).to(self.device).float()).cpu().numpy()
