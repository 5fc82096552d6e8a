"""The RL token's file: safetensors with encoder, decoder and statistics, tied to a VLA and its units."""

from dataclasses import asdict
import json
from pathlib import Path

from safetensors.torch import save_file

from rlt_ros.errors import UserError
from rlt_ros.token.model import RlToken, TokenSizes
from rlt_ros.vla.trunk import GOAL_SIZE
from rlt_ros.vla.weights import read_tensors
from rlt_ros.weights_files import MAKE, check_made_for, file_hash


def save(path: Path, model: RlToken, vla_hash: str, normalisation_hash: str) -> str:
    """Write the file; returns its hash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    about = {
        'kind': 'rl_token',
        'sizes': json.dumps(asdict(model.sizes)),
        'vla_hash': vla_hash,
        'normalisation_hash': normalisation_hash,
    }
    save_file(tensors, path, about)
    path.chmod(0o644)
    return file_hash(path)


def load(path: Path, vla_hash: str, normalisation_hash: str) -> RlToken:
    """Frozen, in evaluation mode. Raises UserError where it is missing, damaged or made for another VLA or units."""
    tensors, metadata = read_tensors(path, 'rl_token')
    check_made_for(path, metadata, vla_hash, normalisation_hash)
    try:
        model = RlToken(TokenSizes(**json.loads(metadata['sizes'])), GOAL_SIZE)
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise UserError(f'{path} does not fit this version: {reason}; make it anew with: {MAKE["rl_token"]}') from None
    return model.eval().requires_grad_(False)
