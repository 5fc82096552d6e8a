"""Files and messages that are pickles in truth: refused, and nothing in them is ever executed."""

from collections.abc import Callable
import hashlib
from pathlib import Path
import pickle
import zlib

import numpy as np
import pytest
import torch

from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.errors import UserError
from rlt_ros.rl import checkpoint
from rlt_ros.rl.journal import HEADER, MAGIC, Journal, read
from rlt_ros.rl.learner import Learner
from rlt_ros.rl.networks import Sizes
from rlt_ros.rl.policy import unpack
from rlt_ros.token import weights as token_weights
from rlt_ros.vla import normalisation
from rlt_ros.vla import weights as vla_weights

PROFILE = load(RobotProfile, 'single_arm')


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self) -> tuple:
        return Path.mkdir, (self.folder,)


def record(path: Path) -> list:
    """A journal with a sound header, whose payload is the pickle."""
    data = path.read_bytes()
    path.write_bytes(HEADER.pack(MAGIC, len(data), zlib.crc32(data)) + data)
    return list(read(path))


READERS: dict[str, Callable[[Path], object]] = {
    'VLA': lambda path: vla_weights.load(path, PROFILE),
    'action units': normalisation.read,
    'RL token': lambda path: token_weights.load(path, '', ''),
    'checkpoint': lambda path: checkpoint.read(path, Learner(Method(name='test', hidden=16), Sizes(2, 2, 2))),
    'journal': Journal,
    'record': record,
    'policy': lambda path: unpack(path.read_bytes(), 1, hashlib.sha256(path.read_bytes()).hexdigest(), 4, 2),
}


@pytest.mark.fault('pickle', 'refused, and nothing in it is executed')
@pytest.mark.parametrize('reader', READERS)
def test_a_pickle_is_refused_and_not_executed(tmp_path: Path, reader: str) -> None:
    executed = tmp_path / 'executed'
    for name, write in (('plain', pickle.dump), ('torch', torch.save), ('numpy', np.save)):
        path = tmp_path / f'{name}.safetensors'
        with path.open('wb') as file:
            content = {'weight': Bomb(executed)}
            np.save(file, content, allow_pickle=True) if write is np.save else write(content, file)
        with pytest.raises((UserError, ValueError)):
            READERS[reader](path)
        assert not executed.exists()
    pickle.loads(pickle.dumps(Bomb(executed)))
    assert executed.exists(), 'it would have been'
