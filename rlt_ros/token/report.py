"""Whether the RL token carries anything: how much worse the decoder gets without it, or with another's."""

import numpy as np
import torch

from rlt_ros.token.model import RlToken
from rlt_ros.vla.examples import Examples

BATCHES, BATCH = 16, 64


@torch.no_grad()
def gaps(model: RlToken, prefix: torch.Tensor, examples: Examples, seed: int = 0) -> dict[str, float]:
    """Relative squared errors on held-out episodes; all context hidden, so that the token alone must tell.

    relative_error: |rebuilt - z|^2 / |z|^2 of the centred prefix; zero_gap and shuffled_gap: how much it grows when
    the token is zero, or that of another observation. Near zero they would mean that the decoder ignores the token.
    """
    random = np.random.default_rng(seed)
    rows = random.choice(np.flatnonzero(examples.held_out), (BATCHES, BATCH))
    errors: dict[str, list[float]] = {'own': [], 'zero': [], 'shuffled': []}
    for some in rows:
        target = model.scaled(prefix[some].float())
        z = model.encoder(target)
        hidden = torch.ones(target.shape[:2], dtype=torch.bool)
        for name, token in (('own', z), ('zero', torch.zeros_like(z)), ('shuffled', z.roll(1, 0))):
            missed = (model.decoder(token, target, hidden) - target).square().sum()
            errors[name].append((missed / target.square().sum()).item())
    own = np.mean(errors['own'])
    return {
        'relative_error': float(own),
        'zero_gap': float(np.mean(errors['zero']) - own),
        'shuffled_gap': float(np.mean(errors['shuffled']) - own),
    }
