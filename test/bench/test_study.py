"""A study: cells are computed once, one that fails takes no other with it, and the page says what was measured."""

from dataclasses import replace
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from rlt_ros.bench import study
from rlt_ros.bench.study import Cell
from rlt_ros.config import Method, Task, load
from rlt_ros.errors import UserError
from rlt_ros.report.study import band, curve, describe_cell, write_study


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    """The shipped networks, but hardly any episodes, all very short."""
    method, task = tmp_path / 'quick.yaml', tmp_path / 'short.yaml'
    changes = {'evaluation_episodes': 1, 'warmup_episodes': 1, 'first_updates': 2, 'hidden': 16, 'batch': 8}
    method.write_text(yaml.safe_dump(load(Method, 'rlt').model_dump() | changes))
    task.write_text(yaml.safe_dump(load(Task, 'ethernet').model_dump() | {'time_limit': 0.5}))
    return Cell('rlt', 0, 0.02, 1, tmp_path / 'study' / 'rlt-0', method=str(method), task=str(task))


def test_cells_are_computed_once_and_a_failed_one_is_named(cell: Cell, capsys: pytest.CaptureFixture) -> None:
    broken = replace(cell, variation='delay-6', task='nothing', folder=cell.folder.with_name('delay-6-0'))
    other = replace(cell, variation='no-token', folder=cell.folder.with_name('no-token-0'))
    notes: list[tuple[str, str]] = []
    failed = study.run([cell, broken, other], 1, lambda one, at, note: notes.append((one.name, note)))
    assert list(failed) == ['delay-6-0'] and 'task "nothing" does not exist' in failed['delay-6-0']
    assert ('rlt-0', 'finished') in notes and ('no-token-0', 'finished') in notes
    first = (cell.folder / 'episodes.jsonl').read_text()
    modes = [json.loads(line)['mode'] for line in first.splitlines()]
    assert modes[:2] == ['evaluation', 'warmup'] and modes[-2:] == ['final', 'stiff'] and 'online' in modes
    assert not study.run([cell, other], 1, lambda one, at, note: notes.append((one.name, note)))
    assert notes[-2:] == [('rlt-0', 'was there'), ('no-token-0', 'was there')]
    assert (cell.folder / 'episodes.jsonl').read_text() == first
    with pytest.raises(UserError, match='another configuration'):
        study.is_finished(replace(cell, minutes=5.0))
    page = cell.folder.parent / 'page.md'
    files = write_study(cell.folder.parent, [cell, broken, other], page)
    assert {file.name for file in files} == {'study.json', 'curves.png', 'calibration.png', 'variations.png', 'page.md'}
    assert '| rlt, seed 0 |' in page.read_text() and '| no-token, seed 0 |' in page.read_text()
    row = describe_cell(cell)
    assert row['rlt']['episodes'] == row['stiff']['episodes'] == row['vla']['episodes'] == 1
    assert row['config_hash'] == describe_cell(other)['config_hash'], 'the token is no part of the method'


def test_a_cell_that_was_interrupted_begins_anew(cell: Cell) -> None:
    cell.folder.mkdir(parents=True)
    (cell.folder / 'episodes.jsonl').write_text('{"episode": 1')
    assert not study.is_finished(cell)
    study.run_cell(cell)
    assert study.is_finished(cell) and json.loads((cell.folder / 'episodes.jsonl').read_text().splitlines()[0])


def test_unknown_variations_are_named() -> None:
    with pytest.raises(UserError, match='variation "beta-7" does not exist; there are: rlt, beta-0.03'):
        study.varied('rlt', 'beta-7')


def test_curve_is_of_the_last_episodes_before_each_minute(cell: Cell) -> None:
    cell.folder.mkdir(parents=True)
    with (cell.folder / 'episodes.jsonl').open('w') as file:
        for number in range(1, 31):  # six a minute: the first ten fail
            outcome = 'success' if number > 10 else 'timeout'
            file.write(json.dumps({'episode': number, 'mode': 'online', 'outcome': outcome, 'steps': 500,
                                   'seconds': 10.0, 'robot_minutes': number / 6}) + '\n')  # fmt: skip
    found = curve(cell, np.array([0.5, 1.0, 2.0, 5.0]))
    assert np.isnan(found['success'][0]), 'three episodes are too few'
    np.testing.assert_allclose(found['success'][1:], [0.0, 2 / 12, 1.0])
    np.testing.assert_allclose(found['throughput'][1:], [0.0, 10.0, 60.0])


def test_band_is_students_interval() -> None:
    mean, half = band(np.array([[1.0], [2.0], [3.0]]))
    assert mean[0] == 2 and half[0] == pytest.approx(4.30 * 1.0 / np.sqrt(3))
    assert band(np.array([[5.0]]))[1][0] == 0
