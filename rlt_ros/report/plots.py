"""Pictures of a run: how it learned, and how long its successes took."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from rlt_ros.report.records import of_mode, read_episodes, read_object
from rlt_ros.report.summary import LAST, WINDOW, describe, median_steps, successes, throughput, wilson

VLA, RLT, INK, FAINT = '#8a8f98', '#0b6e99', '#22262b', '#e3e6ea'
SIZE = 200  # dots per inch


def write_plots(run_folder: Path) -> list[Path]:
    """Draw plots/learning_curve.png and plots/steps.png; raises OSError when they cannot be written."""
    episodes = read_episodes(run_folder)
    arguments = read_object(run_folder / 'config.yaml').get('arguments') or {}
    title = ', '.join(f'{name} {arguments[name]}' for name in ('task', 'method', 'seed') if name in arguments)
    return save(run_folder / 'plots', {
        'learning_curve.png': learning_curve(episodes, title), 'steps.png': step_histogram(episodes, title)
    })  # fmt: skip


def save(folder: Path, drawn: Mapping[str, Figure], dpi: int = SIZE) -> list[Path]:
    """Write figures by name into a folder, which is made; raises OSError when they cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        figure.savefig(folder / name, dpi=dpi, facecolor='white')
    return [folder / name for name in drawn]


def rolling(online: list[dict]) -> list[tuple[float, list[dict]]]:
    """(robot minute, the up to WINDOW episodes before it) from the fifth online episode on."""
    return [(online[end - 1]['robot_minutes'], online[max(0, end - WINDOW):end]) for end in range(5, len(online) + 1)]


def learning_curve(episodes: list[dict], title: str) -> Figure:
    """Success, throughput and steps of a rolling window over robot minutes, with the frozen VLA as reference."""
    vla, online = of_mode(episodes, 'evaluation'), of_mode(episodes, 'online')
    windows, base = rolling(online), describe(vla)
    minutes = [minute for minute, _ in windows]
    figure = Figure(figsize=(7.2, 8.0), layout='constrained')
    figure.suptitle(f'Learning on the robot ({title})' if title else 'Learning on the robot', color=INK, fontsize=13)
    rows = figure.subplots(3, 1, sharex=True)
    panels = zip(rows, (
        ('success rate', [successes(w) / len(w) for _, w in windows], base['success_rate'], base['success_ci']),
        ('successes per 10 min', [throughput(w) for _, w in windows], base['throughput_per_10min'],
         bootstrap(vla, throughput)),
        ('median steps to success', [median_steps(w) for _, w in windows], base['median_steps'],
         bootstrap(vla, median_steps)),
    ), strict=True)
    for axes, (label, values, level, band) in panels:
        if band:
            axes.axhspan(*band, color=VLA, alpha=0.18, lw=0)
        if level is not None:
            axes.axhline(level, color=VLA, lw=1.6, ls=(0, (5, 2)), label='frozen VLA, 95 % band')
        axes.plot(minutes, [np.nan if value is None else value for value in values], color=RLT, lw=2.2,
                  label=f'RLT, last {WINDOW} episodes')
        axes.set_ylabel(label)
        style(axes)
        axes.set_ylim(bottom=0)
    if windows:
        intervals = np.array([wilson(successes(w), len(w)) for _, w in windows])
        rows[0].fill_between(minutes, intervals[:, 0], intervals[:, 1], color=RLT, alpha=0.15, lw=0)
    else:
        rows[0].text(0.5, 0.5, 'no five online episodes yet', transform=rows[0].transAxes, ha='center', color=VLA)
    rows[0].set_ylim(0, 1.03)
    rows[0].legend(frameon=False, loc='lower right', fontsize=9)
    rows[2].set_xlabel('robot minutes of data (resets not counted)')
    rows[2].set_xlim(0, max([1.0, *minutes]))
    return figure


def step_histogram(episodes: list[dict], title: str) -> Figure:
    """Control ticks to success: the frozen VLA against the last online episodes."""
    sets = (('frozen VLA', VLA, of_mode(episodes, 'evaluation')),
            (f'RLT, last {LAST} episodes', RLT, of_mode(episodes, 'online')[-LAST:]))
    steps = [[e['steps'] for e in chosen if e['outcome'] == 'success'] for _, _, chosen in sets]
    figure = Figure(figsize=(7.2, 4.0), layout='constrained')
    figure.suptitle(f'Steps to success ({title})' if title else 'Steps to success', color=INK, fontsize=13)
    axes = figure.subplots()
    bins = np.linspace(0, max([10, *steps[0], *steps[1]]) * 1.02, 31)
    for (label, color, chosen), values in zip(sets, steps, strict=True):
        if values:
            axes.hist(values, bins=bins, color=color, alpha=0.65,
                      label=f'{label}: {len(values)} of {len(chosen)} succeed, median {np.median(values):.0f}')
            axes.axvline(np.median(values), color=color, lw=2)
    if any(steps):
        figure.legend(frameon=False, fontsize=9, loc='outside lower center', ncols=2)
    else:
        axes.text(0.5, 0.5, 'no success yet', transform=axes.transAxes, ha='center', color=VLA)
    axes.set_xlabel('control steps in the critical phase')
    axes.set_ylabel('episodes')
    axes.set_xlim(0, bins[-1])
    style(axes)
    return figure


def bootstrap(episodes: list[dict], measure) -> tuple[float, float] | None:
    """95 % interval of a measure of episodes, by resampling them (always the same samples); None without a value."""
    if len(episodes) < 2:
        return None
    draws = np.random.default_rng(0).integers(len(episodes), size=(500, len(episodes)))
    values = [measure([episodes[i] for i in draw]) for draw in draws]
    values = [value for value in values if value is not None]
    return tuple(np.percentile(values, (2.5, 97.5))) if values else None


def style(axes: Axes) -> None:
    axes.spines[['top', 'right']].set_visible(False)
    axes.spines[['left', 'bottom']].set_color(VLA)
    axes.grid(axis='y', color=FAINT, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
