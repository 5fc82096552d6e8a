"""What the report compares: the token, the prefix through a linear bottleneck, the policy's last layer, the body."""

import numpy as np
import torch

from rlt_ros.token.model import RlToken
from rlt_ros.token.probe import principal_components
from rlt_ros.vla.examples import Examples
from rlt_ros.vla.model import BuiltinVla
from rlt_ros.vla.normalisation import Normalisation

BATCH = 64
TOKEN, PREFIX, POLICY, BODY = NAMES = ('token', 'prefix PCA-64', 'policy layer', 'proprioception')


@torch.no_grad()
def policy_layer(vla: BuiltinVla, prefix: torch.Tensor) -> torch.Tensor:
    """(T, d): the action expert's last hidden layer at the last denoising step, mean over its tokens."""
    last: list[torch.Tensor] = []
    hook = vla.expert.head.register_forward_pre_hook(lambda _, inputs: last.append(inputs[0].mean(1)))
    noise = torch.Generator().manual_seed(0)
    out = []
    for part in prefix.split(BATCH):
        vla.sample(part.float(), torch.randn(len(part), vla.sizes.horizon, vla.sizes.action_dim, generator=noise))
        out.append(last[-1])
        last.clear()
    hook.remove()
    return torch.cat(out)


@torch.no_grad()
def representations(
    vla: BuiltinVla, unit: Normalisation, model: RlToken, prefix: torch.Tensor, examples: Examples, fit: np.ndarray
) -> dict[str, torch.Tensor]:
    """Each of NAMES, (T, F), of prefixes (T, M, d); the linear bottleneck is fitted at rows `fit`."""
    return {
        TOKEN: torch.cat([model(part.float()) for part in prefix.split(BATCH)]),
        PREFIX: principal_components(prefix, fit),
        POLICY: policy_layer(vla, prefix),
        BODY: torch.from_numpy(unit.proprioception(examples.features)),
    }


@torch.no_grad()
def spectrum(values: torch.Tensor) -> np.ndarray:
    """Share of the variance of values (T, F) that the first 1, 2, ... principal components explain together."""
    x = values.float() - values.float().mean(0)
    matrix = x @ x.T if len(x) < x.shape[1] else x.T @ x
    power = torch.linalg.eigvalsh(matrix.double()).flip(0).clamp(min=0)
    return (power.cumsum(0) / power.sum().clamp(min=1e-30)).numpy()
