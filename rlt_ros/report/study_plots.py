"""Pictures of a study: curves over seeds with confidence bands, variations side by side, Q against return."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
import numpy as np

from rlt_ros.report.cells import Cell
from rlt_ros.report.plots import FAINT, INK, RLT, VLA, save, style
from rlt_ros.report.records import of_mode, read_episodes
from rlt_ros.report.study import band, calibration, curve, describe_cell, grid_of
from rlt_ros.report.summary import describe

OTHERS = ('#c2571a', '#5b8c3a', '#7a4f9e', '#b08a1e', '#3f7f93', '#a33b54', '#5c6670', '#1f4e79')


def write_plots(folder: Path, cells: Sequence[Cell]) -> list[Path]:
    """Draw into `folder`/plots what the cells allow; returns the files."""
    own = [cell for cell in cells if cell.variation == 'rlt']
    drawn = {}
    if own:
        drawn |= {'curves.png': curves(own), 'calibration.png': q_against_return(own)}
    if len({cell.variation for cell in cells}) > 1:
        drawn['variations.png'] = variations(cells)
    return save(folder / 'plots', drawn)


def curves(cells: Sequence[Cell]) -> Figure:
    """Success and throughput against robot minutes: every seed, their mean and its 95 % band, the frozen VLA."""
    grid = grid_of(cells)
    found = [curve(cell, grid) for cell in cells]
    vla = describe([e for cell in cells for e in of_mode(read_episodes(cell.folder), 'evaluation')])
    figure = Figure(figsize=(7.2, 6.4), layout='constrained')
    shown = f'{len(cells)} seeds' if len(cells) > 1 else 'one seed'
    figure.suptitle(f'Learning in lock-step, {shown}', color=INK, fontsize=13)
    rows = figure.subplots(2, 1, sharex=True)
    for axes, name, measure, level in (
        (rows[0], 'success', 'success rate', vla['success_rate']),
        (rows[1], 'throughput', 'successes per 10 min', vla['throughput_per_10min']),
    ):
        values = np.stack([one[name] for one in found])
        for line in values:
            axes.plot(grid, line, color=RLT, lw=0.8, alpha=0.35)
        there = ~np.isnan(values).any(0)
        mean, half = band(values[:, there])
        axes.fill_between(grid[there], mean - half, mean + half, color=RLT, alpha=0.18, lw=0)
        label = 'RLT while learning' + ', mean and 95 % band over seeds' * (len(cells) > 1)
        axes.plot(grid[there], mean, color=RLT, lw=2.2, label=label)
        axes.axhline(level, color=VLA, lw=1.6, ls=(0, (5, 2)), label='frozen VLA')
        axes.set_ylabel(measure)
        style(axes)
        axes.set_ylim(bottom=0)
    rows[0].set_ylim(0, 1.03)
    rows[0].legend(frameon=False, loc='lower right', fontsize=9)
    rows[1].set_ylim(0, max(rows[1].get_ylim()[1], 5.4 * level))
    rows[1].axhline(5 * level, color=VLA, lw=0.8, ls=':')
    rows[1].text(grid[-1], 5 * level, '5 x VLA ', color=VLA, fontsize=8, ha='right', va='bottom')
    rows[1].set_xlabel('robot minutes of data (resets not counted; warm-up with the noisy VLA included)')
    rows[1].set_xlim(0, grid[-1])
    return figure


def q_against_return(cells: Sequence[Cell]) -> Figure:
    """Q predicted against return realised in the final episodes, seed by seed."""
    figure = Figure(figsize=(7.2, 2.1 + 1.7 * ((len(cells) - 1) // 3)), layout='constrained')
    figure.suptitle('Q predicted against return realised, final policy', color=INK, fontsize=13)
    columns = min(3, len(cells))
    axes = np.atleast_1d(figure.subplots((len(cells) - 1) // columns + 1, columns, sharex=True, sharey=True)).ravel()
    for one, cell in zip(axes, cells, strict=False):
        q, returns = calibration(of_mode(read_episodes(cell.folder), 'final'))
        one.plot([0, 1], [0, 1], color=VLA, lw=1)
        one.scatter(returns, q, s=5, color=RLT, alpha=0.35, lw=0)
        one.set_title(f'seed {cell.seed}', fontsize=9, color=INK)
        style(one)
    for one in axes[len(cells) :]:
        one.set_axis_off()
    figure.supxlabel('return realised', color=INK, fontsize=9)
    figure.supylabel('Q predicted', color=INK, fontsize=9)
    return figure


def variations(cells: Sequence[Cell]) -> Figure:
    """Throughput while learning of every variation, and final success and throughput as points per seed."""
    names = list(dict.fromkeys(cell.variation for cell in cells))
    colors = {name: RLT if name == 'rlt' else OTHERS[i % len(OTHERS)] for i, name in enumerate(names)}
    figure = Figure(figsize=(9.6, 4.6), layout='constrained')
    figure.suptitle('What each part is worth', color=INK, fontsize=13)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for name in names:
        some = [cell for cell in cells if cell.variation == name]
        grid = grid_of(some)
        values = np.stack([curve(cell, grid)['throughput'] for cell in some])
        there = ~np.isnan(values).any(0)
        left.plot(grid[there], values[:, there].mean(0), color=colors[name], lw=2.4 if name == 'rlt' else 1.4,
                  label=f'{name} ({len(some)})')  # fmt: skip
        for cell in some:
            row = describe_cell(cell)
            right.plot(row['rlt']['success_rate'], row['rlt']['throughput_per_10min'], 'o', color=colors[name], ms=5)
    vla = describe([e for cell in cells for e in of_mode(read_episodes(cell.folder), 'evaluation')])
    left.axhline(vla['throughput_per_10min'], color=VLA, lw=1.6, ls=(0, (5, 2)), label='frozen VLA')
    right.plot(vla['success_rate'], vla['throughput_per_10min'], 'D', color=VLA, ms=6)
    left.set(xlabel='robot minutes', ylabel='successes per 10 min, while learning')
    right.set(xlabel='final success rate', ylabel='final successes per 10 min', xlim=(-0.03, 1.03))
    for axes in (left, right):
        style(axes)
        axes.set_ylim(bottom=0)
        axes.grid(color=FAINT, lw=0.8)
    figure.legend(*left.get_legend_handles_labels(), frameon=False, fontsize=8, loc='outside lower center', ncols=5)
    return figure
