"""How much worse the decoder gets without the token, or with another's: near zero says that it ignores the token."""

import numpy as np
import torch

from rlt_ros.token.intervals import interval, ratio
from rlt_ros.token.model import RlToken

BATCH = 128


@torch.no_grad()
def gaps(
    model: RlToken, prefix: torch.Tensor, episode: np.ndarray, hidden: float = 1.0
) -> dict[str, float | list[float]]:
    """Relative squared errors on prefixes (T, M, d) of episodes (T,), each with its interval under `..._ci`.

    relative_error: |rebuilt - z|^2 / |z|^2 of the centred prefix; zero_gap and shuffle_gap: how much it grows when the
    token is zero, or that of another episode. hidden: share of the decoder's context that is dropped; with all of it
    the token alone must tell.
    """
    order = np.argsort(episode, kind='stable')
    other = np.empty_like(order)
    other[order] = np.roll(order, len(order) // 2)  # half the data on: of another episode, and at another phase
    z = torch.cat([model.encoder(model.scaled(part.float())) for part in prefix.split(BATCH)])
    random = torch.Generator().manual_seed(0)
    power, missed = [], {'own': [], 'zero': [], 'other': []}
    for rows in torch.arange(len(prefix)).split(BATCH):
        target = model.scaled(prefix[rows].float())
        dropped = torch.rand(target.shape[:2], generator=random) < hidden
        power.append(target.square().sum((1, 2)))
        for name, token in (('own', z[rows]), ('zero', torch.zeros_like(z[rows])), ('other', z[other[rows]])):
            missed[name].append((model.decoder(token, target, dropped) - target).square().sum((1, 2)))
    whole = torch.cat(power).double().numpy()
    errors = {name: torch.cat(parts).double().numpy() for name, parts in missed.items()}
    out: dict[str, float | list[float]] = {}
    for name, above in (
        ('relative_error', errors['own']),
        ('zero_gap', errors['zero'] - errors['own']),
        ('shuffle_gap', errors['other'] - errors['own']),
    ):
        out[name], out[f'{name}_ci'] = interval(ratio(above, whole), episode)
    return out
