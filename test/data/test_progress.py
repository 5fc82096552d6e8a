"""Progress as a person sees it, in a terminal and in a log file."""

from io import StringIO

from rich.console import Console

from rlt_ros.data.progress import progress


def run(console: Console) -> str:
    with progress(console) as bars:
        bar = bars.add_task('training', total=1000, note='')
        for step in range(1000):
            bars.update(bar, completed=step + 1, note=f'loss {step + 1}')
    return console.file.getvalue()


def test_a_log_file_gets_a_line_at_every_twentieth() -> None:
    lines = [line for line in run(Console(file=StringIO(), width=200)).splitlines() if '%' in line]
    assert [line.split(',')[0] for line in lines] == [f'training {p}%: loss {10 * p}' for p in range(5, 101, 5)]


def test_a_terminal_gets_the_bar_alone() -> None:
    assert '%' not in run(Console(file=StringIO(), width=200, force_terminal=True))
