"""The RL token: a causal decoder, an encoder that belongs to one VLA, and a report that notices a blind token."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_weights
import torch

from rlt_ros.config import RobotProfile, load
from rlt_ros.errors import UserError
from rlt_ros.token.backend import TokenBackend
from rlt_ros.token.model import RlToken, TokenSizes
from rlt_ros.token.report import gaps
from rlt_ros.token.train import TokenTraining, train
from rlt_ros.vla.examples import Examples
from rlt_ros.vla.model import GOAL_SIZE

torch.set_num_threads(1)
ROBOT = load(RobotProfile, 'single_arm')
M, WIDTH = 6, 16
SIZES = TokenSizes(M, WIDTH, token_dim=8, heads=2, layers=2)


@pytest.fixture(autouse=True)
def _denormal_numbers() -> Iterator[None]:
    """Learning flushes denormal numbers to zero in the whole process; other tests need them."""
    yield
    torch.set_flush_denormal(False)


def test_decoder_is_causal() -> None:
    torch.manual_seed(0)
    model = RlToken(SIZES, GOAL_SIZE).eval()
    z, prefix, dropped = torch.randn(2, 8), torch.randn(2, M, WIDTH), torch.zeros(2, M, dtype=torch.bool)
    for training in (False, True):  # attention is computed another way where gradients are needed
        with torch.set_grad_enabled(training):
            before = model.decoder(z, prefix, dropped)
            for j in range(M):
                changed = prefix.clone()
                changed[:, j] += torch.randn(WIDTH)
                difference = (model.decoder(z, changed, dropped) - before).abs().amax((0, 2))
                assert (difference[: j + 1] < 1e-5).all(), 'a token shows in no reconstruction up to its own'
                assert (difference[j + 1 :] > 1e-4).all(), 'and in all that follow'
            assert ((model.decoder(z + torch.randn(8), prefix, dropped) - before).abs().amax((0, 2)) > 1e-4).all()


def test_a_dropped_token_is_not_seen() -> None:
    model = RlToken(SIZES, GOAL_SIZE).eval()
    z, prefix, dropped = torch.randn(1, 8), torch.randn(1, M, WIDTH), torch.ones(1, M, dtype=torch.bool)
    torch.testing.assert_close(model.decoder(z, prefix, dropped), model.decoder(z, torch.randn(1, M, WIDTH), dropped))


def examples(count: int) -> Examples:
    empty = np.zeros((count, 0))
    return Examples(empty, empty, empty, empty, np.zeros((count, GOAL_SIZE), np.float32), np.zeros((count, 3)),
                    np.arange(count) % 10, [])  # fmt: skip


def test_training_makes_a_token_that_the_report_finds_useful_and_a_blind_one_is_noticed() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(200, 3)
    prefix = (hidden @ torch.randn(3, M * WIDTH) + 2.0).view(200, M, WIDTH).half()
    some = examples(200)
    plan = TokenTraining(steps=150, batch=32, learning_rate=3e-3, token_dim=8)
    model, curve = train(prefix, some, plan, lambda *_: None)
    report = gaps(model, prefix, some)
    assert report['relative_error'] < 0.5 and curve[-1]['step'] == 150
    assert report['zero_gap'] > 0.2 and report['shuffled_gap'] > 0.2
    with torch.no_grad():
        z = model(prefix.float())
        assert z.abs().max() <= 5 and 0.5 < z.std(0).mean() < 1.2, 'standardised'
        model.decoder.token.weight.zero_()
    blind = gaps(model, prefix, some)
    assert abs(blind['zero_gap']) < 1e-6 and abs(blind['shuffled_gap']) < 1e-6


def test_an_encoder_serves_only_the_vla_it_was_trained_on(tmp_path: Path) -> None:
    vla, token = tmp_path / 'vla.safetensors', tmp_path / 'token.safetensors'
    vla_hash = tiny_weights.save_vla(vla, ROBOT)
    sha256 = tiny_weights.save_token(token, ROBOT, vla_hash)
    backend = TokenBackend(token, vla_hash)
    assert backend.hash == sha256 and backend.size == 16
    prefix = np.random.default_rng(0).standard_normal((3, 37, 32)).astype(np.float16)
    z = backend.encode(prefix)
    assert z.shape == (3, 16) and z.dtype == np.float32 and np.isfinite(z).all()
    np.testing.assert_allclose(backend.encode(prefix[1:2]), z[1:2], atol=1e-5)
    with pytest.raises(ValueError, match='takes'):
        backend.encode(prefix[:, 1:])
    for path, hash_, message in (
        (token, 'f' * 64, 'train a matching one with: rlt train token'), (vla, vla_hash, 'is no rl_token file'),
        (tmp_path / 'none', vla_hash, 'does not exist'),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message) as error:
            TokenBackend(path, hash_)
        assert '\n' not in str(error.value)
    token.write_bytes(token.read_bytes()[:-3])
    with pytest.raises(UserError, match='damaged'):
        TokenBackend(token, vla_hash)
