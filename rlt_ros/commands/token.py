"""rlt token report: does the RL token carry anything."""

import json
from pathlib import Path
from typing import Annotated

from rich import box
from rich.console import Console
from rich.table import Table
import typer

from rlt_ros.errors import UserError
from rlt_ros.paths import check_writable

Weights = Annotated[Path | None, typer.Option(help="weights file; default: the robot's own")]


def add(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help='Judge the RL token before a robot learns from it.')
    group.callback()(lambda: None)
    group.command('report')(report)
    app.add_typer(group, name='token')


def report(
    as_json: Annotated[bool, typer.Option('--json', help='print one JSON object only')] = False,
    robot: Annotated[str, typer.Option(help='robot profile, name or path')] = 'bimanual',
    task: Annotated[str, typer.Option(help='task, name or path')] = 'ethernet',
    dataset: Annotated[
        Path | None, typer.Option(help='demonstrations that training did not see; default: recorded now, in simulation')
    ] = None,
    episodes: Annotated[
        int, typer.Option(min=10, max=10_000, help='demonstrations, and episodes of the VLA, to record')
    ] = 120,
    seed: Annotated[int, typer.Option(min=0, help='of the recorded episodes')] = 0,
    vla: Weights = None,
    token: Weights = None,
    out: Annotated[Path, typer.Option(help='folder of report.json and plots')] = Path('runs/token-report'),
) -> None:
    """Measure reconstruction, gaps, probes and spectrum on unseen episodes; exit code 1 says: do not use the token.

    A third of the episodes is scored, probes learn on the rest; intervals are 95 %, by bootstrap over episodes.
    """
    from rlt_ros import config
    from rlt_ros.token.plots import write_plots
    from rlt_ros.token.report_run import run
    from rlt_ros.weights_files import path_of

    profile, its_task, method = (config.load(*pair) for pair in (
        (config.RobotProfile, robot), (config.Task, task), (config.Method, 'rlt')))  # fmt: skip
    paths = vla or path_of('vla', profile.name), token or path_of('rl_token', profile.name)
    check_writable(out / 'report.json')
    found = run(profile, its_task, method, *paths, dataset, episodes, seed)
    try:
        files = write_plots(found, out)
        (out / 'report.json').write_text(json.dumps(found, indent=1) + '\n')
    except OSError as error:
        raise UserError(f'{out} cannot be written: {error.strerror}') from None
    if as_json:
        print(json.dumps(found))
    else:
        show(found, [out / 'report.json', *files], Console())
    raise typer.Exit(int(bool(found['failures'])))


def show(found: dict, files: list[Path], console: Console) -> None:
    """Tables, where the files are, and the verdict."""
    data = found['data']['demonstrations']
    title = f'RL token of {found["robot"]}, {data["scored_episodes"]} of {data["episodes"]} unseen episodes scored'
    context = found['with_context']
    table = Table('', 'all context hidden', f'{context["hidden"]:.0%} hidden', title=title, title_justify='left')
    for name, label in (
        ('relative_error', 'relative error'), ('zero_gap', 'gap with zeros'), ('shuffle_gap', "gap with another's"),
    ):  # fmt: skip
        table.add_row(label, *(between(part[name], part[f'{name}_ci']) for part in (found, context)))
    console.print(table)
    console.print(probe_table(found['probes']))
    for name, one in found['spectrum'].items():
        console.print(
            f'{name}: {one["components_90"]} principal components hold 90 % of the variance, '
            f'{one["components_99"]} hold 99 %', highlight=False,
        )  # fmt: skip
    for path in files:
        console.print(str(path), soft_wrap=True, highlight=False)
    for failure in found['failures']:
        console.print(f'fails: {failure}', style='red', soft_wrap=True, highlight=False)
    for unknown in found['unknown']:
        console.print(f'unknown: {unknown}', style='yellow', soft_wrap=True, highlight=False)
    if not found['failures']:
        seen = '' if found['unknown'] else ', and the token sees the offset'
        console.print(f'passes: the decoder needs the token{seen}', style='green')


def between(value: float, interval: list[float]) -> str:
    return f'{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})'


def probe_table(probes: dict) -> Table:
    """A row for each representation, a column for each probe, linear and MLP reading in a cell."""
    table = Table('linear/MLP', title='What can be read off', title_justify='left', box=box.SIMPLE_HEAD)
    columns = (
        ('offset x\nmm', 'offset', 'rmse_mm', 0), ('offset y\nmm', 'offset', 'rmse_mm', 1),
        ('chunk\nR²', 'action', 'r2', None), ('phase\naccuracy', 'phase', 'accuracy', None),
        ('goes in\nAUC', 'outcome', 'auc', None),
    )  # fmt: skip
    table.columns[0].no_wrap = True
    for label, *_ in columns:
        table.add_column(label, justify='right', no_wrap=True)
    for name in probes['action']:
        cells = []
        for _, probe, metric, axis in columns:
            one = probes[probe].get(name, {})  # some offsets are unknown, and some attempts all end the same way
            values = [part[metric] for part in ((one,) if metric in one else one.values())]
            cells.append('/'.join(f'{value if axis is None else value[axis]:.2f}' for value in values) or '–')
        table.add_row({'chance': 'without looking'}.get(name, name), *cells)
    return table
