"""The learner's state on disk: safetensors, hashed, written beside and renamed, so there is always a whole one."""

import hashlib
import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
import torch

from rlt_ros.errors import UserError
from rlt_ros.rl.learner import Learner


class OtherSizes(UserError):
    """A checkpoint of networks of another shape: it belongs to another run."""


def digest(content: dict[str, torch.Tensor], counters: dict[str, str]) -> str:
    """SHA-256 over tensors and counters."""
    hasher = hashlib.sha256(json.dumps(counters, sort_keys=True).encode())
    for name in sorted(content):
        hasher.update(name.encode())
        hasher.update(content[name].contiguous().numpy().data)
    return hasher.hexdigest()


def write(path: Path, learner: Learner) -> None:
    """Save atomically: networks, targets, optimisers, random states and counters; keep the one before beside it."""
    content = learner.agent.tensors()
    content |= {'random.agent': learner.agent.random.get_state(), 'random.replay': learner.replay.random.get_state()}
    counters = {name: str(value) for name, value in learner.counters().items()}
    counters['encoder_hash'] = learner.encoder_hash
    data = save({k: v.detach().clone() for k, v in content.items()}, counters | {'sha256': digest(content, counters)})
    replace(path, data, previous(path))


def previous(path: Path) -> Path:
    """Where the checkpoint before the last one is."""
    return path.with_name(f'{path.stem}.previous{path.suffix}')


def replace(path: Path, data: bytes, keep: Path | None = None) -> None:
    """Write a file so that at any moment the old or the new one is there, whole; keep: where the old one goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix('.tmp')
    with beside.open('wb') as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if keep is not None and path.exists():
        path.rename(keep)
    beside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def read(path: Path, learner: Learner) -> None:
    """Restore in place; raises UserError where the file is damaged, OtherSizes where it is whole and of another shape.

    Then nothing is changed.
    """
    try:
        with safe_open(path, 'pt') as file:
            counters = dict(file.metadata() or {})
            sha256 = counters.pop('sha256', '')
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if digest(content, counters) != sha256:
            raise ValueError('its hash does not match')
        encoder_hash = counters.pop('encoder_hash', '')
        own = learner.agent.tensors()
        if any(content[name].shape != value.shape for name, value in own.items()):
            raise OtherSizes(f'{path} was written with other network sizes; start a new run')
        numbers = {name: int(value) for name, value in counters.items()}
        learner.set_counters(numbers)
        learner.encoder_hash = encoder_hash
        for name, value in own.items():
            value.copy_(content[name])
        learner.agent.random.set_state(content['random.agent'])
        learner.replay.random.set_state(content['random.replay'])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise UserError(f'checkpoint {path} is damaged: {reason}') from None
    learner.agent.weights_changed()
    learner.check()  # should they go wrong later, these are the sound ones


def read_newest(path: Path, learner: Learner) -> str:
    """Restore from the last checkpoint that is whole, if there is one; returns what was wrong with others, or ''.

    Raises OtherSizes.
    """
    complaints = []
    for candidate in (path, previous(path)):
        if not candidate.exists():
            continue
        try:
            read(candidate, learner)
            break
        except OtherSizes:
            raise
        except UserError as error:
            complaints.append(str(error))
    return '; '.join(complaints)
