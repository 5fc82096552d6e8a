"""What a study came to, from its run folders alone: numbers, plots and a page of documentation."""

from collections.abc import Sequence
import json
from math import sqrt
from pathlib import Path

import numpy as np

from rlt_ros.report.cells import Cell, made_with, spread
from rlt_ros.report.pages import markdown_table, pictures, published
from rlt_ros.report.records import of_mode, read_episodes, read_object
from rlt_ros.report.summary import WINDOW, describe, minutes_to, successes, throughput

GRID = 0.25  # robot minutes between points of a curve
T_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)  # Student's t for 2, 3, ... values
HEADER = (
    'robot min', 'VLA: success, per 10 min, steps', 'RLT: success (95 %)', 'per 10 min', 'steps', 'x VLA',
    'passes VLA at', 'stiff: success, steps', 'Q - return', 'corr', 'penetration mm (VLA, stiff)',
)  # fmt: skip


def calibration(episodes: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Q predicted and return realised of all decisions of some episodes."""
    known = [episode for episode in episodes if episode.get('q')]
    if not known:
        return np.zeros(0), np.zeros(0)
    return tuple(np.concatenate([episode[key] for episode in known]) for key in ('q', 'returns'))


def describe_cell(cell: Cell) -> dict:
    """Numbers of one run."""
    episodes = read_episodes(cell.folder)
    vla, online = describe(of_mode(episodes, 'evaluation')), of_mode(episodes, 'online')
    final, stiff = of_mode(episodes, 'final'), of_mode(episodes, 'stiff')
    q, returns = calibration(final)
    measured = describe(final)
    return {
        'variation': cell.variation, 'seed': cell.seed, 'robot_minutes': cell.minutes, 'vla': vla, 'rlt': measured,
        'stiff': describe(stiff),
        'throughput_ratio': ratio(measured['throughput_per_10min'], vla['throughput_per_10min']),
        'minutes_to_pass_vla': minutes_to(online, vla['throughput_per_10min']),
        'q_minus_return': float(np.mean(q - returns)) if len(q) else None,
        'q_correlation': float(np.corrcoef(q, returns)[0, 1]) if len(q) > 1 and returns.std() > 0 else None,
        'largest_penetration_mm': deepest(final), 'stiff_largest_penetration_mm': deepest(stiff),
        'vla_largest_penetration_mm': deepest(of_mode(episodes, 'evaluation')),
        'config_hash': read_object(cell.folder / 'config.yaml').get('hash'),
        **made_with(read_object(cell.folder / 'versions.json')),
    }  # fmt: skip


def deepest(episodes: list[dict]) -> float | None:
    """mm that plug and socket overlapped at most; None without episodes."""
    return max((episode['penetration_mm'] for episode in episodes), default=None)


def ratio(value: float | None, of: float | None) -> float | None:
    """None where there is nothing to compare."""
    return None if value is None or not of else value / of


def grid_of(cells: Sequence[Cell]) -> np.ndarray:
    """Robot minutes at which the curves of some runs are drawn, as far as all of them went."""
    minutes = min(cell.minutes for cell in cells)
    count = max(2, round(minutes / GRID))
    return np.linspace(minutes / count, minutes, count)


def curve(cell: Cell, grid: np.ndarray) -> dict[str, np.ndarray]:
    """Success rate and throughput of the last WINDOW learning episodes at robot minutes `grid`; NaN before five."""
    learning = [e for e in read_episodes(cell.folder) if e['mode'] in ('warmup', 'online')]
    ends = np.array([e['robot_minutes'] for e in learning])
    rows: dict[str, list[float]] = {'success': [], 'throughput': []}
    for minute in grid:
        count = int(np.searchsorted(ends, minute, side='right'))
        window = learning[max(0, count - WINDOW) : count]
        enough = len(window) >= 5
        rows['success'].append(successes(window) / len(window) if enough else np.nan)
        rows['throughput'].append(throughput(window) if enough else np.nan)
    return {name: np.array(values) for name, values in rows.items()}


def band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds (rows) and half the width of its 95 % confidence interval (Student's t), 0 for one seed."""
    mean, n = values.mean(0), len(values)
    if n < 2:
        return mean, np.zeros_like(mean)
    return mean, T_95[min(n - 2, len(T_95) - 1)] * values.std(0, ddof=1) / sqrt(n)


def write_study(
    folder: Path, cells: Sequence[Cell], command: str, page: Path | None, lack: Sequence[str] = ()
) -> list[Path]:
    """Write study.json and plots of all finished cells, and the page; returns what was written.

    command: by which the page is written; lack: lines on what is missing.
    """
    from rlt_ros.report.study_plots import write_plots

    finished = [cell for cell in cells if (cell.folder / 'finished.json').is_file()]
    if not finished:
        return []
    rows = [describe_cell(cell) for cell in finished]
    result = folder / 'study.json'
    result.write_text(json.dumps({'cells': rows, 'versions': read_object(finished[0].folder / 'versions.json')},
                                 indent=1) + '\n')  # fmt: skip
    plots = write_plots(folder, finished)
    if page is None:
        return [result, *plots]
    images = {f'{page.stem}-{plot.name}': plot for plot in plots}
    missing = [f'**Missing:** {line}\n' for line in lack]
    return [result, *plots, published(page, [*text(rows, command), *missing, *pictures(images)], rows, images)]


def text(rows: list[dict], command: str) -> list[str]:
    """The page, but for its pictures: a row per run."""
    return [
        '# What is learned, and what each part is worth', '',
        f'Written by `{command}` from its runs, in lock-step on the Ethernet task. RLT is '
        'the policy at the end, without noise, from starts that were not learned from; *stiff* is the same policy with '
        'harder contact (solref 0.002) and half the time step. VLA: same frozen network, its own evaluation episodes. '
        '*passes VLA at* counts robot minutes of learning episodes with noise, warm-up included, from which on any '
        f'{WINDOW} of them in a row have the throughput of the VLA. Q - return and corr: predicted against realised, '
        'over all decisions of the final episodes.', '',
        *markdown_table('run', [(f'{row["variation"]}, seed {row["seed"]}', texts(row)) for row in rows], HEADER),
        f'{rows[0]["rlt"]["episodes"]} final episodes and as many stiff ones per run, {rows[0]["vla"]["episodes"]} of '
        'the VLA.', '',
    ]  # fmt: skip


def texts(row: dict) -> list[str]:
    """A text for each of HEADER, of one run."""
    vla, rlt, stiff = row['vla'], row['rlt'], row['stiff']
    show = lambda value, form: spread(value, None, form)  # noqa: E731
    return [
        f'{row["robot_minutes"]:g}',
        f'{show(vla["success_rate"], ".0%")}, {show(vla["throughput_per_10min"], ".0f")}, '
        f'{show(vla["median_steps"], ".0f")}',
        spread(rlt['success_rate'], rlt['success_ci'], '.0%'), show(rlt['throughput_per_10min'], '.0f'),
        show(rlt['median_steps'], '.0f'), show(row['throughput_ratio'], '.1f'), show(row['minutes_to_pass_vla'], '.1f'),
        f'{show(stiff["success_rate"], ".0%")}, {show(stiff["median_steps"], ".0f")}',
        show(row['q_minus_return'], '+.2f'), show(row['q_correlation'], '.2f'),
        f'{show(row["largest_penetration_mm"], ".2f")} ({show(row["vla_largest_penetration_mm"], ".2f")}, '
        f'{show(row["stiff_largest_penetration_mm"], ".2f")})',
    ]  # fmt: skip
