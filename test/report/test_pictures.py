"""Plots are drawn and the terminal shows what matters, for whole, young and empty runs."""

import asyncio
import json

import cv2
import made_up_run
import pytest
from rich.console import Console

from rlt_ros.report import terminal
from rlt_ros.report.plots import write_plots
from rlt_ros.report.summary import summarise


def shown(renderable) -> str:
    console = Console(width=120, record=True, file=open('/dev/null', 'w'))
    console.print(renderable)
    return console.export_text()


@pytest.mark.parametrize('online', [200, 7, 0])
def test_plots_are_pictures_with_something_on_them(tmp_path, online):
    for path in write_plots(made_up_run.write(tmp_path / 'run', online)):
        picture = cv2.imread(str(path))
        assert min(picture.shape[:2]) > 600 and picture.std() > 5


def test_plots_of_an_empty_run(tmp_path):
    assert len(write_plots(tmp_path)) == 2


def test_the_live_view_shows_rlt_beside_the_vla(tmp_path):
    text = shown(terminal.render(made_up_run.write(tmp_path / 'run'), 30.0))
    for part in ('episode 270', 'critical', '95%', '412.5', 'VLA 6', '61', 'policy version', '80.0', '1 of 4950'):
        assert part in text, part


def test_the_live_view_waits_for_a_young_run(tmp_path):
    assert 'waiting' in shown(terminal.render(tmp_path, 30.0)) and 'waiting' in terminal.line(tmp_path, 30.0)


def test_a_status_with_gaps_is_shown(tmp_path):
    (tmp_path / 'status.json').write_text('{"episode": 0, "median_steps": null}')
    assert '–' in shown(terminal.render(tmp_path, 30.0))
    assert 'median steps –' in terminal.line(tmp_path, 30.0)


def test_one_line_of_status(tmp_path):
    line = terminal.line(made_up_run.write(tmp_path / 'run'), 30.0)
    assert '\n' not in line and 'of 30 robot minutes' in line and 'success of last 20 95%' in line


def test_sparkline_scales_to_the_best_and_covers_all_values():
    assert terminal.sparkline([0.0, 5.0, 10.0]) == '▁▅█'
    assert terminal.sparkline([]) == ''
    course = terminal.sparkline([float(i) for i in range(1001)])
    assert len(course) == terminal.WIDTH and course[0] == '▁' and course[-1] == '█' and '▄' in course


@pytest.mark.parametrize('live', [True, False])
def test_watching_ends_with_the_run(tmp_path, live):
    folder = made_up_run.write(tmp_path / 'run')
    status = json.loads((folder / 'status.json').read_text())
    (folder / 'status.json').write_text(json.dumps({**status, 'finished': True}))
    console = Console(width=120, record=True, file=open('/dev/null', 'w'))
    asyncio.run(terminal.show(folder, console, live, until_finished=True))
    assert '95%' in console.export_text()


def test_the_summary_table_has_both_columns(tmp_path):
    text = shown(terminal.summary_table(summarise(made_up_run.write(tmp_path / 'run'))))
    assert 'frozen VLA' in text and 'RLT, last 50' in text and '100%' in text and '(' in text
    assert shown(terminal.summary_table(summarise(tmp_path)))
