"""The results page: numbers of the runs' files, pictures beside it."""

from pathlib import Path

import made_up_run
import pytest

from rlt_ros import cli
from rlt_ros.report.plots import write_plots
from rlt_ros.report.publish import publish
from rlt_ros.report.summary import summarise


def test_page_has_the_numbers_and_pictures_of_every_run(tmp_path: Path) -> None:
    folders = [made_up_run.write(tmp_path / 'first'), made_up_run.write(tmp_path / 'second', online=0)]
    write_plots(folders[0])
    publish(folders, tmp_path / 'docs' / 'results.md')
    page = (tmp_path / 'docs' / 'results.md').read_text()
    summary = summarise(folders[0])
    rows = [line for line in page.splitlines() if line.startswith('| first |')]
    assert len(rows) == 2 and f' {summary["rlt"]["throughput_per_10min"]:.0f} ' in rows[1]
    assert f'{summary["minutes_to_pass_vla"]:.1f} min' in rows[1]
    assert sum(line.startswith('| second |') for line in page.splitlines()) == 1  # nothing online yet: no row for it
    assert (tmp_path / 'docs' / 'images' / 'first-learning_curve.png').stat().st_size > 10_000
    assert '(images/first-learning_curve.png)' in page
    made_with = '- ?, ? cores; rlt_ros ?, commit ?, Python 3.11, PyTorch ?, MuJoCo ?; configurations abc; seeds 0\n'
    assert page.count(made_with) == 2


@pytest.mark.parametrize('page', ['status.json/page.md', '.'])
def test_a_page_that_could_not_be_written_is_refused_before_anything_is_drawn(
    tmp_path: Path, page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder = made_up_run.write(tmp_path / 'run')
    monkeypatch.chdir(folder)
    assert cli.main(['report', '.', '--page', page]) == 2
    assert capsys.readouterr().err.startswith(f'rlt: {page} cannot be written: ')
    assert not (folder / 'summary.json').exists()
