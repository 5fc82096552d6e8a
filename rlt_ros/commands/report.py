"""rlt watch, rlt report: look at a run, going on or over."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

from rich.console import Console
import typer

from rlt_ros.errors import UserError
from rlt_ros.paths import check_writable

Run = Annotated[Path, typer.Argument(metavar='RUN', help='run folder, or its name in runs/')]


def add(app: typer.Typer) -> None:
    app.command()(watch)
    app.command()(report)


def find(run: Path) -> Path:
    """The run folder that a path or a name in runs/ means; raises UserError."""
    for folder in (run, Path('runs', run)):
        if (folder / 'config.yaml').is_file():
            return folder
    there = sorted((path.parent for path in Path('runs').glob('*/config.yaml')), key=lambda p: p.stat().st_mtime)
    known = f'runs: {", ".join(path.name for path in there[-10:])}' if there else 'there is no run in runs/'
    raise UserError(f'"{run}" is no run folder (no config.yaml in it); {known}')


def watch(run: Run) -> None:
    """Show a run in the terminal until it is finished; Ctrl-C leaves, the run goes on."""
    folder, console = find(run), Console()
    try:
        asyncio.run(view(folder, console, console.is_terminal, until_finished=True))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def view(folder: Path, console: Console, live: bool, until_finished: bool = False) -> None:
    """Show a run until cancelled (or finished); live: kept up to date, and the keyboard drives the robot."""
    from rlt_ros.report import terminal

    if not live:
        return await terminal.show(folder, console, live, until_finished)
    from rlt_ros.ros.keyboard import live_keyboard

    with live_keyboard(str(terminal.arguments_of(folder).get('namespace', ''))) as keyboard:
        if keyboard is None:
            return await terminal.show(folder, console, live, until_finished)
        keys = asyncio.create_task(keyboard.run())
        try:
            await terminal.show(folder, console, live, until_finished, keyboard.help)
        finally:
            keys.cancel()


def report(
    runs: Annotated[list[Path], typer.Argument(metavar='RUN...', help='run folders, or their names in runs/')],
    as_json: Annotated[bool, typer.Option('--json', help='print summary.json only')] = False,
    page: Annotated[Path | None, typer.Option(help='page (.md) to write the results of all runs to')] = None,
) -> None:
    """Write summary.json and plots of runs and print their numbers."""
    folders = [find(run) for run in runs]
    if page is not None:
        check_writable(page)
    for folder in folders:
        if as_json:
            from rlt_ros.report.summary import summarise

            print(json.dumps(summarise(folder), indent=2))
        else:
            report_on(folder, Console())
    if page is not None:
        from rlt_ros.report.publish import publish

        publish(folders, page)


def report_on(folder: Path, console: Console) -> None:
    """Write summary.json and plots and print the table and where the files are."""
    from rlt_ros.report.plots import write_plots
    from rlt_ros.report.summary import write_summary
    from rlt_ros.report.terminal import summary_table

    try:
        summary, plots = write_summary(folder), write_plots(folder)
    except OSError as error:
        raise UserError(f'the report of {folder} cannot be written: {error.strerror}') from None
    if not summary['episodes']:
        console.print('no episode has ended yet', highlight=False)
    console.print(summary_table(summary))
    for path in (folder / 'summary.json', *plots, *sorted(folder.glob('*.mp4'))):
        console.print(str(path), soft_wrap=True, highlight=False)
