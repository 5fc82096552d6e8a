"""Cells are computed once, one that fails takes no other with it, and what a killed benchmark finished is kept."""

from collections.abc import Iterator
from dataclasses import replace
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tiny_weights
import yaml

from rlt_ros import cli
from rlt_ros.bench import cells, trace
from rlt_ros.bench.cells import Cell
from rlt_ros.bench.cost import measure
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.errors import UserError
from rlt_ros.report.cells import provenance, results
from rlt_ros.report.study import band, curve, describe_cell, write_study
from rlt_ros.vla import weights
from rlt_ros.vla.approach import Approach


def quick(folder: Path, **changes: object) -> Cell:
    """The shipped networks, but hardly any episodes, all very short."""
    method, task = folder / 'quick.yaml', folder / 'short.yaml'
    few = {'evaluation_episodes': 1, 'warmup_episodes': 1, 'first_updates': 2, 'hidden': 16, 'batch': 8}
    method.write_text(yaml.safe_dump(load(Method, 'rlt').model_dump() | few))
    task.write_text(yaml.safe_dump(load(Task, 'ethernet').model_dump() | {'time_limit': 0.5}))
    made = Cell('rlt', 0, 0.02, 1, folder / 'study' / 'rlt-0', method=str(method), task=str(task), thorough=True)
    return replace(made, **changes)


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return quick(tmp_path)


@pytest.fixture(scope='module')
def computed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Cell], dict, list[tuple[str, str]]]]:
    """Four cells, one of which cannot be computed, and what was said meanwhile."""
    first = quick(tmp_path_factory.mktemp('cells'))
    there = [first]
    for name, changes in {
        'delay-6-0': {'variation': 'delay-6', 'task': 'nothing'}, 'no-token-0': {'variation': 'no-token'},
        'vla-0': {'driver': 'vla'}, 'teleop-0': {'driver': 'teleop', 'episodes': 2},
    }.items():  # fmt: skip
        there.append(replace(first, folder=first.folder.with_name(name), **changes))
    notes: list[tuple[str, str]] = []
    failed = cells.run(there, 1, lambda one, at, note: notes.append((one.name, note)))
    yield there, failed, notes


def test_a_failed_cell_is_named_and_the_others_are_computed(computed: tuple) -> None:
    there, failed, notes = computed
    assert list(failed) == ['delay-6-0'], failed
    assert 'task "nothing" does not exist' in failed['delay-6-0']
    for name in ('rlt-0', 'no-token-0', 'vla-0', 'teleop-0'):
        assert (name, 'finished') in notes
    modes = [json.loads(line)['mode'] for line in (there[0].folder / 'episodes.jsonl').read_text().splitlines()]
    assert modes[:2] == ['evaluation', 'warmup'] and modes[-2:] == ['final', 'stiff'] and 'online' in modes
    rows = results([one for one in there if one.name not in failed])
    assert [(r['method'], r['episodes']) for r in rows] == [('rlt', 1), ('no-token', 1), ('vla', 1), ('teleop', 2)]
    for row in rows:
        assert row['cost']['simulated_minutes'] > 0 and row['cost']['peak_memory_mb'] > 50
        assert row['config_hash'] and row['packages']['rlt_ros'] and row['machine']['cores']
    assert rows[0]['robot_minutes'] >= 0.02 and rows[2]['robot_minutes'] == 0


def test_cost_is_told_by_seeds_and_workers(tmp_path: Path) -> None:
    task = quick(tmp_path).task
    rows = measure([1], [1, 2], task, 0.01, 'bimanual', tmp_path / 'cost', lambda *_: lambda *_: None)
    assert [(row['seeds'], row['workers']) for row in rows] == [(1, 1), (2, 1)]
    assert rows[1]['simulated_minutes'] == pytest.approx(2 * rows[0]['simulated_minutes'])
    for row in rows:
        assert row['peak_memory_mb_per_worker'] > 50 and row['per_core_minute'] > 0 and row['updates'] == 0
        assert row['per_wall_minute'] == pytest.approx(row['simulated_minutes'] / row['wall_minutes'])


def test_cost_leaves_alone_what_is_not_its_own(tmp_path: Path) -> None:
    kept = tmp_path / 'kept'
    kept.touch()
    with pytest.raises(UserError, match='task "nothing" does not exist'):
        measure([1], [1], 'nothing', 0.01, 'bimanual', tmp_path, lambda *_: lambda *_: None)
    measure([1], [1], quick(tmp_path).task, 0.01, 'bimanual', tmp_path, lambda *_: lambda *_: None)
    assert kept.exists()


def test_what_is_finished_is_not_computed_again(computed: tuple) -> None:
    there, failed, _ = computed
    good = [one for one in there if one.name not in failed]
    before = [(one.folder / 'episodes.jsonl').read_text() for one in good]
    notes: list[tuple[str, str]] = []
    assert not cells.run(good, 1, lambda one, at, note: notes.append((one.name, note)))
    assert notes == [(one.name, 'was there') for one in good]
    assert [(one.folder / 'episodes.jsonl').read_text() for one in good] == before


@pytest.mark.parametrize(('changes', 'named'), [
    ({'minutes': 5.0}, 'minutes 0.02, not 5.0'), ({'variation': 'delay-0'}, "variation 'rlt', not 'delay-0'"),
])  # fmt: skip
def test_a_cell_of_another_configuration_is_named_and_left_alone(computed: tuple, changes: dict, named: str) -> None:
    one = replace(computed[0][0], **changes)
    before = (one.folder / 'episodes.jsonl').read_text()
    failed = cells.run([one], 1, lambda *_: None)
    assert named in failed['rlt-0'] and 'remove it, or choose another folder' in failed['rlt-0']
    assert (one.folder / 'episodes.jsonl').read_text() == before


def test_a_cell_of_another_version_is_named(computed: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, '__version__', '99.0')
    with pytest.raises(UserError, match=r"another configuration or version \(rlt_ros '.*', not '99.0'\)"):
        cells.is_finished(computed[0][0])


def test_a_cell_of_other_code_is_named(computed: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, 'source_hash', lambda *packages: 'of other code')
    with pytest.raises(UserError, match=r"another configuration or version \(code '.*', not 'of other code'\)"):
        cells.is_finished(computed[0][0])


def test_a_changed_scene_of_ones_own_makes_its_cells_stale(cell: Cell, tmp_path: Path) -> None:
    scene, task = tmp_path / 'scene.py', load(Task, cell.task).model_dump()
    Path(cell.task).write_text(yaml.safe_dump(task | {'scene': str(scene)}))
    found = []
    for depth in (1, 2):
        scene.write_text(f'depth = {depth}')
        found.append(cells.wanted(cell))
    assert found[0] != found[1]


def test_a_cell_that_is_named_twice_is_refused_before_anything_runs(cell: Cell) -> None:
    with pytest.raises(UserError, match='named twice: rlt-0'):
        cells.run([cell, replace(cell, minutes=5.0)], 1, lambda *_: None)
    assert not cell.folder.exists()


def test_an_error_without_a_message_is_named_by_its_kind() -> None:
    assert cells.first_line(AssertionError()) == '' and cells.first_line(ValueError('one\ntwo')) == 'one'


def test_what_a_run_learned_is_filmed_on_its_own_task(computed: tuple, tmp_path: Path, capsys) -> None:
    run, out = str(computed[0][0].folder), tmp_path / 'film.mp4'
    view = lambda *more: cli.main(['view', '--driver', run, '--episodes', '1', '--out', str(out), *more])  # noqa: E731
    assert view() == 0 and out.stat().st_size > 1000
    assert view('--task', 'charger') == 2
    assert 'has learned task "ethernet", not "charger"' in ' '.join(capsys.readouterr().err.split())


def test_a_new_approach_makes_cells_of_full_tasks_alone_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile, path = load(RobotProfile, 'bimanual'), tmp_path / 'vla'
    monkeypatch.setattr(cells, 'path_of', lambda *_: path)
    network, unit = tiny_weights.vla(profile)
    hashes: dict[str, set] = {'critical': set(), 'full': set()}
    for _ in range(2):
        network.approach = Approach(network.sizes)
        weights.save(path, network, unit, profile.name, ['plug it in'])
        for setting, found in hashes.items():
            found.add(cells.wanted(Cell('rlt', 0, 1.0, 1, tmp_path, driver='vla', setting=setting))['weights']['vla'])
    assert {setting: len(found) for setting, found in hashes.items()} == {'critical': 1, 'full': 2}


def test_all_drivers_start_from_the_same_states(computed: tuple) -> None:
    starts = {one.name: trace.read(one.folder / 'trace.npy')[0][0, 0] for one in computed[0] if one.name != 'delay-6-0'}
    assert len(set(starts.values())) == 1, starts
    first, second = trace.read(computed[0][-1].folder / 'trace.npy')
    assert first.shape == (26, 3) and first[0, 1] == 0 < first[1:, 1].max(), 'every tick and the end, with its speed'


def test_the_study_reads_its_cells(computed: tuple) -> None:
    first, broken, other = computed[0][:3]
    page = first.folder.parent / 'page.md'
    files = write_study(first.folder.parent, [first, broken, other], './rlt bench study', page, ['delay-6-0 failed'])
    assert {file.name for file in files} == {'study.json', 'curves.png', 'calibration.png', 'variations.png', 'page.md'}
    text = page.read_text()
    assert '`./rlt bench study`' in text and '**Missing:** delay-6-0 failed\n' in text
    assert '| rlt, seed 0 |' in text and '| no-token, seed 0 |' in text
    assert '![curves](images/page-curves.png)' in text and (page.parent / 'images' / 'page-curves.png').is_file()
    row = describe_cell(first)
    assert f'{provenance([row, describe_cell(other)])}.\n' in text
    assert row['rlt']['episodes'] == row['stiff']['episodes'] == row['vla']['episodes'] == 1
    assert row['config_hash'] == describe_cell(other)['config_hash'], 'the token is no part of the method'


def test_only_one_computes_in_a_folder(tmp_path: Path) -> None:
    with cells.alone({tmp_path}), pytest.raises(UserError, match='another benchmark computes in'):
        with cells.alone({tmp_path}):
            pass
    with cells.alone({tmp_path}):
        pass
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='file cannot be a folder of runs'):
        with cells.alone({tmp_path / 'file'}):
            pass


def test_after_kill_9_the_finished_cells_stay_and_the_rest_is_computed(tmp_path: Path) -> None:
    quick(tmp_path)
    arguments = ['bench', 'tasks', '--methods', 'teleop,vla', '--tasks', str(tmp_path / 'short.yaml'), '--seeds', '1',
                 '--episodes', '2', '--workers', '1', '--folder', str(tmp_path / 'runs'), '--no-video']  # fmt: skip
    teleop, vla = (tmp_path / 'runs' / f'short-critical-{name}-0' for name in ('teleop', 'vla'))
    process = subprocess.Popen([sys.executable, '-P', '-m', 'rlt_ros.cli', *arguments], start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        wait_for(lambda: (vla / 'cell.json').is_file() or process.poll() is not None)
        assert process.poll() is None and (teleop / 'finished.json').is_file() and not (vla / 'finished.json').exists()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = (teleop / 'episodes.jsonl').read_text()
    assert cli.main(arguments) == 0
    assert (teleop / 'episodes.jsonl').read_text() == before and (vla / 'finished.json').is_file()
    rows = json.loads((tmp_path / 'runs' / 'results.json').read_text())
    assert [(row['method'], row['episodes']) for row in rows] == [('teleop', 2), ('vla', 2)]


def wait_for(condition: object, patience: float = 240.0) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, 'nothing happened'
        time.sleep(0.02)


def test_a_cluster_that_is_not_there_is_named(cell: Cell) -> None:
    with pytest.raises(UserError, match='no Ray cluster at 127.0.0.1:1'):
        cells.run([cell], 1, lambda *_: None, '127.0.0.1:1')


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
