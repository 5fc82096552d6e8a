"""The learner's state on disk: safetensors, written beside and renamed, so that there is always a whole one."""

import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
import torch

from rlt_ros.errors import UserError
from rlt_ros.rl.learner import Learner

MOMENTS = ('exp_avg', 'exp_avg_sq', 'step')


def write(path: Path, learner: Learner) -> None:
    """Save atomically: networks, targets, optimisers, random states and counters."""
    agent = learner.agent
    tensors = {'actor': agent.actor.flat, 'critics': agent.critics.flat, 'target': agent.target}
    tensors |= {'random.agent': agent.random.get_state(), 'random.replay': learner.replay.random.get_state()}
    for name, optimiser in (('actor', agent.actor_optimiser), ('critics', agent.critic_optimiser)):
        for key, value in next(iter(optimiser.state.values()), {}).items():
            tensors[f'{name}.{key}'] = value
    counters = {'updates': agent.updates, 'version': learner.version, 'learning': int(learner.learning)}
    counters['added_in_warmup'] = learner.added_in_warmup
    data = save({k: v.detach().clone() for k, v in tensors.items()}, {k: str(v) for k, v in counters.items()})
    replace(path, data)


def replace(path: Path, data: bytes) -> None:
    """Write a file so that at any moment the old or the new one is there, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix('.tmp')
    with beside.open('wb') as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def read(path: Path, learner: Learner) -> None:
    """Restore in place; raises UserError where the file is damaged or of another shape."""
    agent = learner.agent
    try:
        with safe_open(path, 'pt') as file:
            metadata = file.metadata() or {}
            get = file.get_tensor
            for name, flat in (('actor', agent.actor.flat), ('critics', agent.critics.flat), ('target', agent.target)):
                if get(name).shape != flat.shape:
                    raise UserError(f'{path} was written with other network sizes; start a new run')
                flat.data.copy_(get(name))
            agent.random.set_state(get('random.agent'))
            learner.replay.random.set_state(get('random.replay'))
            for name, optimiser in (('actor', agent.actor_optimiser), ('critics', agent.critic_optimiser)):
                if f'{name}.step' in file.keys():  # noqa: SIM118
                    parameter = optimiser.param_groups[0]['params'][0]
                    optimiser.state[parameter] = {key: get(f'{name}.{key}').clone() for key in MOMENTS}
            agent.updates, learner.version = int(metadata['updates']), int(metadata['version'])
            learner.learning = bool(int(metadata['learning']))
            learner.added_in_warmup = int(metadata['added_in_warmup'])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f'checkpoint {path} is damaged: {error}; remove it to go on from the journal alone') from None
    torch.set_flush_denormal(True)
