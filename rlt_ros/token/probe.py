"""What a representation knows of the plug's offset from the socket, in mm: probes that learn to read it off.

The true offset comes from the simulator, is used here alone, and never reaches policy, token or critic.
"""

import numpy as np
import torch
from torch import nn

from rlt_ros.vla.examples import Examples

NEAR = 0.012  # m: only what is seen this close to the mouth decides


def near(examples: Examples) -> np.ndarray:
    """(T,) bool: observations with the plug's tip close to the mouth."""
    return np.abs(examples.tip_in_socket[:, 2]) < NEAR


@torch.no_grad()
def principal_components(prefix: torch.Tensor, fit_on: np.ndarray, size: int = 64) -> torch.Tensor:
    """(T, size) projections of flattened prefixes (T, M, d) on components fitted on some rows: a linear bottleneck."""
    chosen = fit_on[np.linspace(0, len(fit_on) - 1, min(len(fit_on), 2500)).astype(int)]
    flat = prefix.flatten(1)
    some = flat[chosen].float()
    centre = some.mean(0)
    _, _, components = torch.svd_lowrank(some - centre, size + 16, niter=3)
    return torch.cat([(part.float() - centre) @ components[:, :size] for part in flat.split(512)])


def offset_probe(
    features: torch.Tensor, examples: Examples, steps: int = 2500, seed: int = 0
) -> dict[str, list[float]]:
    """Root mean squared error (x, y) in mm on held-out episodes, of a linear and an MLP reading of features (T, F)."""
    torch.manual_seed(seed)
    close = near(examples)
    fit, check = np.flatnonzero(close & ~examples.held_out), np.flatnonzero(close & examples.held_out)
    offset = torch.from_numpy(examples.tip_in_socket[:, :2] * 1e3)
    centre, scale = features[fit].mean(0), features[fit].std(0).clamp(min=1e-3)
    x, x_check = (features[fit] - centre) / scale, (features[check] - centre) / scale
    y, y_check = offset[fit], offset[check]
    ones, ones_check = (torch.cat([v, torch.ones(len(v), 1)], 1) for v in (x, x_check))
    ridge = torch.linalg.solve(ones.T @ ones + 10.0 * torch.eye(ones.shape[1]), ones.T @ y)
    network = nn.Sequential(nn.Linear(x.shape[1], 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (128,))
        loss = (network(x[rows] + 0.02 * torch.randn(128, x.shape[1])) - y[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        read = network(x_check)
    error = lambda guess: (guess - y_check).square().mean(0).sqrt().tolist()  # noqa: E731
    return {'linear_mm': error(ones_check @ ridge), 'mlp_mm': error(read), 'label_mm': y_check.std(0).tolist()}
