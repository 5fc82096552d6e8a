"""The RL token: Eq. 1, a causal decoder, and an encoder that belongs to one VLA and its units."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_weights
import torch

from rlt_ros import weights_files
from rlt_ros.config import RobotProfile, load
from rlt_ros.errors import UserError
from rlt_ros.token.backend import TokenBackend
from rlt_ros.token.model import RlToken, TokenSizes
from rlt_ros.vla import normalisation
from rlt_ros.vla import weights as vla_weights
from rlt_ros.vla.language import WORDS, tokenize
from rlt_ros.vla.trunk import GOAL_SIZE

torch.set_num_threads(1)
ROBOT = load(RobotProfile, 'single_arm')
M, WIDTH = 6, 16
SIZES = TokenSizes(M, WIDTH, token_dim=8, heads=2, layers=2)


def test_the_token_is_what_the_encoder_has_at_the_place_of_its_query() -> None:
    torch.manual_seed(0)
    encoder = RlToken(SIZES, GOAL_SIZE).eval().encoder
    prefix, seen = torch.randn(3, M, WIDTH), []
    encoder.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder.blocks[-1].register_forward_hook(lambda _, __, output: seen.append(output))
    z = encoder(prefix)
    entered, left = seen
    assert entered.shape == left.shape == (3, M + 1, WIDTH), 'the prefix, and the query after it'
    torch.testing.assert_close(entered[:, :M], prefix + encoder.place)
    torch.testing.assert_close(entered[:, M], encoder.query[0].expand(3, -1))
    torch.testing.assert_close(z, encoder.head(left[:, M]))
    for j in range(M):
        changed = prefix.clone()
        changed[:, j] += torch.randn(WIDTH)
        assert ((encoder(changed) - z).abs().amax(1) > 1e-4).all(), 'every token of the prefix counts'


def test_the_prefix_has_no_tokens_of_the_instruction() -> None:
    network, _ = tiny_weights.vla(ROBOT)
    seen = []
    network.trunk.blocks[-1].register_forward_hook(lambda _, __, output: seen.append(output))
    images = torch.randint(0, 256, (2, 1, 96, 96, 3), dtype=torch.uint8)
    words = torch.from_numpy(tokenize('plug it in')).expand(2, -1)
    with torch.no_grad():
        prefix = network.prefix(images, words, torch.randn(2, network.sizes.proprioception))
    patches = len(ROBOT.cameras) * (ROBOT.image_size // 16) ** 2
    assert prefix.shape[1] == network.sizes.tokens == patches + 1, 'image tokens and the state token'
    assert seen[0].shape[1] == patches + 1 + WORDS, 'the words were there'
    torch.testing.assert_close(prefix, network.trunk.norm(seen[0][:, :-WORDS]))


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


def test_an_encoder_serves_only_the_vla_and_the_units_it_was_trained_on(tmp_path: Path) -> None:
    vla, token = tmp_path / 'vla.safetensors', tmp_path / 'token.safetensors'
    vla_hash, unit_hash = tiny_weights.save_vla(vla, ROBOT), normalisation.load(vla, ROBOT).hash
    sha256 = tiny_weights.save_token(token, ROBOT, vla_hash)
    backend = TokenBackend(token, vla_hash, unit_hash)
    assert backend.hash == sha256 and backend.size == 16
    prefix = np.random.default_rng(0).standard_normal((3, 37, 32)).astype(np.float16)
    z = backend.encode(prefix)
    assert z.shape == (3, 16) and z.dtype == np.float32 and np.isfinite(z).all()
    np.testing.assert_allclose(backend.encode(prefix[1:2]), z[1:2], atol=1e-5)
    with pytest.raises(ValueError, match='takes'):
        backend.encode(prefix[:, 1:])
    for path, hashes, message in (
        (token, ('f' * 64, unit_hash), f'on the VLA with hash {vla_hash[:12]}, the VLA in use has ffffffffffff'),
        (token, (vla_hash, 'e' * 64), f'with the normalisation with hash {unit_hash[:12]}, the VLA in use has eeeeeee'),
        (token, ('f' * 64, unit_hash), 'train a matching one with: rlt train token'),
        (vla, (vla_hash, unit_hash), 'is no rl_token file'),
        (tmp_path / 'none', (vla_hash, unit_hash), 'does not exist'),
    ):
        with pytest.raises(UserError, match=message) as error:
            TokenBackend(path, *hashes)
        assert '\n' not in str(error.value)
    token.write_bytes(token.read_bytes()[:-3])
    with pytest.raises(UserError, match='damaged'):
        TokenBackend(token, vla_hash, unit_hash)


@pytest.mark.parametrize('name', normalisation.FIELDS)
def test_every_field_of_the_units_is_in_their_hash(name: str) -> None:
    _, unit = tiny_weights.vla(ROBOT)
    changed = getattr(unit, name).copy()
    changed.flat[-1] = np.nextafter(changed.flat[-1], np.inf)
    assert replace(unit, **{name: changed}).hash != unit.hash == tiny_weights.vla(ROBOT)[1].hash


def test_a_pair_with_other_units_is_refused_before_a_run(tmp_path: Path) -> None:
    vla, token = tmp_path / 'vla.safetensors', tmp_path / 'token.safetensors'
    model, unit = tiny_weights.vla(ROBOT)
    tiny_weights.save_token(token, ROBOT, tiny_weights.save_vla(vla, ROBOT))
    weights_files.check(vla, token)
    vla_weights.save(vla, model, replace(unit, scale=2 * unit.scale), ROBOT.name, ['plug it in'])
    with pytest.raises(UserError, match='was trained with the normalisation with hash'):
        weights_files.check(vla, token)
