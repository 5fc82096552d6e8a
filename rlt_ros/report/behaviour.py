"""How policies differ in what they do: approach speed, contact force, retries, from the traces of final episodes."""

from collections.abc import Sequence

from matplotlib.figure import Figure
import numpy as np

from rlt_ros.bench import trace
from rlt_ros.report.cells import Cell, label
from rlt_ros.report.plots import INK, style

LEG = 0.002  # m that the tool must go down, or up, for it to count
TOUCH = 0.5  # N
BIN = 0.002  # m of height


def descents(height: np.ndarray, leg: float = LEG) -> int:
    """How often the tool goes down by a leg at least; between two descents it goes up by one. Heights (T,) in m."""
    count, turn, down = 0, height[0], False
    for value in height:
        if down:
            turn = min(turn, value)
            if value > turn + leg:
                down, turn = False, value
        else:
            turn = max(turn, value)
            if value < turn - leg:
                down, turn, count = True, value, count + 1
    return count


def describe(cells: Sequence[Cell]) -> dict:
    """Means over the final episodes of some seeds; None without traces."""
    episodes = [episode for cell in cells for episode in trace.read(cell.folder / 'trace.npy')]
    if not episodes:
        return dict.fromkeys(('retries', 'largest_force', 'approach_speed'))
    return {
        'retries': float(np.mean([max(0, descents(e[:, 0]) - 1) for e in episodes])),
        'largest_force': float(np.mean([e[:, 2].max() for e in episodes])),
        'approach_speed': float(np.mean([approach(e) for e in episodes])),
    }


def approach(episode: np.ndarray) -> float:
    """m/s, mean speed of the tool until it first touches something."""
    touching = np.flatnonzero(episode[:, 2] > TOUCH)
    return float(episode[: touching[0] if len(touching) and touching[0] > 1 else None, 1].mean())


def figure(groups: dict[str, Sequence[Cell]], colors: dict[str, str], title: str) -> Figure:
    """Speed over height above the lowest point, largest force, and retries, of each method on one task."""
    found = {name: [e for cell in cells for e in trace.read(cell.folder / 'trace.npy')]
             for name, cells in groups.items()}  # fmt: skip
    found = {name: episodes for name, episodes in found.items() if episodes}
    drawn = Figure(figsize=(9.6, 3.4), layout='constrained')
    drawn.suptitle(f'What each does differently: {title}', color=INK, fontsize=13)
    left, middle, right = drawn.subplots(1, 3, width_ratios=(3, 2, 2))
    lowest = min((e[:, 0].min() for episodes in found.values() for e in episodes), default=0.0)
    for i, (name, episodes) in enumerate(found.items()):
        rows = np.concatenate(episodes)
        number = ((rows[:, 0] - lowest) / BIN).astype(int)
        bins = [b for b in range(number.max() + 1) if (number == b).sum() >= 5]
        quartiles = np.array([np.percentile(rows[number == b, 1], (25, 50, 75)) for b in bins]).T * 1e3
        at = (np.array(bins) + 0.5) * BIN * 1e3
        left.fill_between(at, quartiles[0], quartiles[2], color=colors[name], alpha=0.15, lw=0)
        left.plot(at, quartiles[1], color=colors[name], lw=2, label=name)
        for axes, values in ((middle, [e[:, 2].max() for e in episodes]),
                             (right, [max(0, descents(e[:, 0]) - 1) for e in episodes])):  # fmt: skip
            draw = np.random.default_rng(0).uniform(-0.2, 0.2, len(values))
            axes.scatter(i + draw, values, s=6, color=colors[name], alpha=0.5, lw=0)
            axes.plot([i - 0.3, i + 0.3], [np.mean(values)] * 2, color=colors[name], lw=2.2)
    left.set(xlabel='mm above the lowest point', ylabel='tool speed, mm/s: median, quartiles')
    left.invert_xaxis()
    middle.set(ylabel='largest contact force, N')
    right.set(ylabel='retries')
    for axes in (middle, right):
        axes.set_xticks(range(len(found)), list(found))
    for axes in (left, middle, right):
        style(axes)
        axes.set_ylim(bottom=0)
    if found:
        left.legend(frameon=False, fontsize=9)
    return drawn


def by_label(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Cells by who drove, in the order in which they come."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(label(cell), []).append(cell)
    return found
