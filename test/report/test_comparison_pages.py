"""Pages and pictures of a comparison and of ablations say what was measured, and nothing that was not."""

import json
from pathlib import Path

import numpy as np
import pytest

from rlt_ros.bench.cells import Cell
from rlt_ros.report.comparison import write_ablations, write_comparison
from rlt_ros.report.comparison_plots import learning, of_ablations, parts
from rlt_ros.report.study_plots import OTHERS

VARIATIONS = [f'no-part-{number}' for number in range(len(OTHERS) + 3)]


def made(folder: Path, driver: str, seed: int = 0, variation: str = 'rlt', setting: str = 'critical') -> Cell:
    """A finished cell of five final episodes; RLT has learned for six minutes."""
    name = variation if driver == 'rlt' else driver
    cell = Cell(variation, seed, 6.0, 5, folder / f'plug-{name}-{seed}', task='plug', driver=driver, setting=setting)
    cell.folder.mkdir(parents=True)
    modes = ['online'] * 36 * (driver == 'rlt') + ['final'] * 5
    (cell.folder / 'episodes.jsonl').write_text(''.join(
        json.dumps({'episode': n, 'mode': mode, 'outcome': 'success', 'steps': 500, 'seconds': 10.0,
                    'robot_minutes': min(n, 36) / 6}) + '\n' for n, mode in enumerate(modes, 1)))  # fmt: skip
    np.save(cell.folder / 'trace.npy', np.array([[n, z, 0.01, 2.0] for n in range(5) for z in (0.01, 0.0)], np.float32))
    return cell


@pytest.fixture
def ablated(tmp_path: Path) -> list[Cell]:
    return [made(tmp_path, 'vla'), *(made(tmp_path, 'rlt', variation=name) for name in ['rlt', *VARIATIONS])]


@pytest.mark.parametrize('setting', ['critical', 'full'])
def test_the_page_says_how_rlt_learned_and_what_its_columns_are(tmp_path: Path, setting: str) -> None:
    cells = [made(tmp_path, driver, setting=setting) for driver in ('vla', 'teleop', 'rlt')]
    page, command = tmp_path / 'docs' / 'mine.md', './rlt bench tasks --seeds 1'
    write_comparison(tmp_path, cells, [], command, page)
    text = page.read_text()
    for said in (
        f'Written by `{command}` ',
        'RLT is the policy after 6 robot minutes, without noise. It learned with one seed.',
        "*Successes per 10 min*: of the episodes' own time, failures included, resets left out.",
        "*Largest force*: each episode's maximum at a control tick, their mean;",
        'One seed: the intervals are those of its final episodes, not of another training.',
    ):
        assert said in text, said
    assert ('the part is fetched first' in text) == (setting == 'full')
    write_comparison(tmp_path, [*cells, made(tmp_path, 'rlt', 1, setting=setting)], [], command, page)
    assert 'It learned with 2 seeds.' in page.read_text() and 'One seed' not in page.read_text()


def test_the_page_of_ablations_says_so_too(ablated: list[Cell], tmp_path: Path) -> None:
    write_ablations(tmp_path, ablated, {}, './rlt', tmp_path / 'mine.md', [])
    text = (tmp_path / 'mine.md').read_text()
    assert 'Each is the policy after 6 robot minutes, without noise. It learned with one seed.' in text
    assert "*Largest force*: each episode's maximum at a control tick, their mean;" in text
    assert 'One seed: the intervals are' in text
    for name in ('parts', 'parts-final'):
        image = f'images/mine-{name}.png'
        assert (tmp_path / image).stat().st_size > 10_000 and f'({image})' in text


@pytest.mark.parametrize(('seeds', 'title'), [
    ([1], ', one seed'), ([2], ', mean and 95 % band over seeds'), ([1, 2], ''),
])  # fmt: skip
def test_a_band_over_seeds_is_named_where_there_are_seeds(tmp_path: Path, seeds: list[int], title: str) -> None:
    tasks = {f'task-{i}': [made(tmp_path / str(i), 'rlt', seed) for seed in range(n)] for i, n in enumerate(seeds)}
    assert learning(tasks).get_suptitle() == f'Successes per 10 min while learning{title}'


def test_each_variation_has_a_panel_of_its_own_over_rlt(ablated: list[Cell]) -> None:
    groups = {cell.variation if cell.driver == 'rlt' else 'vla': [cell] for cell in ablated}
    figure = parts(groups)
    panels = [axes for axes in figure.axes if axes.lines]
    assert [axes.get_title() for axes in panels] == VARIATIONS
    assert {tuple(axes.get_legend_handles_labels()[1]) for axes in panels} == {('vla', 'rlt', 'rlt, varied as named')}
    assert not any(axes.get_legend() for axes in panels), 'it would cover curves'
    assert len({axes.get_ylim() for axes in panels}) == 1


def test_without_a_variation_there_is_no_picture_of_variations(ablated: list[Cell]) -> None:
    assert set(of_ablations(ablated[:2])) == {'parts-final.png'}
    assert set(of_ablations(ablated[2:])) == {'parts.png', 'parts-final.png'}, 'RLT itself may be missing'
