"""Pictures of a journal: labels, values against what came of it, and how far actions went from the reference."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
import numpy as np

from rlt_ros.errors import UserError
from rlt_ros.report.plots import INK, RLT, VLA, save, style
from rlt_ros.report.replay import OUTCOMES, Episode, Inspection, kinds_of
from rlt_ros.rl.replay import KINDS

FAILURE, HUMAN = '#b5482f', '#d08c2f'
COLORS = dict(zip(OUTCOMES, (RLT, FAILURE, VLA), strict=True))
KIND_COLORS = dict(zip(KINDS, (RLT, VLA, HUMAN), strict=True))
AGES = LinearSegmentedColormap.from_list('age', ('#c9ced6', RLT))
SHOWN = 5000  # points that are drawn; more would hide each other
BINS = np.linspace(0.0, 1.0, 11)
FEWEST = 5  # transitions that make a mean
PARTS = 60  # of the training, where single episodes would be too many


def write_plots(found: Inspection, chosen: list[Episode], folder: Path) -> list[Path]:
    """Draw into a folder, which is made; `chosen` episodes are shown tick by tick. Raises UserError."""
    drawn = {'labels.png': labels(found), 'distance.png': distances(found)}
    if found.updates is not None:
        drawn |= {'q_along_episode.png': q_along(found, chosen), 'calibration.png': calibration(found)}
    try:
        return save(folder, drawn)
    except OSError as error:
        raise UserError(f'plots cannot be written to {folder}: {error.strerror}') from None


def newest(found: Inspection, count: int = 3) -> list[Episode]:
    """The last online episodes, or the last ones at all before there is an online one."""
    return ([e for e in found.episodes if e.mode == 'online'] or found.episodes)[-count:]


def titled(text: str, found: Inspection, height: float) -> Figure:
    figure = Figure(figsize=(7.2, height), layout='constrained')
    figure.suptitle(f'{text} ({found.folder.name})', color=INK, fontsize=13)
    return figure


def nothing(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha='center', color=VLA)


def q_along(found: Inspection, chosen: list[Episode]) -> Figure:
    """Q of every stored state and action of some episodes, with what each was followed by."""
    figure = titled('What the critic expects along an episode', found, 1.0 + 2.1 * len(chosen))
    panels = figure.subplots(len(chosen), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, episode in zip(panels, chosen, strict=True):
        rows = found.rows[found.rows['episode'] == episode.number]
        ticks = rows['tick'] - rows['tick'][0]
        axes.plot(ticks, rows['q'], color=RLT, lw=2, label='Q predicted')
        if episode.terminated:
            axes.plot(ticks, rows['realised'], color=INK, lw=1.6, ls=(0, (5, 2)), label='return realised')
        for position, step in zip(*np.nonzero(rows['human']), strict=True):
            at = ticks[position] + found.method.delay + step
            axes.axvspan(at, at + 1, ymax=0.04, color=HUMAN, lw=0)
        ending = '' if episode.terminated else ' (cut off, no return)'
        axes.set_title(f'episode {episode.number}, {episode.mode}: {episode.outcome}{ending}', loc='left', fontsize=10,
                       color=COLORS[episode.outcome])  # fmt: skip
        axes.set_ylabel('value')
        style(axes)
    values = found.rows[np.isin(found.rows['episode'], [e.number for e in chosen])]['q']
    panels[0].set_ylim(min(0.0, values.min()) - 0.02, max(1.0, values.max()) + 0.03)
    panels[0].set_xlim(left=0)
    panels[-1].set_xlabel('control steps since the first stored observation')
    handles = {label: handle for axes in panels
               for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}  # fmt: skip
    if any(episode.human_steps for episode in chosen):
        handles['a person drove'] = Patch(color=HUMAN)
    figure.legend(handles.values(), handles, frameon=False, fontsize=9, loc='outside lower center', ncols=3)
    return figure


def calibration(found: Inspection) -> Figure:
    """Return realised over Q predicted: transitions coloured by age, and means of the oldest to newest third."""
    figure = titled('Q predicted against return realised', found, 6.2)
    axes = figure.subplots()
    ended = [e.number for e in found.episodes if e.terminated]
    rows = found.rows[np.isin(found.rows['episode'], ended)]
    edges = [-0.03, 1.03]
    axes.plot([0, 1], [0, 1], color=INK, lw=1.2, ls=(0, (5, 2)), label='Q is what came of it')
    if len(rows):
        age = np.searchsorted(np.sort(ended), rows['episode']) / max(1, len(ended) - 1)
        some = np.random.default_rng(0).permutation(len(rows))[:SHOWN]
        points = axes.scatter(rows['q'][some], rows['realised'][some], c=age[some], cmap=AGES, vmin=0, vmax=1, s=7,
                              alpha=0.45, lw=0)  # fmt: skip
        bar = figure.colorbar(points, ax=axes, ticks=[0, 1], fraction=0.035, pad=0.02)
        bar.ax.set_yticklabels(['first', 'last'], rotation=90, va='center', color=INK, fontsize=9)
        bar.set_label('episode with an end', color=INK, fontsize=9)
        bar.solids.set_alpha(1)
        bar.outline.set_visible(False)
        for third, label in enumerate(('oldest', 'middle', 'newest')):
            of_age = rows[(age >= third / 3) & ((age < (third + 1) / 3) | (third == 2))]
            q, value = binned(of_age['q'], of_age['realised'])
            axes.plot(q, value, color=AGES(third / 2), lw=2.2, marker='o', ms=5, mec='white', mew=0.8,
                      label=f'mean of the {label} third')  # fmt: skip
        edges = [min(edges[0], rows['q'].min() - 0.03), max(edges[1], rows['q'].max() + 0.03)]
    else:
        nothing(axes, 'no episode has ended with success or failure yet')
    axes.set_xlabel('Q predicted')
    axes.set_ylabel('return realised')
    style(axes)
    axes.set_xlim(edges)
    axes.set_ylim(-0.03, 1.03)
    axes.legend(frameon=False, fontsize=9, loc='upper left')
    return figure


def binned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of x and y in each of BINS (by x, the outer ones open) that has FEWEST values."""
    place = np.digitize(x, BINS[1:-1])
    full = [i for i in range(len(BINS) - 1) if (place == i).sum() >= FEWEST]
    return np.array([x[place == i].mean() for i in full]), np.array([y[place == i].mean() for i in full])


def labels(found: Inspection) -> Figure:
    """Every episode as a bar from its begin to its end: how it ended, how long it took, and who drove."""
    figure = titled('Labels and who drove', found, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    ends = np.array([e.robot_minutes for e in found.episodes])
    widths = np.diff(ends, prepend=0.0)
    steps = np.array([e.executed_steps for e in found.episodes])
    upper.bar(ends - widths, steps, widths, align='edge', color=[COLORS[e.outcome] for e in found.episodes],
              edgecolor='white', lw=0.4 if len(ends) < 150 else 0)  # fmt: skip
    upper.set_ylabel('executed steps')
    share = [e.human_steps / e.executed_steps for e in found.episodes]
    lower.bar(ends - widths, share, widths, align='edge', color=HUMAN)
    lower.set_ylabel('human share')
    lower.set_ylim(0, 1.03)
    if not any(share):
        nothing(lower, 'no person drove')
    online = [e.robot_minutes - w for e, w in zip(found.episodes, widths, strict=True) if e.mode == 'online']
    for axes in (upper, lower):
        style(axes)
        if online and online[0] > 0:
            axes.axvline(online[0], color=INK, lw=1.2, ls=(0, (2, 2)))
    if online and online[0] > 0:
        upper.annotate('the actor takes over', (online[0], 1), xycoords=('data', 'axes fraction'), xytext=(4, 4),
                       textcoords='offset points', fontsize=9, color=INK)  # fmt: skip
    counts = {outcome: sum(e.outcome == outcome for e in found.episodes) for outcome in OUTCOMES}
    figure.legend([Patch(color=COLORS[outcome]) for outcome in OUTCOMES],
                  [f'{outcome}: {count}' for outcome, count in counts.items()],
                  frameon=False, fontsize=9, loc='outside lower center', ncols=3)  # fmt: skip
    lower.set_xlabel('stored robot minutes')
    lower.set_xlim(0, ends[-1])
    return figure


def distances(found: Inspection) -> Figure:
    """How far the executed actions are from the stored reference, by who made the transition."""
    figure = titled('Distance of the action to the reference', found, 4.2)
    axes = figure.subplots()
    kinds = kinds_of(found.rows)
    parts = np.array_split(np.arange(len(found.episodes)), min(PARTS, len(found.episodes)))
    for number, kind in enumerate(KINDS):
        quartiles = {}
        for part in parts:
            some = [found.episodes[i] for i in part]
            chosen = np.isin(found.rows['episode'], [e.number for e in some]) & (kinds == number)
            if chosen.any():
                quartiles[some[-1].robot_minutes] = np.percentile(found.rows['distance'][chosen], (25, 50, 75))
        if quartiles:
            minutes, (low, middle, high) = list(quartiles), np.array(list(quartiles.values())).T
            axes.fill_between(minutes, low, high, color=KIND_COLORS[kind], alpha=0.18, lw=0)
            axes.plot(minutes, middle, color=KIND_COLORS[kind], lw=2, marker='o', ms=3, label=kind)
    axes.axhline(found.method.noise, color=INK, lw=1.2, ls=(0, (5, 2)), label='noise of the policy')
    axes.set_xlabel('stored robot minutes')
    axes.set_ylabel('root mean square, action units\n(median and middle half)')
    style(axes)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, found.episodes[-1].robot_minutes)
    figure.legend(frameon=False, fontsize=9, loc='outside lower center', ncols=4)
    return figure
