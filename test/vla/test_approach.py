"""The way to the critical phase: learned beside what the VLA can do already, and used in its turn."""

from pathlib import Path

import numpy as np
import pytest
import tiny_weights
import torch

from rlt_ros import weights_files
from rlt_ros.config import RobotProfile, load
from rlt_ros.vla import weights
from rlt_ros.vla.approach import Approach
from rlt_ros.vla.approach_training import losses, precision, set_units, train, turns
from rlt_ros.vla.examples import Examples
from rlt_ros.vla.language import tokenize
from rlt_ros.vla.model import BuiltinVla
from rlt_ros.vla.normalisation import Normalisation
from rlt_ros.vla.train import VlaTraining, tensors
from rlt_ros.weights_files import vla_hash

torch.set_num_threads(1)
ROBOT = load(RobotProfile, 'single_arm').model_copy(update={'image_size': 32})
D, T, H = ROBOT.action_dim, 200, 20


@pytest.fixture(scope='module')
def examples() -> Examples:
    """Bright pictures are of the approach; there chunks go up or down as one corner says, far or near as another."""
    random = np.random.default_rng(0)
    approach, up, far = (random.random(T) > 0.5 for _ in range(3))
    images = random.integers(0, 30, (T, 1, 32, 32, 3))
    images += np.where(approach, 100, 0)[:, None, None, None, None]
    images[:, :, :16, :16] += np.where(up, 100, 0)[:, None, None, None, None]
    images[:, :, 16:, 16:] += np.where(far, 100, 0)[:, None, None, None, None]
    size = np.where(up, 1.0, -1.0) * np.where(far, 10.0, 1.0) * 1e-2
    return Examples(
        images=images.astype(np.uint8), words=np.tile(tokenize('plug it in'), (T, 1)),
        features=random.normal(0, 0.01, (T, 40)),
        deltas=(size[:, None, None] * np.linspace(0.1, 1.0, H)[:, None] * np.ones(D)).astype(np.float32),
        known=np.ones((T, H), bool), goal=(size[:, None] * np.ones(4)).astype(np.float32),
        tip_in_socket=np.zeros((T, 3), np.float32), critical=~approach, episode=random.integers(0, 10, T),
        instructions=['plug it in'],
    )  # fmt: skip


@pytest.fixture
def vla() -> tuple[BuiltinVla, Normalisation]:
    torch.manual_seed(0)
    return tiny_weights.vla(ROBOT)


def test_it_is_learned_and_the_critical_phase_stays_as_it_is(tmp_path: Path, examples: Examples, vla) -> None:
    network, unit = vla
    data, noise, told = tensors(examples, unit, network.sizes), torch.randn(T, H, D), []

    @torch.no_grad()
    def reference(network: BuiltinVla, approaching: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        return network.reference(data['images'], data['words'], data['state'], noise, torch.full((T,), approaching))

    before, critical = reference(network)
    turn = turns(network, unit, examples, lambda *_: None)
    plan = VlaTraining(steps=300, batch=16, learning_rate=2e-3)
    curve = train(network, unit, examples, turn, plan, lambda step, _: told.append(step))
    assert told == list(range(1, 301)) and [point['step'] for point in curve] == [100, 200, 300]
    assert not any(parameter.requires_grad for parameter in network.approach.parameters())
    prefix, chunk = reference(network)
    torch.testing.assert_close(prefix, before, rtol=0, atol=0)
    bright = ~examples.critical
    torch.testing.assert_close(chunk[~bright], critical[~bright])
    handed_over = reference(network, approaching=False)[1]
    torch.testing.assert_close(handed_over, critical, msg='whatever it takes the critical phase for')
    end = ((chunk.numpy() * unit.chunk_deviation + unit.chunk_mean) * unit.scale)[bright, -1]
    wanted = examples.deltas[bright, -1]
    assert (np.sign(end) == np.sign(wanted)).mean() > 0.9, 'up or down'
    far = np.abs(wanted[:, 0]) > 0.05
    assert np.median(np.abs(end[far])) > 0.05 and np.median(np.abs(end[~far])) < 0.03
    path = tmp_path / 'vla'
    weights.save(path, network, unit, ROBOT.name, ['plug it in'])
    torch.testing.assert_close(reference(weights.load(path, ROBOT)[0])[1], chunk)
    assert weights.instructions(path) == ['plug it in']
    token = tmp_path / 'token'
    bare = tmp_path / 'bare'
    network.approach = None
    weights.save(bare, network, unit, ROBOT.name, ['plug it in'])
    tiny_weights.save_token(token, ROBOT, vla_hash(bare))
    weights_files.check(path, token)


def test_what_is_not_known_does_not_count(examples: Examples, vla) -> None:
    network, unit = vla
    data = tensors(examples, unit, network.sizes) | {'known': torch.arange(H).expand(T, H) < 10}
    data['precision'] = torch.ones(T)
    rows, found = torch.arange(0, 20, 2), []
    for wild in (0.0, 1e4):
        data['chunk'][:, 10:] = wild
        torch.manual_seed(1)
        model = Approach(network.sizes)
        set_units(model, data['chunk'], data['known'])
        assert (model.mean[10:] == 0).all() and (model.mean[:10] != 0).any() and model.deviation.min() > 0
        found.append({name: value.item() for name, value in losses(model, data, rows, 1, 0.0, 0).items()})
    assert found[0]['goal'] == found[1]['goal'] and found[0]['span'] == found[1]['span']


def test_a_goal_is_worth_more_the_nearer_it_is(examples: Examples, vla) -> None:
    there = precision(torch.tensor([0.0, 0.025, 0.05, 0.3]))
    assert there.tolist() == [5.0, 3.0, 1.0, 1.0]
    network, unit = vla
    data = tensors(examples, unit, network.sizes) | {'known': torch.ones(T, H, dtype=torch.bool)}
    model, found = Approach(network.sizes), []
    for worth in (1.0, 3.0):  # all goals are far beyond 1 unit off: there the error counts linearly
        data['goal'] = torch.full((T, 4), 100.0)
        data['precision'] = torch.full((T,), worth)
        torch.manual_seed(1)
        found.append(losses(model, data, torch.arange(4), 1, 0.0, 0)['goal'].item())
    assert found[1] == pytest.approx(3 * found[0], rel=0.02) and found[0] == pytest.approx(99.5, rel=0.05)


def test_it_does_not_feel_how_far_the_arm_is_behind_its_commands(examples: Examples, vla) -> None:
    """That would tell where a demonstration is going, and be nothing wherever the robot itself stands still."""
    network, unit = vla
    data, approach = tensors(examples, unit, network.sizes), Approach(network.sizes)
    noise = torch.randn(T, H, D)

    def chunks(feature: int) -> torch.Tensor:
        state = data['state'].clone()
        state[:, feature] += 1.0
        with torch.no_grad():
            return approach.sample(data['images'], data['words'], state, noise)

    same = chunks(7)
    assert all(torch.equal(chunks(feature), same) for feature in range(8, 13))
    assert not any(torch.allclose(chunks(feature), same, atol=1e-6) for feature in range(7))
