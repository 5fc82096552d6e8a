"""What is asked for is refused by name where it cannot be; results, tables and pages come from the files alone."""

from dataclasses import replace
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from rlt_ros import cli
from rlt_ros.bench import tasks
from rlt_ros.bench.cells import Cell
from rlt_ros.config import Task, load
from rlt_ros.errors import UserError
from rlt_ros.report import behaviour
from rlt_ros.report.cells import interval, likeness, pooled, results
from rlt_ros.report.comparison import HEADER, table, write_ablations, write_comparison
from rlt_ros.report.summary import throughput, wilson
from rlt_ros.weights_files import path_of


@pytest.mark.parametrize(('arguments', 'named'), [
    (['--tasks', 'surgery'], 'task "surgery" does not exist; there are: '),
    (['--methods', 'vla,magic'], 'method "magic" does not exist; there are: vla, teleop, rlt'),
    (['--methods', ','], 'no method is named in ","'),
    (['--robot', 'centaur'], 'robot "centaur" does not exist'),
    (['--tasks', 'ethernet_full'], 'task "ethernet_full" is a full one: give the name of its critical phase and'),
])  # fmt: skip
def test_what_does_not_exist_is_named_before_anything_runs(
    arguments: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / 'runs'
    assert cli.main(['bench', 'tasks', '--tasks', 'ethernet', '--folder', str(folder), *arguments]) == 2
    assert named in ' '.join(capsys.readouterr().err.split()) and not folder.exists()


def test_tasks_without_a_full_setting_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ['ethernet', 'screw', 'screw_full']
    monkeypatch.setattr(tasks, 'names', lambda model: there)
    monkeypatch.setattr(tasks, 'load', lambda model, name: None)
    assert tasks.tasks_of('all', 'critical') == (['ethernet', 'screw'], [])
    assert tasks.tasks_of('screw,ethernet,screw', 'full') == (['screw'], ['ethernet'])
    with pytest.raises(UserError, match='no full setting for: ethernet .*--setting critical'):
        tasks.tasks_of('ethernet', 'full')
    assert Cell('rlt', 0, 1, 1, Path('x'), task='screw', setting='full').its_task == 'screw_full'


def test_ablations_share_the_cells_of_a_comparison_and_weights_must_be_given(tmp_path: Path) -> None:
    plan = lambda text, weights=None: tasks.ablations(  # noqa: E731
        text, 'ethernet', 'critical', 2, 1.0, 3, tmp_path, 'bimanual', weights or {})
    cells, lack = plan('all')
    assert lack == ['no-context-dropout'] and len({cell.name for cell in cells}) == len(cells) == 2 * (2 + 9)
    compared = tasks.comparison(['vla', 'rlt'], ['ethernet'], 'critical', 2, 1.0, 3, tmp_path, 'bimanual')
    assert cells[:4] == compared
    weights = tmp_path / 'token.safetensors'
    with pytest.raises(UserError, match='token.safetensors of variation "no-context-dropout" does not exist'):
        plan('no-context-dropout', {'no-context-dropout': str(weights)})
    weights.touch()
    with pytest.raises(UserError, match='token.safetensors is damaged'):
        plan('no-context-dropout', {'no-context-dropout': str(weights)})
    weights = path_of('rl_token', 'bimanual').resolve()
    cells, lack = plan('no-context-dropout', tasks.weights_of([f'no-context-dropout={weights}']))
    assert not lack and cells[-1].models()[3].weights == str(weights)
    own = tmp_path / 'own.yaml'
    own.write_text(yaml.safe_dump(load(Task, 'ethernet').model_dump()))
    with pytest.raises(UserError, match='own.yaml" has no full setting'):
        tasks.ablations('all', str(own), 'full', 1, 1.0, 3, tmp_path, 'bimanual', {})
    for wrong in ('no-bc=x', 'no-context-dropout'):
        with pytest.raises(UserError, match='allowed: NAME=FILE for image-encoder, no-context-dropout'):
            tasks.weights_of([wrong])
    with pytest.raises(UserError, match='variation "no-robot" does not exist; there are: rlt, '):
        plan('no-robot')


def written(folder: Path, driver: str, seed: int, steps: int, failures: int = 0, variation: str = 'rlt') -> Cell:
    """A finished cell of ten final episodes; RLT has learned for ten minutes, from the sixth on as fast as at last."""
    name = variation if driver == 'rlt' else driver
    cell = Cell(variation, seed, 10.0, 10, folder / f'plug-critical-{name}-{seed}', task='plug', driver=driver)
    cell.folder.mkdir(parents=True)
    lines, height = [], []
    modes = ['final'] * 10 if driver != 'rlt' else [*['online'] * 60, *['final'] * 10]
    for number, mode in enumerate(modes, 1):
        slow = mode == 'online' and number <= 30
        ticks = 500 if slow else steps
        failed = slow or mode == 'final' and number > len(modes) - failures
        lines.append({'episode': number, 'mode': mode, 'outcome': 'timeout' if failed else 'success', 'steps': ticks,
                      'seconds': ticks / 50, 'robot_minutes': min(number, 60) / 6})  # fmt: skip
        if mode == 'final':
            height += [[number, z, 0.01 if driver == 'teleop' else 0.03, 2.0 if z < 0.002 else 0.0]
                       for z in (0.03, 0.02, 0.01, 0.0, *((0.01, 0.0) if driver != 'rlt' else ()))]  # fmt: skip
    (cell.folder / 'episodes.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    np.save(cell.folder / 'trace.npy', np.array(height, np.float32))
    (cell.folder / 'config.yaml').write_text('hash: abc')
    (cell.folder / 'versions.json').write_text(json.dumps({
        'cpu': 'a processor', 'cores': 2, 'commit': 'c0ffee', 'packages': {'rlt_ros': '0.1'}}))  # fmt: skip
    (cell.folder / 'finished.json').write_text(json.dumps({'wanted': {'weights': {}}, 'cost': {
        'simulated_minutes': 12.0, 'wall_minutes': 6.0, 'core_minutes': 4.0, 'peak_memory_mb': 300.0 + seed}}))
    return cell


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    vla = [written(tmp_path, 'vla', seed, 200, failures=2) for seed in range(2)]
    return [*vla, written(tmp_path, 'teleop', 0, 400), *(written(tmp_path, 'rlt', seed, 100) for seed in range(2))]


def test_results_have_a_row_for_each_cell(cells: list[Cell]) -> None:
    rows = results(cells)
    assert [(r['method'], r['task'], r['setting'], r['seed']) for r in rows] == [
        ('vla', 'plug', 'critical', 0), ('vla', 'plug', 'critical', 1), ('teleop', 'plug', 'critical', 0),
        ('rlt', 'plug', 'critical', 0), ('rlt', 'plug', 'critical', 1)]  # fmt: skip
    vla, rlt = rows[0], rows[-1]
    assert vla['success_rate'] == 0.8 and vla['ci'][0] < 0.8 < vla['ci'][1] and vla['median_steps'] == 200
    assert vla['throughput_per_10min'] == pytest.approx(8 / (10 * 4.0) * 600)
    # of 20 learning episodes the first 12 fail in 10 s, 8 succeed in 2 s: 35 per 10 min; VLA 120, a person 75
    assert vla['minutes_to_pass_vla'] is None and vla['robot_minutes'] == 0
    assert rlt['robot_minutes'] == 10, 'what it has learned from, as its curves count it'
    assert 5 < rlt['minutes_to_pass_teleop'] < rlt['minutes_to_pass_vla'] < 10
    assert {'episodes', 'config_hash', 'machine', 'packages', 'cost', 'commit'} <= set(rlt)


def test_page_and_plots_say_what_was_measured(cells: list[Cell], tmp_path: Path) -> None:
    page = tmp_path / 'docs' / 'comparison.md'
    files = write_comparison(tmp_path, cells, [], './rlt bench tasks', page)
    assert {f.name for f in files} == {'results.json', 'final.png', 'steps.png', 'throughput.png', 'behaviour-plug.png',
                                       'comparison.md'}  # fmt: skip
    text = page.read_text()
    rows = dict(table(cells))
    assert rows['vla'][0] == '80% (58% to 92%)' and rows['vla'][HEADER.index('retries')] == '1.00'
    assert rows['rlt'][0] == '100% (84% to 100%)' and rows['rlt'][HEADER.index('retries')] == '0.00'
    assert rows['teleop'][HEADER.index('approach, mm/s')] == '10'
    assert rows['rlt'][HEADER.index('seeds x episodes')] == '2 x 10'
    assert '| ' + ' | '.join(('rlt', *rows['rlt'])) + ' |' in text
    for fact in ('a processor, 2 cores', 'commit c0ffee', 'configurations abc', 'seeds 0, 1',
                 '60.0 robot minutes simulated, 2.00 per minute and worker, 3.00 per core minute; at most 301 MB'):
        assert fact in text, fact
    for name in ('final', 'throughput', 'behaviour-plug'):
        image = f'images/comparison-{name}.png'
        assert (page.parent / image).is_file() and f'({image})' in text


def test_page_of_ablations(cells: list[Cell], tmp_path: Path) -> None:
    some = [cells[0], cells[3], written(tmp_path, 'rlt', 0, 300, failures=5, variation='no-bc')]
    page = tmp_path / 'ablations.md'
    write_ablations(tmp_path, some, {'rlt': 'as shipped', 'no-bc': 'nothing pulls'}, './rlt', page,
                    ['no-context-dropout'])
    text = page.read_text()
    assert '| no-bc | 50% (24% to 76%)' in text and '- **no-bc**: nothing pulls' in text
    assert '- **no-context-dropout**: not computed, its weights were not given' in text
    assert '](images/ablations-parts.png)' in text


def test_where_nobody_can_be_passed_it_is_not_said_that_rlt_never_did(cells: list[Cell]) -> None:
    alone, column = dict(table(cells[3:]))['rlt'], HEADER.index('passes the VLA at')
    assert alone[column] == '' and 'min' in dict(table(cells))['rlt'][column]


def test_a_page_says_what_is_missing(cells: list[Cell], tmp_path: Path) -> None:
    page = tmp_path / 'comparison.md'
    write_comparison(tmp_path, cells, [], './rlt', page, ['screw-critical-rlt-0 failed'])
    assert '**Missing:** screw-critical-rlt-0 failed\n' in page.read_text()


def test_intervals_are_over_seeds_and_episodes(cells: list[Cell]) -> None:
    same = [{'outcome': 'success', 'seconds': 2.0, 'steps': 100}] * 10
    fast = [{'outcome': 'success', 'seconds': 1.0, 'steps': 50}] * 10
    assert interval([same, same], throughput) == (300, 300)
    assert interval([same, fast], throughput) == (300, 600), 'two seeds that differ: either may have come twice'
    assert interval([[]], throughput) is None
    assert pooled(cells[:2])['episodes'] == 20


def test_success_is_as_uncertain_as_its_seeds_differ(tmp_path: Path) -> None:
    seeds = [written(tmp_path, 'rlt', seed, 100, failures=failures) for seed, failures in enumerate((0, 0, 6))]
    assert pooled(seeds[:2])['success_ci'] == wilson(20, 20), 'where all succeed episodes are still few'
    assert pooled(seeds[2:])['success_ci'] == wilson(4, 10)
    low, high = pooled(seeds)['success_ci']
    assert low < wilson(24, 30)[0] - 0.1 and high > wilson(24, 30)[1]


@pytest.mark.parametrize(('seeds', 'worth'), [
    ([(50, 50), (50, 50), (20, 50)], 37.5),  # by hand: squares 100 + 100 + 400, times 3 / 2, over 0.8 * 0.2 * 150
    ([(8, 10), (8, 10)], 1), ([(7, 10), (8, 10)], 1), ([(3, 10)], 1), ([(10, 10), (5, 5)], 1), ([], 1),
])  # fmt: skip
def test_episodes_of_one_policy_are_alike(seeds: list[tuple[int, int]], worth: float) -> None:
    assert likeness(seeds) == pytest.approx(worth)


@pytest.mark.parametrize(('height', 'count'), [
    ([30, 20, 10, 0], 1), ([30, 10, 9.5, 10.4, 9, 0], 1), ([30, 10, 13, 10], 2), ([30, 0, 5, 0, 5, 0], 3),
    ([5, 6, 7], 0),
])  # fmt: skip
def test_descents_are_counted_where_the_tool_came_up_between(height: list[float], count: int) -> None:
    assert behaviour.descents(np.array(height) * 1e-3) == count


def test_a_cell_without_traces_has_no_behaviour(cells: list[Cell], tmp_path: Path) -> None:
    without = replace(cells[0], folder=tmp_path / 'nothing')
    assert set(behaviour.describe([without]).values()) == {None}
