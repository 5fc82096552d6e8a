"""The weights that come with the package: whole, matching, small, as their cards say, and able to drive."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from rlt_ros.bench.lockstep import open_lockstep
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.token.backend import TokenBackend
from rlt_ros.vla.builtin import BuiltinBackend
from rlt_ros.weights_files import path_of

torch.set_num_threads(1)
ROBOT = load(RobotProfile, 'bimanual')
FILES = [path_of('vla', ROBOT.name), path_of('rl_token', ROBOT.name)]


def test_vla_and_token_belong_to_each_other_and_to_the_robot() -> None:
    vla = BuiltinBackend(FILES[0], ROBOT)
    token = TokenBackend(FILES[1], vla.hash, vla.unit.hash)
    sizes = vla.model.sizes
    assert (token.model.sizes.tokens, token.model.sizes.width) == (sizes.tokens, sizes.width)
    vla.check_reach(load(Method, 'rlt'))
    assert vla.unit.scale.shape == (ROBOT.action_dim,) and (vla.unit.scale > 0).all()


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_cards_are_of_these_files(path: Path) -> None:
    card = json.loads(path.with_suffix('.json').read_text())
    assert card['sha256'] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.with_suffix('.md').is_file()
    assert card['command'].startswith('./rlt train')


def test_weights_are_small_enough_to_be_carried_along() -> None:
    assert sum(path.stat().st_size for path in FILES) <= 20e6


def test_the_vla_drives_an_episode_to_its_end() -> None:
    task = load(Task, 'ethernet')
    result = open_lockstep(ROBOT, task, load(Method, 'rlt'), 0).episode('evaluation', noise=False)
    assert result.success or result.steps == round(task.time_limit * ROBOT.control_rate)
    assert 0 < result.steps and result.penetration < 1e-3
