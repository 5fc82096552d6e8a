"""rlt replay inspect: what a live run learned from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
import typer

from rlt_ros.commands.report import Run, find

if TYPE_CHECKING:
    from rlt_ros.report.replay import Episode

LONG = 50_000_000  # bytes of a journal that are worth a progress bar


def add(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help='Look at what a live run learned from.')
    group.callback()(lambda: None)
    group.command('inspect')(inspect)
    app.add_typer(group, name='replay')


def inspect(
    run: Run,
    episode: Annotated[int | None, typer.Option(metavar='N', help='show this episode only, and its values')] = None,
    as_json: Annotated[bool, typer.Option('--json', help='print one JSON object, draw nothing')] = False,
    export: Annotated[Path | None, typer.Option(metavar='FILE', help='write all transitions: .npz or .parquet')] = None,
    out: Annotated[
        Path | None, typer.Option(metavar='FOLDER', help='of the plots; default: plots/replay/ in the run')
    ] = None,
) -> None:
    """Show what a run learned from, whether the labels are right, and what its values are worth.

    The run may be going on; its journal and checkpoints are only read.
    """
    import torch

    from rlt_ros.report import replay, replay_export, replay_plots, replay_summary

    torch.set_num_threads(1)  # the run may need the other cores
    folder = find(run)
    if export is not None:
        replay_export.check_format(export)
    with steps(shown=replay.journal_of(folder).stat().st_size >= LONG) as step:
        found = replay.inspect(folder, step('reading'))
        chosen = replay.choose(found, episode)
        if export is not None:
            replay_export.export(found, export, step('exporting'))
    if as_json:
        print(replay_summary.as_json(found, chosen))
        return
    closely = replay_plots.newest(found) if episode is None else chosen
    plots = replay_plots.write_plots(found, closely, out or folder / 'plots' / 'replay')
    console = Console()
    console.print(episode_table(chosen))
    summary = replay_summary.summarise(found)
    console.print()
    console.print(summary_table(summary))
    for line in summary['remarks']:
        console.print(line, style='yellow', highlight=False, markup=False, soft_wrap=True)
    for path in (*plots, *([export] if export else [])):
        console.print(str(path), soft_wrap=True, highlight=False, markup=False)


@contextmanager
def steps(shown: bool) -> Iterator[Callable[[str], Callable[[float], None]]]:
    """step(name) begins a part of the work; call what it returns with the share that is done, 0 to 1."""
    from rlt_ros.data.progress import progress

    if not shown:
        yield lambda name: lambda part: None
        return
    with progress() as bars:

        def step(name: str) -> Callable[[float], None]:
            bar = bars.add_task(name, total=100, note='%')
            return lambda part: bars.update(bar, completed=round(100 * part))

        yield step


def episode_table(episodes: 'list[Episode]') -> Table:
    """An episode per line, in 80 columns where nothing is wrong."""
    from rlt_ros.report.replay_summary import doubts
    from rlt_ros.report.terminal import number

    table = Table(title='What was learned from', title_justify='left', box=SIMPLE_HEAD, show_edge=False, padding=0)
    for name in ('epi-\nsode', 'tran-\nsitions', '\nsteps', 'by a\nperson', '\npolicy',
                 'return\nat start', 'return\nmean', 'Q\nmean'):  # fmt: skip
        table.add_column(name, justify='right', no_wrap=True)
    for name in ('\nmode', '\noutcome'):
        table.add_column(name, no_wrap=True)
    table.add_column('\nflags')
    for e in episodes:
        first, last = e.policy_versions[0], e.policy_versions[-1]
        ending = 'terminated' if e.terminated else 'truncated' if e.truncated else 'open'
        table.add_row(
            str(e.number), str(e.transitions), str(e.executed_steps), str(e.human_steps),
            str(first) if first == last else f'{first}-{last}', number(e.return_at_start, '.2f'),
            number(e.mean_return, '.2f'), number(e.mean_q, '.2f'), e.mode, e.outcome, ', '.join((ending, *doubts(e))),
        )  # fmt: skip
    return table


def summary_table(summary: dict) -> Table:
    """The whole journal."""
    from rlt_ros.report.terminal import number, percent

    q = summary['q']
    table = Table(title=f'{summary["run"]}: {summary["transitions"]} transitions of {summary["episodes"]} episodes',
                  title_justify='left', show_header=False)  # fmt: skip
    table.add_column()
    table.add_column(justify='right')
    for name, counts in (('transitions', summary['by_kind']), ('episodes', summary['labels'])):
        for label, count in counts.items():
            table.add_row(f'{name}: {label}', str(count))
        table.add_section()
    table.add_row('stored robot minutes', number(summary['robot_minutes'], '.2f'))
    table.add_row('on disk', f'{summary["bytes"] / 1e6:.1f} MB')
    table.add_row('per robot minute', f'{summary["megabytes_per_robot_minute"]:.1f} MB')
    table.add_row('partial chunks', percent(summary['partial_chunks']))
    table.add_section()
    table.add_row('updates of the checkpoint', number(summary['updates'], 'd'))
    for label, part in (('all', q), ('newest online', q['newest'])):
        table.add_row(f'Q minus return, {label}', number(part['gap'], '+.3f'))
        table.add_row(f'correlation with the return, {label}', number(part['correlation'], '.3f'))
    return table
