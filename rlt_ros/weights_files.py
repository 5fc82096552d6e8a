"""Where weights files are, and whether they are whole and belong together. Needs no torch."""

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from rlt_ros.errors import UserError
from rlt_ros.paths import share
from rlt_ros.vla import normalisation

MAKE = {
    'vla': 'rlt train vla (for another robot than bimanual with --robot, --dataset and --no-evaluation)',
    'rl_token': 'rlt train token (for another robot than bimanual with --robot and --dataset)',
}


def path_of(kind: str, robot: str, given: str = '') -> Path:
    """The file given, else a robot's own in weights/. kind: vla or rl_token."""
    if given:
        return Path(given)
    return share() / 'weights' / (f'{kind}.safetensors' if robot == 'bimanual' else f'{kind}_{robot}.safetensors')


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hex; raises UserError where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f'weights file {path} cannot be read: {error.strerror}') from None


def vla_hash(path: Path) -> str:
    """SHA-256 of what a VLA is in the critical phase, hex: of all that it was trained to but its approach.

    Tokens are made for that, and stay valid where the approach is trained anew. Raises UserError where the file is
    missing or damaged.
    """
    hasher = hashlib.sha256(metadata(path, 'vla')['sizes'].encode())
    with safe_open(path, 'np') as file:
        for name in sorted(file.keys()):
            if not name.startswith('network.approach.'):
                hasher.update(name.encode() + file.get_tensor(name).tobytes())
    return hasher.hexdigest()


def metadata(path: Path, kind: str) -> dict[str, str]:
    """What a weights file says of itself. Raises UserError where it is missing, damaged, or of another kind."""
    how = MAKE[kind]
    if not path.is_file():
        raise UserError(f'weights file {path} does not exist; make it with: {how}')
    try:
        with safe_open(path, 'np') as file:
            found = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f'{path} is damaged: {error}; make it anew with: {how}') from None
    if found.get('kind') != kind:
        raise UserError(f'{path} is no {kind} file (kind: {found.get("kind", "none")}); make one with: {how}')
    return found


def card_of(weights: Path) -> dict:
    """What the model card beside a weights file says, {} where there is none; raises UserError where it is damaged."""
    path = weights.with_suffix('.json')
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError('no JSON object')
    except (OSError, ValueError) as error:
        raise UserError(f'model card {path} is damaged: {error}; remove it, or make the weights anew') from None
    return found


def check_made_for(token: Path, found: dict[str, str], trained_on: str, normalisation_hash: str) -> None:
    """Whether a token's metadata name this `vla_hash`; raises UserError, with a line of its own for other units."""
    for what, key, used in (
        ('with the normalisation', 'normalisation_hash', normalisation_hash), ('on the VLA', 'vla_hash', trained_on),
    ):  # fmt: skip
        if (trained := found.get(key, 'none')) != used:
            raise UserError(
                f'{token} was trained {what} with hash {trained[:12]}, the VLA in use has {used[:12]}; '
                f'train a matching one with: {MAKE["rl_token"]}'
            )


def check(vla: Path, token: Path) -> None:
    """Both files whole, as their model cards say, and the token trained on this VLA; raises UserError."""
    metadata(vla, 'vla')
    found = metadata(token, 'rl_token')
    for path, kind in ((vla, 'vla'), (token, 'rl_token')):
        card = path.with_suffix('.json')
        if card.is_file() and card_of(path).get('sha256') != file_hash(path):
            raise UserError(f'{path} is not the file of its model card {card.name}: damaged or replaced; {MAKE[kind]}')
    check_made_for(token, found, vla_hash(vla), normalisation.read(vla).hash)
