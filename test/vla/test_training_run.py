"""`rlt train vla` and `rlt train approach`: weights and card stay together, whatever happens."""

from collections.abc import Callable
from contextlib import nullcontext
import json
from pathlib import Path

import demonstrations
import pytest
import tiny_weights
import torch

from rlt_ros import weights_files
from rlt_ros.config import Method, Task, load
from rlt_ros.data import card
from rlt_ros.errors import UserError
from rlt_ros.vla import training_run
from rlt_ros.vla.train import VlaTraining
from rlt_ros.weights_files import file_hash, path_of

torch.set_num_threads(1)
ROBOT, METHOD, TASK = demonstrations.ROBOT, load(Method, 'rlt'), load(Task, 'ethernet_full')
RESULT = 'ethernet_full in lock-step, 20 episodes, 9 s limit'
Train = Callable[..., None]


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten demonstrations of a full task, half of each in the critical phase."""
    return demonstrations.write(tmp_path_factory.mktemp('data') / 'set', [8] * 10, rows=16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A tiny VLA with its card, which tells of an evaluation in both settings."""
    path = tmp_path / 'vla.safetensors'
    tiny_weights.save_vla(path, ROBOT)
    facts = {'ethernet in lock-step, 50 episodes, 9 s limit': {'success_rate': 0.5}, RESULT: {'success_rate': 0.25}}
    card.write(path, {'sha256': file_hash(path)} | facts)
    return path


def vla(data: Path, path: Path, seed: int = 0) -> None:
    plan = VlaTraining(steps=2, batch=4, every=1, seed=seed)
    training_run.run(ROBOT, [TASK], METHOD, [data], path, plan, 1)


def approach(data: Path, path: Path, seed: int = 0) -> None:
    plan = VlaTraining(steps=2, batch=4, every=1, seed=seed)
    training_run.run_approach(ROBOT, [TASK], METHOD, [data], path, path, plan, 1)


def told(path: Path) -> dict:
    return json.loads(path.with_suffix('.json').read_text())


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize('train', [vla, approach])
def test_an_interrupted_evaluation_leaves_weights_with_their_card(
    train: Train, data: Path, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_hash(path)
    monkeypatch.setattr(training_run, 'evaluated', interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(data, path)
    assert told(path)['sha256'] == file_hash(path) != before
    assert RESULT not in told(path), 'it was of the VLA before'
    token = tmp_path / 'token.safetensors'
    tiny_weights.save_token(token, ROBOT, weights_files.vla_hash(path))
    with pytest.raises(UserError, match='with the normalisation with hash') if train is vla else nullcontext():
        weights_files.check(path, token)


def test_probes_that_are_interrupted_leave_what_was_there(
    data: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, facts = file_hash(path), told(path)
    monkeypatch.setattr(training_run, 'offset_probe', interrupted)
    with pytest.raises(KeyboardInterrupt):
        vla(data, path)
    assert file_hash(path) == before and told(path) == facts


@pytest.mark.parametrize('train', [vla, approach])
def test_the_card_tells_of_training_and_evaluation(
    train: Train, data: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, 'evaluated', lambda *_: {RESULT: {'success_rate': 0.75}})
    train(data, path)
    facts = told(path)
    assert facts[RESULT] == {'success_rate': 0.75} and facts['sha256'] == file_hash(path)
    page = path.with_suffix('.md').read_text()
    assert f'**{RESULT}**' in page and 'success_rate: 0.75' in page
    if train is approach:
        assert facts['ethernet in lock-step, 50 episodes, 9 s limit'] == {'success_rate': 0.5}, 'this stays as it is'
        (training,) = facts[training_run.WAY]
        assert f'--robot single_arm --vla {path} --steps 2' in training['command']
        assert training['observations'] == 160
    else:
        assert facts['command'].startswith(f'./rlt train vla --dataset {data} --robot single_arm --steps 2 --batch 4')
        assert '![curve](vla.png)\n\n' in page and facts['data']['episodes'] == 10
        assert not any('offset probe' in name for name in facts), 'nobody knows the offset in this data'


def test_a_vla_of_the_robots_own_is_not_named_in_commands(data: Path) -> None:
    plan, own = VlaTraining(steps=2, batch=4), path_of('vla', 'bimanual')
    for source in (own, own.parent / '..' / 'weights' / own.name, None):
        assert '--vla' not in card.command('approach', [data], 'bimanual', plan, source)
    assert f' --vla {own} ' in card.command('approach', [data], 'single_arm', plan, own)


@pytest.mark.parametrize(('critical', 'kind'), [([4] * 10, 'training'), ([2] * 9 + [4], 'held-out')])
def test_an_approach_is_not_learned_from_data_without_one(
    critical: list[int], kind: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, 'turns', interrupted)
    folder = demonstrations.write(tmp_path / 'set', critical, rows=4)
    with pytest.raises(UserError, match=f'set: no observation of the approach.* in {kind} episodes'):
        approach(folder, path)


def test_a_damaged_card_is_refused_before_the_approach_is_learned_and_replaced_by_a_new_vlas(
    data: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.with_suffix('.json').write_text('{')
    monkeypatch.setattr(training_run, 'evaluated', lambda *_: {})
    with pytest.raises(UserError, match='model card .* is damaged'):
        approach(data, path)
    vla(data, path)
    assert told(path)['sha256'] == file_hash(path)


@pytest.mark.parametrize('suffix', ['.json', '.md', '.png'])
def test_weights_do_not_take_the_name_of_their_card(data: Path, tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UserError, match='would be its own card; choose a name that ends otherwise'):
        vla(data, tmp_path / f'vla{suffix}')
    assert not list(tmp_path.glob('vla*'))
