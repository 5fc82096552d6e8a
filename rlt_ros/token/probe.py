"""What a representation knows: a linear and an MLP reading that learn on some observations and are scored on others."""

import numpy as np
import torch
from torch import nn

from rlt_ros.vla.examples import Examples

NEAR = 0.012  # m: only what is seen this close to the mouth decides
PASSES, MOST_STEPS, BATCH = 40, 2500, 128  # of the MLP, over its data; more of them learn few episodes by heart
RIDGE = 10.0
COMPONENTS = 64


def near(examples: Examples) -> np.ndarray:
    """(T,) bool: observations with the plug's tip known (not all zeros) to be close to the mouth."""
    return examples.tip_in_socket.any(axis=1) & (np.abs(examples.tip_in_socket[:, 2]) < NEAR)


@torch.no_grad()
def principal_components(prefix: torch.Tensor, fit_on: np.ndarray) -> torch.Tensor:
    """(T, COMPONENTS) of flattened prefixes (T, M, d), on components fitted on some rows: a linear bottleneck."""
    chosen = fit_on[np.linspace(0, len(fit_on) - 1, min(len(fit_on), 2500)).astype(int)]
    flat = prefix.flatten(1)
    some = flat[chosen].float()
    centre = some.mean(0)
    torch.manual_seed(0)  # the decomposition begins with random vectors
    _, _, components = torch.svd_lowrank(some - centre, COMPONENTS + 16, niter=3)
    return torch.cat([(part.float() - centre) @ components[:, :COMPONENTS] for part in flat.split(512)])


def read(
    features: torch.Tensor, target: torch.Tensor, fit: np.ndarray, check: np.ndarray
) -> dict[str, torch.Tensor]:
    """What ridge regression (`linear`) and an MLP (`mlp`) make of features (T, F) at rows `check`, (C, K) each.

    Both learn target (T, K) at rows `fit` by squared error; classes are given as one column each.
    """
    torch.manual_seed(0)
    centre, scale = features[fit].mean(0), features[fit].std(0).clamp(min=1e-3)
    x, x_check = (features[fit] - centre) / scale, (features[check] - centre) / scale
    middle = target[fit].mean(0)
    unit = (target[fit] - middle).square().mean().sqrt().clamp(min=1e-9)
    y = (target[fit] - middle) / unit
    ridge = torch.linalg.solve(x.T @ x + RIDGE * torch.eye(x.shape[1]), x.T @ y)
    sizes = (x.shape[1], 128, 128, y.shape[1])
    network = nn.Sequential(
        nn.Linear(*sizes[:2]), nn.ReLU(), nn.Linear(*sizes[1:3]), nn.ReLU(), nn.Linear(*sizes[2:])
    )  # fmt: skip
    steps = min(MOST_STEPS, PASSES * len(x) // BATCH + 1)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (BATCH,))
        loss = (network(x[rows] + 0.02 * torch.randn(BATCH, x.shape[1])) - y[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        return {'linear': x_check @ ridge * unit + middle, 'mlp': network(x_check) * unit + middle}


def offset(examples: Examples) -> torch.Tensor:
    """(T, 2): x and y of the plug's tip from the socket's middle, mm."""
    return torch.from_numpy(examples.tip_in_socket[:, :2] * 1e3).float()


def offset_probe(features: torch.Tensor, examples: Examples) -> dict[str, list[float]]:
    """Root mean squared error (x, y) in mm on held-out episodes, of both readings of features (T, F).

    Empty where nobody knows offsets to learn from or to be scored on.
    """
    close, target = near(examples), offset(examples)
    fit, check = np.flatnonzero(close & ~examples.held_out), np.flatnonzero(close & examples.held_out)
    if not len(fit) or not len(check):
        return {}
    guesses = read(features, target, fit, check)
    errors = {f'{name}_mm': (guess - target[check]).square().mean(0).sqrt() for name, guess in guesses.items()}
    errors['label_mm'] = target[check].std(0)
    return {name: error.tolist() for name, error in errors.items()}
