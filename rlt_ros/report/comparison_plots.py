"""Pictures of the comparison on several tasks, and of ablations on one."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from rlt_ros.report import behaviour
from rlt_ros.report.behaviour import by_label
from rlt_ros.report.cells import Cell, final, pooled
from rlt_ros.report.plots import INK, RLT, SIZE, VLA, style
from rlt_ros.report.study import band, curve, grid_of

COLORS = {'vla': VLA, 'teleop': '#c2571a', 'rlt': RLT}
ALL_PARTS = VLA  # grey: what each variation is held against
DPI = SIZE // 2  # of all pictures here


def of_comparison(tasks: dict[str, Sequence[Cell]]) -> dict[str, Figure]:
    """All pictures of a comparison; tasks: cells by task."""
    drawn = {'final.png': finals(tasks), 'steps.png': steps(tasks)}
    if any(cell.driver == 'rlt' for cells in tasks.values() for cell in cells):
        drawn['throughput.png'] = learning(tasks)
    for task, cells in tasks.items():
        drawn[f'behaviour-{task}.png'] = behaviour.figure(by_label(cells), COLORS, task)
    return drawn


def panels(
    names: Iterable[str], title: str, height: float, columns: int = 2, width: float = 4.8, shared: bool = False
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel for each name, some in a row; shared: all have the same axes."""
    names = list(names)
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.6), layout='constrained')
    figure.suptitle(title, color=INK, fontsize=13)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared).ravel()
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid, names, strict=False):
        axes.set_title(name, color=INK, fontsize=10)
        style(axes)
    return figure, dict(zip(names, grid, strict=False))


def finals(tasks: dict[str, Sequence[Cell]]) -> Figure:
    """Success and throughput of the final episodes with 95 % intervals."""
    figure = Figure(figsize=(7.2, 5.6), layout='constrained')
    figure.suptitle('Final episodes, 95 % intervals', color=INK, fontsize=13)
    rows = figure.subplots(2, 1, sharex=True)
    names = list(dict.fromkeys(name for cells in tasks.values() for name in by_label(cells)))
    for axes, measure, interval, ylabel in (
        (rows[0], 'success_rate', 'success_ci', 'success rate'),
        (rows[1], 'throughput_per_10min', 'throughput_per_10min_ci', 'successes per 10 min'),
    ):
        for i, cells in enumerate(tasks.values()):
            for name, some in by_label(cells).items():
                found, at = pooled(some), i + 0.25 * (names.index(name) - (len(names) - 1) / 2)
                value, (low, high) = found[measure] or 0.0, found[interval] or (0.0, 0.0)
                axes.bar(at, value, 0.22, color=COLORS.get(name, RLT), label=name)
                axes.errorbar(at, value, [[max(0, value - low)], [max(0, high - value)]], color=INK, lw=1.2, capsize=3)
        axes.set_ylabel(ylabel)
        style(axes)
    rows[1].set_xticks(range(len(tasks)), list(tasks))
    handles, labels = rows[0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))  # a name may be missing on the first task
    figure.legend(once.values(), once, frameon=False, loc='outside lower center', ncols=3, fontsize=9)
    return figure


def level(axes: Axes, cells: Sequence[Cell], name: str) -> None:
    """Throughput of who does not learn, with its interval, as a line across."""
    found = pooled(cells)
    if found['throughput_per_10min'] is None:
        return
    axes.axhspan(*found['throughput_per_10min_ci'], color=COLORS[name], alpha=0.13, lw=0)
    axes.axhline(found['throughput_per_10min'], color=COLORS[name], lw=1.6, ls=(0, (5, 2)), label=name)


def course(axes: Axes, cells: Sequence[Cell], color: str, name: str, banded: bool = True) -> None:
    """Throughput while learning over robot minutes: every seed and their mean; banded: with its 95 % band."""
    grid = grid_of(cells)
    values = np.stack([curve(cell, grid)['throughput'] for cell in cells])
    there = ~np.isnan(values).any(0)
    mean, half = band(values[:, there])
    if banded:
        axes.fill_between(grid[there], mean - half, mean + half, color=color, alpha=0.18, lw=0)
    for row in values:
        axes.plot(grid, row, color=color, lw=0.7, alpha=0.35)
    axes.plot(grid[there], mean, color=color, lw=2.0, label=name)


def while_learning(groups: Sequence[Sequence[Cell]], several: str) -> str:
    """A title; groups: the seeds of each curve, several: what is drawn of more than one."""
    counts = [len(seeds) for seeds in groups]
    shown = f', {several}' if min(counts) > 1 else ', one seed' if max(counts) == 1 else ''
    return f'Successes per 10 min while learning{shown}'


def learning(tasks: dict[str, Sequence[Cell]]) -> Figure:
    """Throughput over robot minutes, task by task, beside those who do not learn."""
    learners = [some for cells in tasks.values() for name, some in by_label(cells).items() if name == 'rlt']
    figure, grid = panels(tasks, while_learning(learners, 'mean and 95 % band over seeds'), 2.8)
    for task, axes in grid.items():
        for name, cells in by_label(tasks[task]).items():
            if name == 'rlt':
                course(axes, cells, RLT, f'{name} ({len(cells)})')
            else:
                level(axes, cells, name)
        axes.set_ylim(bottom=0)
        axes.set_xlabel('robot minutes', fontsize=9)
        axes.legend(frameon=False, fontsize=8)
    return figure


def steps(tasks: dict[str, Sequence[Cell]]) -> Figure:
    """Control steps to success in the final episodes."""
    figure, grid = panels(tasks, 'Control steps to success, final episodes', 2.4)
    for task, axes in grid.items():
        groups = {name: [e['steps'] for cell in cells for e in final(cell) if e['outcome'] == 'success']
                  for name, cells in by_label(tasks[task]).items()}  # fmt: skip
        bins = np.linspace(0, max((max(values) for values in groups.values() if values), default=10) * 1.02, 31)
        for name, values in groups.items():
            if values:
                axes.hist(values, bins=bins, color=COLORS.get(name, RLT), alpha=0.55, density=True,
                          label=f'{name}: median {np.median(values):.0f}')
                axes.axvline(np.median(values), color=COLORS.get(name, RLT), lw=1.8)
        axes.set_yticks([])
        if any(groups.values()):
            axes.legend(frameon=False, fontsize=8)
    return figure


def of_ablations(cells: Sequence[Cell]) -> dict[str, Figure]:
    """All pictures of RLT without one part each."""
    groups = by_label(cells)
    drawn = {'parts-final.png': parts_final(groups)}
    if any(name not in COLORS for name in groups):
        drawn = {'parts.png': parts(groups)} | drawn
    return drawn


def parts(groups: dict[str, list[Cell]]) -> Figure:
    """Throughput while learning without one part, panel by panel, over that of RLT with all of them."""
    names, columns = [name for name in groups if name not in COLORS], 5
    title = while_learning([some for some in groups.values() if some[0].driver == 'rlt'], 'each seed and their mean')
    figure, grid = panels(names, title, 2.1, columns, 1.95, shared=True)
    for name, axes in grid.items():
        if 'vla' in groups:
            level(axes, groups['vla'], 'vla')
        if 'rlt' in groups:
            course(axes, groups['rlt'], ALL_PARTS, 'rlt', banded=False)
        course(axes, groups[name], RLT, 'rlt, varied as named', banded=False)
    for axes in list(grid.values())[-columns:]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
        axes.set_xlabel('robot minutes', fontsize=9)
    axes.set_ylim(bottom=0)
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, loc='outside lower center', ncols=3, fontsize=9)
    return figure


def parts_final(groups: dict[str, list[Cell]]) -> Figure:
    """Success and throughput of the final episodes, with all parts and without one each."""
    figure = Figure(figsize=(7.2, 0.8 + 0.32 * len(groups)), layout='constrained')
    figure.suptitle('Final episodes, 95 % intervals', color=INK, fontsize=13)
    axes = figure.subplots()
    for i, (name, some) in enumerate(groups.items()):
        found = pooled(some)
        value, (low, high) = found['throughput_per_10min'] or 0.0, found['throughput_per_10min_ci'] or (0.0, 0.0)
        axes.errorbar(value, -i, xerr=[[max(0, value - low)], [max(0, high - value)]], fmt='o', ms=5, capsize=3,
                      color=COLORS.get(name, RLT))  # fmt: skip
        axes.annotate(f'{found["success_rate"]:.0%}', (max(value, high), -i), (6, 0), textcoords='offset points',
                      va='center', fontsize=8, color=INK)  # fmt: skip
    axes.set_yticks([-i for i in range(len(groups))], list(groups))
    axes.set_xlabel('successes per 10 min; success rate beside it')
    axes.margins(x=0.1)  # room for the last percentage
    axes.set_xlim(left=0)
    style(axes)
    return figure
