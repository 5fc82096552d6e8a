"""A run in the terminal: live from status.json, as one line, and as a table at its end."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rlt_ros.report.records import of_mode, read_episodes, read_object
from rlt_ros.report.summary import LAST, WINDOW, describe, throughput

BARS = '▁▂▃▄▅▆▇█'
WIDTH = 40


def number(value: object, form: str = '.0f', unit: str = '') -> str:
    """A value that may not be there yet."""
    return f'{value:{form}}{unit}' if isinstance(value, (int, float)) else '–'


def percent(value: object) -> str:
    return number(value, '.0%')


def sparkline(values: list[float]) -> str:
    """All values as at most WIDTH bars, scaled from 0 to their maximum; the last bar is the last value."""
    step = max(1.0, len(values) / WIDTH)
    values = [values[round(len(values) - 1 - i * step)] for i in reversed(range(min(len(values), WIDTH)))]
    top = max(values, default=0.0) or 1.0
    return ''.join(BARS[min(len(BARS) - 1, int(value / top * len(BARS)))] for value in values)


def render(run_folder: Path, goal: float | None) -> RenderableType:
    """The state of a run now; `goal`: robot minutes it is to take."""
    status, episodes = read_object(run_folder / 'status.json'), read_episodes(run_folder)
    if not status:
        return Panel(Text('waiting for the first status', style='dim'), title=str(run_folder), title_align='left')
    vla, online = describe(of_mode(episodes, 'evaluation')), of_mode(episodes, 'online')
    course = [throughput(online[max(0, end - WINDOW):end]) or 0.0 for end in range(1, len(online) + 1)]
    error = status.get('deadline_error_ms') or {}
    minutes = status.get('robot_minutes') or 0.0
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(total=goal or 1.0, completed=minutes, width=WIDTH),
                f'{minutes:.1f} of {number(goal, "g")} robot minutes')
    left, right = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
    for table in (left, right):
        table.add_column(style='dim')
        table.add_column(justify='right')
    for label, now, before in (
        ('success, last 20', percent(status.get('success_last_20')), percent(vla['success_rate'])),
        ('successes per 10 min', number(status.get('throughput_per_10min'), '.1f'),
         number(vla['throughput_per_10min'], '.1f')),
        ('median steps', number(status.get('median_steps')), number(vla['median_steps'])),
    ):
        left.add_row(label, Text.assemble((now, 'bold cyan'), (f'  VLA {before}', 'dim')))
    right.add_row('policy version', number(status.get('policy_version'), 'd'))
    right.add_row('updates per s', number(status.get('updates_per_s'), '.1f'))
    right.add_row('missed ticks', f'{number(status.get("missed_ticks"), "d")} of {number(status.get("ticks"), "d")}')
    right.add_row('deadline error p99', number(error.get('p99'), '.2f', ' ms'))
    head = Text.assemble('episode ', (str(status.get('episode', '–')), 'bold'), '  ',
                         (str(status.get('phase', '')), 'bold yellow'), '  ', (str(status.get('mode', '')), 'dim'))
    columns = Table.grid(padding=(0, 6))
    columns.add_row(left, right)
    parts: list[RenderableType] = [head, bar, Text(), columns]
    if course:
        parts += [Text(), Text.assemble(('throughput  ', 'dim'), (sparkline(course), 'cyan'), f'  {course[-1]:.1f}')]
    if status.get('finished'):
        parts.append(Text('finished', style='bold green'))
    return Panel(Group(*parts), title=str(run_folder), title_align='left', border_style='cyan', width=100)


def arguments_of(run_folder: Path) -> dict:
    """What the run was started with, from its config.yaml; {} where that cannot be read."""
    return read_object(run_folder / 'config.yaml').get('arguments') or {}


def line(run_folder: Path, goal: float | None) -> str:
    """The state of a run now, in one line without colours."""
    status = read_object(run_folder / 'status.json')
    if not status:
        return 'waiting for the first status'
    return (f'{number(status.get("robot_minutes"), ".1f")} of {number(goal, "g")} robot minutes, '
            f'episode {number(status.get("episode"), "d")} ({status.get("mode", "")}, {status.get("phase", "")}), '
            f'success of last 20 {percent(status.get("success_last_20"))}, '
            f'{number(status.get("throughput_per_10min"), ".1f")} per 10 min, '
            f'median steps {number(status.get("median_steps"))}, policy {number(status.get("policy_version"), "d")}, '
            f'{number(status.get("updates_per_s"), ".1f")} updates/s, '
            f'missed ticks {number(status.get("missed_ticks"), "d")}')


async def show(
    run_folder: Path, console: Console, live: bool, until_finished: bool = False, below: Callable[[], str] = str
) -> None:
    """Show the run until cancelled (or finished): a live view, or a line every 10 s. Lines printed stay above it.

    below: gives the line below the live view, which may change at any time.
    """
    def finished() -> bool:
        return until_finished and bool(read_object(run_folder / 'status.json').get('finished'))

    def now() -> RenderableType:
        return Group(render(run_folder, goal), Text(below(), style='dim'))

    goal = arguments_of(run_folder).get('minutes')
    if not live:
        while True:
            console.print(line(run_folder, goal), soft_wrap=True, highlight=False, markup=False)
            if finished():
                return
            await asyncio.sleep(10)
    with Live(now(), console=console, auto_refresh=False) as view:
        try:
            while not finished():
                text = below()
                for _ in range(10):
                    await asyncio.sleep(0.1)
                    if below() != text:
                        break
                view.update(now(), refresh=True)
        finally:
            view.update(now(), refresh=True)


def summary_table(summary: dict) -> Table:
    """The frozen VLA and RLT side by side."""
    vla, rlt = summary['vla'], summary['rlt']
    table = Table(title=f'{summary["task"]}, {summary["method"]}, seed {summary["seed"]}: '
                        f'{summary["robot_minutes"]:.1f} robot minutes', title_justify='left')
    table.add_column('')
    table.add_column('frozen VLA', justify='right')
    table.add_column(f'RLT, last {LAST}', justify='right', style='bold')
    for label, name, form in (('success', 'success_rate', '.0%'),
                              ('successes per 10 min', 'throughput_per_10min', '.1f'),
                              ('median steps to success', 'median_steps', '.0f'), ('episodes', 'episodes', 'd')):
        cells = [number(column[name], form) for column in (vla, rlt)]
        if name == 'success_rate':
            cells = [cell + (f' ({column["success_ci"][0]:.0%} to {column["success_ci"][1]:.0%})'
                             if column['success_ci'] else '')
                     for cell, column in zip(cells, (vla, rlt), strict=True)]
        table.add_row(label, *cells)
    table.add_section()
    table.add_row('robot minutes until it passes the VLA', '', number(summary['minutes_to_pass_vla'], '.1f'))
    table.add_row('robot minutes until 3x the VLA', '', number(summary['minutes_to_3x_vla'], '.1f'))
    table.add_row('updates per s while learning', '', number(summary['updates_per_s'], '.1f'))
    table.add_row('missed ticks', '', f'{number(summary["missed_ticks"], "d")} of {number(summary["ticks"], "d")}')
    table.add_row('deadline error p99', '', number((summary['deadline_error_ms'] or {}).get('p99'), '.2f', ' ms'))
    return table


def learner_table(found: dict) -> Table:
    """What `rlt bench learner` measured."""
    table = Table('updates per second, one thread', 'ours', 'textbook', 'ratio', 'ours, bfloat16', 'ratio',
                  'largest difference', box=None, padding=(0, 3, 0, 0))  # fmt: skip
    for key, label in (('paper_sizes', "the paper's sizes"), ('builtin_sizes', 'built-in sizes')):
        part = found[key]
        table.add_row(
            f'{label} (state {part["state"]}, chunk {part["chunk"]}, hidden {part["hidden"]}, batch {part["batch"]})',
            number(part['ours']), number(part['plain']), number(part['ratio'], '.2f'), number(part['ours_bfloat16']),
            number(part['ratio_bfloat16'], '.2f'), number(part['largest_difference'], '.0e'),
        )  # fmt: skip
    large, small = found['sampled_from']
    table.caption = (
        f'a batch out of {large:,} costs {found["sample_cost_ratio_1M_10k"]:.2f} of one out of {small:,}; '
        f'{found["mb_per_robot_minute"]:.1f} MB per robot minute '
        f'({found["mb_per_robot_minute_paper_sizes"]:.0f} at the paper\'s sizes)'
    )
    return table


def takeover_table(found: dict) -> Table:
    """What `rlt bench takeover` measured."""
    table = Table('ms', 'times', 'p50', 'p99', 'max', 'limit', box=None, padding=(0, 3, 0, 0))
    limits, stops = found['limits_ms'], found['stop_ms']
    rows = [('takeover', found['takeover_ms'], limits['takeover']), ('release', found['release_ms'], None),
            *((f'stop: {kind.replace("_", " ")}', part, limits['stop']) for kind, part in stops.items())]  # fmt: skip
    for label, part, limit in rows:
        part = part or dict.fromkeys(('times', 'p50', 'p99', 'max'))
        table.add_row(label, number(part['times']), *(number(part[key], '.1f') for key in ('p50', 'p99', 'max')),
                      number(limit))  # fmt: skip
    velocity, acceleration = found['largest_velocity'], found['largest_acceleration']
    table.caption = '; '.join(
        f'{kind}: at most {number(velocity[kind], ".0%")} of the velocity limit, '
        f'{number(acceleration[kind], ".0%")} of the acceleration limit' for kind in velocity
    ) + f'; {found["interrupted"]} interrupted, {sum(found["unanswered"].values())} unanswered'  # fmt: skip
    return table


def soak_table(found: dict) -> Table:
    """What `rlt bench soak` found."""
    table = Table('node', 'starts', 'judged, s', 'memory, MB', '% an hour', 'files +', 'threads +', box=None,
                  padding=(0, 3, 0, 0))  # fmt: skip
    for name, node in found['nodes'].items():
        table.add_row(
            name, str(node['starts']), number(node['judged_seconds']), number(node['memory_mb']),
            number(node['memory_percent_per_hour'], '+.1f'), str(node['files_grown_by']),
            str(node['threads_grown_by']),
        )  # fmt: skip
    missed, limits, transitions = found['missed_ticks'], found['limits'], found['transitions']
    table.caption = '\n'.join([
        f'{found["seconds"]:.0f} s, {sum(found["faults"].values())} faults of {len(found["faults"])} kinds, episodes: '
        + ', '.join(f'{count} {name}' for name, count in found['episodes'].items()),
        f'{limits["checked"]} commands, {limits["wrong"]} outside limits; {transitions["checked"]} transitions, '
        f'{transitions["wrong"]} wrong',
        f'{found["ticks"]} ticks, {missed["total"]} missed, {missed["without_fault"]} of them without a fault',
        *(f'VIOLATED {what}' for what in found['violated']),
        *(text for part in (limits, transitions) for text in part['examples']),
    ])  # fmt: skip
    return table
