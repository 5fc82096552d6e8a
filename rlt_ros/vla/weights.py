"""The built-in VLA's file: safetensors with the network, the normalisation and the sizes; no pickle."""

from dataclasses import asdict
import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
import torch

from rlt_ros.config import RobotProfile
from rlt_ros.errors import UserError
from rlt_ros.vla import normalisation as units
from rlt_ros.vla.approach import Approach
from rlt_ros.vla.model import BuiltinVla, VlaSizes
from rlt_ros.vla.normalisation import Normalisation
from rlt_ros.weights_files import MAKE, file_hash, metadata


def read_tensors(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a weights file of a kind; raises UserError that says how to make one."""
    found = metadata(path, kind)
    try:
        with safe_open(path, 'pt') as file:
            return {name: file.get_tensor(name) for name in file.keys()}, found  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f'{path} is damaged: {error}; make it anew with: {MAKE[kind]}') from None


def save(path: Path, model: BuiltinVla, normalisation: Normalisation, robot: str, instructions: list[str]) -> str:
    """Write the file; returns its hash."""
    tensors = {f'network.{name}': value.detach().contiguous() for name, value in model.state_dict().items()}
    for name in units.FIELDS:
        tensors[f'normalisation.{name}'] = torch.from_numpy(np.ascontiguousarray(getattr(normalisation, name)))
    about = {
        'kind': 'vla',
        'sizes': json.dumps(asdict(model.sizes)),
        'robot': robot,
        'instructions': json.dumps(instructions),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, about)
    path.chmod(0o644)  # safetensors leaves it to its owner alone
    return file_hash(path)


def instructions(path: Path) -> list[str]:
    """What a VLA was trained to do, in words."""
    return json.loads(metadata(path, 'vla')['instructions'])


def load(path: Path, profile: RobotProfile) -> tuple[BuiltinVla, Normalisation]:
    """Network in evaluation mode and normalisation. Raises UserError where the file is wrong or for another robot."""
    tensors, found = read_tensors(path, 'vla')
    try:
        sizes = VlaSizes(**json.loads(found['sizes']))
        model = BuiltinVla(sizes)
        if any(name.startswith('network.approach.') for name in tensors):
            model.approach = Approach(sizes)
        model.load_state_dict({k.removeprefix('network.'): v for k, v in tensors.items() if k.startswith('network.')})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise UserError(f'{path} does not fit this version: {reason}; make it anew with: {MAKE["vla"]}') from None
    wanted = (len(profile.cameras), profile.image_size, profile.action_dim)
    if (sizes.cameras, sizes.image_size, sizes.action_dim) != wanted:
        raise UserError(
            f'{path} was trained for robot {found.get("robot")} with (cameras, image size, action size) = '
            f'{(sizes.cameras, sizes.image_size, sizes.action_dim)}; robot {profile.name} has {wanted}'
        )
    return model.eval().requires_grad_(False), units.load(path, profile)
