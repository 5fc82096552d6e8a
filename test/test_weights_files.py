"""What is said before anything starts when weights are missing, damaged, or not made for each other."""

import json
from pathlib import Path

import pytest
import tiny_weights

from rlt_ros import weights_files
from rlt_ros.config import RobotProfile, load
from rlt_ros.errors import UserError
from rlt_ros.weights_files import file_hash

ROBOT = load(RobotProfile, 'single_arm')


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A VLA and a token made for it."""
    vla, token = tmp_path / 'vla.safetensors', tmp_path / 'rl_token.safetensors'
    tiny_weights.save_token(token, ROBOT, tiny_weights.save_vla(vla, ROBOT))
    return vla, token


def said(vla: Path, token: Path) -> str:
    with pytest.raises(UserError) as error:
        weights_files.check(vla, token)
    assert '\n' not in str(error.value)
    return str(error.value)


def test_a_pair_made_for_each_other_passes(pair: tuple[Path, Path]) -> None:
    weights_files.check(*pair)


def test_the_wrong_file_is_named_with_what_to_do(pair: tuple[Path, Path], tmp_path: Path) -> None:
    vla, token = pair
    missing = tmp_path / 'none.safetensors'
    assert f'{missing} does not exist; make it with: rlt train token' in said(vla, missing)
    assert 'for another robot than bimanual with --robot and --dataset)' in said(vla, missing)
    assert 'rlt train vla (for another robot than bimanual with --robot, --dataset and --no-' in said(missing, token)
    assert 'is no vla file (kind: rl_token)' in said(token, token)
    other = tmp_path / 'other.safetensors'
    tiny_weights.save_token(other, ROBOT, 'f' * 64)
    assert 'trained on the VLA with hash ffffffffffff' in said(vla, other)
    vla.write_bytes(vla.read_bytes()[:1000])
    assert f'{vla} is damaged' in said(vla, token)


def test_one_flipped_bit_is_found_by_the_model_card(pair: tuple[Path, Path]) -> None:
    vla, token = pair
    token.with_suffix('.json').write_text(json.dumps({'sha256': file_hash(token)}))
    weights_files.check(vla, token)
    data = bytearray(token.read_bytes())
    data[-1] ^= 1
    token.write_bytes(data)
    assert 'not the file of its model card rl_token.json' in said(vla, token)


@pytest.mark.parametrize('content', [b'{', b'', b'[]', b'"word"', b'\xff'])
def test_a_damaged_model_card_is_named(pair: tuple[Path, Path], content: bytes) -> None:
    vla, token = pair
    vla.with_suffix('.json').write_bytes(content)
    assert f'model card {vla.with_suffix(".json")} is damaged' in said(vla, token)
