"""What stands in for the RL token in an ablation: a frozen image encoder of the size of a ResNet-10.

The paper takes one that was pre-trained on ImageNet; this project downloads nothing. So it is either trained on the
task's demonstrations (`rlt bench encoder`), to tell the tool's way to success and the next commands from the pictures,
or its weights stay random.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
import torch
from torch import Tensor, nn

from rlt_ros.config import RobotProfile
from rlt_ros.errors import UserError
from rlt_ros.vla.examples import Examples
from rlt_ros.vla.normalisation import Normalisation
from rlt_ros.vla.trunk import GOAL_SIZE

SIZE = 256  # numbers that stand in for z_rl
WIDTHS = (64, 128, 256, 512)
AHEAD = 10  # steps of the chunk that training predicts
CLIP = 5.0  # of the standardised numbers, as for the token
KIND = 'image_encoder'


class Block(nn.Module):
    """A basic residual block; group norm, which needs no statistics of a batch."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.first, self.second = nn.Conv2d(before, after, 3, stride, 1), nn.Conv2d(after, after, 3, 1, 1)
        self.norms = nn.ModuleList([nn.GroupNorm(4, after), nn.GroupNorm(4, after)])
        self.short = nn.Identity() if (before, stride) == (after, 1) else nn.Conv2d(before, after, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[0](self.first(x)).relu()
        return (self.norms[1](self.second(y)) + self.short(x)).relu()


class Network(nn.Module):
    """Pictures (B, N, S, S, 3) uint8 to (B, SIZE)."""

    def __init__(self, cameras: int, image_size: int):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTHS[0], 7, 2, 3), nn.GroupNorm(4, WIDTHS[0]), nn.ReLU(),
                                  nn.MaxPool2d(3, 2, 1))  # fmt: skip
        strides = (1, 2, 2, 2)
        self.blocks = nn.Sequential(*(
            Block(before, after, stride)
            for before, after, stride in zip((WIDTHS[0], *WIDTHS), WIDTHS, strides, strict=False)
        ))  # fmt: skip
        side = -(-image_size // 32)
        self.bottleneck = nn.Linear(cameras * WIDTHS[-1] * side**2, SIZE)
        self.register_buffer('mean', torch.zeros(SIZE))
        self.register_buffer('deviation', torch.ones(SIZE))

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1
        return self.bottleneck(self.blocks(self.stem(pixels)).reshape(len(images), -1))

    @torch.inference_mode()
    def standardise(self, images: np.ndarray) -> None:
        """Take mean and deviation over pictures (T, N, S, S, 3)."""
        found = torch.cat([self(part) for part in torch.from_numpy(images).split(16)])
        self.mean.copy_(found.mean(0))
        self.deviation.copy_(found.std(0).clamp_min(1e-6))


class ImageEncoder:
    """Frozen. weights: a file of `train`; '' for random ones, which `network.standardise` must be called for."""

    size = SIZE

    def __init__(self, profile: RobotProfile, weights: str = ''):
        state = torch.random.get_rng_state()
        torch.manual_seed(0)
        self.network = Network(len(profile.cameras), profile.image_size).eval()
        torch.random.set_rng_state(state)
        self.trained = bool(weights)
        if weights:
            try:
                with safe_open(weights, 'pt') as file:
                    kind, tensors = (file.metadata() or {}).get('kind'), {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118
                if kind != KIND:
                    raise UserError(f'{weights} is no {KIND} file; make one with: rlt bench encoder')
                self.network.load_state_dict(tensors)
            except (OSError, SafetensorError, RuntimeError) as error:
                first = str(error).splitlines()[0]
                raise UserError(f'{weights} is no image encoder for robot {profile.name}: {first}; '
                                'make one with: rlt bench encoder') from None  # fmt: skip

    @torch.inference_mode()
    def encode(self, images: np.ndarray) -> np.ndarray:
        """(B, SIZE) float32, standardised, of pictures (B, N, S, S, 3) uint8."""
        found = (self.network(torch.from_numpy(images)) - self.network.mean) / self.network.deviation
        return found.clamp(-CLIP, CLIP).numpy()


def train(
    profile: RobotProfile, unit: Normalisation, examples: Examples, steps: int, batch: int, seed: int, out: Path,
    report: Callable[[int, float], None],
) -> dict[str, float]:
    """Train on demonstrations, standardise and save; report(step, loss). Returns losses, 1 is what a constant has."""
    torch.manual_seed(seed)
    network = Network(len(profile.cameras), profile.image_size)
    head = nn.Linear(SIZE, GOAL_SIZE + AHEAD * profile.action_dim)
    chunks = (examples.deltas[:, :AHEAD] / unit.scale).reshape(len(examples.goal), -1)
    wanted = torch.from_numpy(np.concatenate([examples.goal, chunks], 1).astype(np.float32))
    kept, held_out = (np.flatnonzero(mask) for mask in (~examples.held_out, examples.held_out))
    wanted = (wanted - wanted[kept].mean(0)) / wanted[kept].std(0).clamp_min(1e-3)
    optimiser = torch.optim.AdamW([*network.parameters(), *head.parameters()], 3e-4, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=steps)
    random = np.random.default_rng(seed)

    def loss_of(rows: np.ndarray) -> Tensor:
        return (head(network(torch.from_numpy(examples.images[rows]))) - wanted[rows]).square().mean()

    for step in range(steps):
        loss = loss_of(random.choice(kept, batch))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        report(step + 1, loss.item())
    network.eval()
    with torch.no_grad():
        left = float(np.mean([loss_of(part).item() for part in np.array_split(held_out, -(-len(held_out) // 64))]))
    network.standardise(examples.images[random.choice(kept, min(1000, len(kept)), replace=False)])
    out.parent.mkdir(parents=True, exist_ok=True)
    facts = {'kind': KIND, 'robot': profile.name, 'steps': str(steps), 'held_out_loss': f'{left:.4f}'}
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, out, facts)
    return {'held_out_loss': left}
