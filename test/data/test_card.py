"""Model cards: what they say."""

import json
from pathlib import Path

import cv2
import pytest

from rlt_ros.data import card


@pytest.mark.parametrize('losses', [['action'], ['action', 'goal']])
def test_a_card_shows_its_curve_however_many_losses_it_has(tmp_path: Path, losses: list[str]) -> None:
    point = {name: 0.1 for loss in losses for name in (loss, f'held_out_{loss}')}
    curve = [point | {'step': step, 'seconds': 1.0} for step in (1, 2)]
    card.write(tmp_path / 'my.safetensors', {'sha256': 'abc', 'parameters': 12, 'curve': curve, 'empty': {}})
    assert min(cv2.imread(str(tmp_path / 'my.png')).shape[:2]) > 300
    text = (tmp_path / 'my.md').read_text()
    assert '**parameters**: 12' in text and '![curve](my.png)' in text and 'empty' not in text


def test_a_card_is_of_its_weights_alone(tmp_path: Path) -> None:
    weights = tmp_path / 'my.safetensors'
    card.write(weights, {'sha256': 'abc', 'seconds': 1})
    card.write(weights, {'sha256': 'abc', 'parameters': 12})
    assert json.loads((tmp_path / 'my.json').read_text()) == {'sha256': 'abc', 'seconds': 1, 'parameters': 12}
    card.write(weights, {'sha256': 'def'})
    assert json.loads((tmp_path / 'my.json').read_text()) == {'sha256': 'def'}
