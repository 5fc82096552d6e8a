"""The built-in VLA as a backend: observations in, prefix embeddings and reference chunks out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rlt_ros.config import Method, RobotProfile
from rlt_ros.control.kinematics import Kinematics, home
from rlt_ros.errors import UserError
from rlt_ros.vla import weights
from rlt_ros.vla.language import tokenize
from rlt_ros.vla.normalisation import REFERENCE_LIMIT
from rlt_ros.vla.proprioception import Proprioception
from rlt_ros.weights_files import MAKE, vla_hash


@dataclass(frozen=True)
class Look:
    """One observation as the VLA needs it."""

    images: np.ndarray  # (N, S, S, 3) uint8 rgb
    position: np.ndarray  # (D,) rad or m
    velocity: np.ndarray  # (D,)
    command: np.ndarray  # (D,)
    number: int = 0  # tells it from others (its stamp, say): the chunk's noise is a function of it
    approaching: bool = False  # whether nobody has handed over to the critical phase yet

    @classmethod
    def blank(cls, profile: RobotProfile) -> 'Look':
        """The robot at rest at home, with black pictures: for calls of which the time alone counts."""
        size, rest = profile.image_size, home(profile)
        return cls(np.zeros((len(profile.cameras), size, size, 3), np.uint8), rest, 0 * rest, rest)


@dataclass(frozen=True)
class VlaResult:
    """Of B looks."""

    prefix: np.ndarray  # (B, M, d) float16
    reference: np.ndarray  # (B, H, D) float32, normalised deltas from the position
    proprioception: np.ndarray  # (B, P) float32, normalised, of the kind that the task is learned with


class BuiltinBackend:
    """Frozen. Deterministic: the same look gives the same chunk, alone or in a batch, live or later."""

    def __init__(
        self, path: Path, profile: RobotProfile, device: str = 'cpu', seed: int = 0, proprioception: str = 'pose'
    ):
        """proprioception: the part of it that the actor-critic gets, see `Proprioception.of`."""
        try:
            self.device = torch.device(device)
            torch.empty(1, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(
                f'device "{device}" is not available: {str(error).splitlines()[0]}; allowed: cpu, cuda'
            ) from None
        self.model, self.unit = weights.load(path, profile)
        self.model.to(self.device)
        self.path, self.hash = path, vla_hash(path)
        self.feel = Proprioception(Kinematics(profile), home(profile))
        there, here = (self.model.sizes.proprioception, len(self.unit.mean)), (self.feel.pose_size, self.feel.size)
        if there != here:
            raise UserError(
                f'{path} was trained with {there[0]} pose features of {there[1]}, robot {profile.name} has {here[0]} '
                f'of {here[1]}; make it anew with: {MAKE["vla"]}'
            )
        self.seed, self._felt = seed, self.feel.of(proprioception)
        self.state_size = self._felt.stop - self._felt.start  # P of the actor-critic
        as_tensor = lambda array: torch.from_numpy(array).float().to(self.device)  # noqa: E731
        self._chunk_mean, self._chunk_deviation = as_tensor(self.unit.chunk_mean), as_tensor(self.unit.chunk_deviation)

    def check_reach(self, method: Method) -> None:
        """Raises UserError for a method that needs more steps of a chunk than this VLA gives."""
        steps, needed = self.model.sizes.horizon, method.delay + method.chunk
        if needed > steps:
            raise UserError(
                f'chunks of {self.path} have {steps} steps, method {method.name} needs {needed} of them: '
                f'delay {method.delay} + chunk {method.chunk}'
            )

    @torch.inference_mode()
    def infer(self, looks: list[Look], instruction: str) -> VlaResult:
        """One prefix pass for all looks, and a reference chunk for each."""
        sizes = self.model.sizes
        features = np.array([self.feel.features(look.position, look.velocity, look.command) for look in looks])
        state = self.unit.proprioception(features)
        images = torch.from_numpy(np.stack([look.images for look in looks])).to(self.device)
        words = torch.from_numpy(tokenize(instruction)).expand(len(looks), -1).to(self.device)
        pose = torch.from_numpy(state[:, : sizes.proprioception]).to(self.device)
        shape = (sizes.horizon, sizes.action_dim)
        draws = [np.random.default_rng([self.seed, look.number]).standard_normal(shape, np.float32) for look in looks]
        noise = torch.from_numpy(np.stack(draws)).to(self.device)
        approaching = torch.tensor([look.approaching for look in looks], device=self.device)
        prefix, chunk = self.model.reference(images, words, pose, noise, approaching)
        chunk = (chunk * self._chunk_deviation + self._chunk_mean).clamp(-REFERENCE_LIMIT, REFERENCE_LIMIT)
        return VlaResult(prefix.half().cpu().numpy(), chunk.cpu().numpy(), state[:, self._felt])
