"""Pictures of the token's report: gaps with intervals, probes side by side, spectrum."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from rlt_ros.report.plots import FAINT, INK, RLT, VLA, save, style
from rlt_ros.token.features import BODY, NAMES, POLICY, PREFIX, TOKEN
from rlt_ros.token.report import LEAST_GAP, READINGS

LABELS = {TOKEN: 'token', PREFIX: 'prefix\nPCA-64', POLICY: 'policy\nlayer', BODY: 'proprio-\nception'}
PANELS = (
    ('offset', 'rmse_mm', 'offset x, RMSE in mm', 0),
    ('offset', 'rmse_mm', 'offset y, RMSE in mm', 1),
    ('action', 'r2', 'next chunk, R²', None),
    ('phase', 'accuracy', 'phase, accuracy', None),
    ('outcome', 'auc', 'attempt goes in, AUC', None),
)


def write_plots(report: dict, folder: Path) -> list[Path]:
    """Draw gaps.png, probes.png and spectrum.png; raises OSError when they cannot be written."""
    return save(folder, {'gaps.png': gaps(report), 'probes.png': probes(report), 'spectrum.png': spectra(report)})


def gaps(report: dict) -> Figure:
    """Relative error and both gaps, with all and with a part of the decoder's context hidden."""
    figure = Figure(figsize=(7.2, 4.0), layout='constrained')
    figure.suptitle('Does the decoder use the token?', color=INK, fontsize=13)
    axes = figure.subplots()
    names = ('relative_error', 'zero_gap', 'shuffle_gap')
    hidden = report['with_context']['hidden']
    for shift, part, label, color in (
        (-0.2, report, 'all context hidden', RLT), (0.2, report['with_context'], f'{hidden:.0%} of it hidden', VLA),
    ):  # fmt: skip
        for at, name in enumerate(names):
            bar(axes, at + shift, part[name], part[f'{name}_ci'], 0.36, color, label if at == 0 else None, '.2f')
    axes.hlines(LEAST_GAP, 0.5, 2.5, color=INK, lw=1, ls='--', label=f'a gap must be above {LEAST_GAP}')
    axes.set_xticks(range(3), ['error with the token', 'gap: token of zeros', "gap: another episode's token"])
    axes.set_ylabel('|rebuilt - z|² / |z|², held-out episodes')
    style(axes)
    axes.legend(frameon=False, fontsize=9)
    return figure


def probes(report: dict) -> Figure:
    """Every probe a panel, every representation a pair of bars: linear and MLP."""
    figure = Figure(figsize=(9.6, 6.4), layout='constrained')
    figure.suptitle('What can be read off (probes, held-out episodes, 95 % intervals)', color=INK, fontsize=13)
    *panels, corner = figure.subplots(2, 3).flat
    for axes, (probe, metric, title, axis) in zip(panels, PANELS, strict=True):
        found = report['probes'][probe]
        axes.set_title(title, color=INK, fontsize=10)
        if not found:
            why = 'nobody knows the offset' if report['unknown'] else 'all attempts end the same way'
            axes.text(0.5, 0.5, why, transform=axes.transAxes, ha='center', color=VLA)
            axes.set_axis_off()
            continue
        pick = (lambda value: value) if axis is None else (lambda value, axis=axis: value[axis])
        for shift, reading, color in zip((-0.2, 0.2), READINGS, (VLA, RLT), strict=True):
            for at, name in enumerate(NAMES):
                one = found[name][reading]
                label = {'linear': 'linear', 'mlp': 'MLP'}[reading] if at == 0 else None
                bar(axes, at + shift, pick(one[metric]), pick(one[f'{metric}_ci']), 0.36, color, label, '.2f')
        axes.axhline(pick(found['chance'][metric]), color=INK, lw=1, ls='--', label='without looking')
        if 'ceiling' in found:
            axes.axhline(found['ceiling'][metric], color=INK, lw=1, ls=':')
            axes.annotate(
                'true offset',
                (1, found['ceiling'][metric]),
                (0, 3),
                xycoords=('axes fraction', 'data'),
                textcoords='offset points',
                ha='right',
                fontsize=7,
                color=INK,
            )
        axes.set_xticks(range(len(NAMES)), [LABELS[name] for name in NAMES])
        style(axes)
        axes.tick_params(axis='x', labelsize=8)
        if metric == 'auc':
            axes.set_ylim(bottom=0.4)
    handles, names = panels[2].get_legend_handles_labels()  # of the next chunk, which is always known
    corner.legend(handles, names, frameon=False, fontsize=10, loc='center')
    corner.set_axis_off()
    return figure


def spectra(report: dict) -> Figure:
    """Cumulative share of the variance by principal components, of token and prefix."""
    figure = Figure(figsize=(7.2, 4.0), layout='constrained')
    figure.suptitle('How many dimensions are in use', color=INK, fontsize=13)
    axes = figure.subplots()
    for name, color in (('prefix', VLA), ('token', RLT)):
        one = report['spectrum'][name]
        label = f'{name}: 90 % in {one["components_90"]}, 99 % in {one["components_99"]}'
        axes.plot(np.arange(1, len(one['explained']) + 1), one['explained'], color=color, lw=2, label=label)
    for share in (0.9, 0.99):
        axes.axhline(share, color=FAINT, lw=1.2, zorder=0)
    axes.set_xscale('log')
    axes.set_ylim(0, 1.02)
    axes.set_xlabel('principal components')
    axes.set_ylabel('variance explained')
    style(axes)
    axes.legend(frameon=False, fontsize=9, loc='lower right')
    return figure


def bar(
    axes: Axes, at: float, value: float, between: list[float], width: float, color: str, label: str | None, form: str
) -> None:
    """A bar with its interval and its number above."""
    axes.bar(at, value, width, color=color, label=label)
    axes.vlines(at, *between, color=INK, lw=1.2)
    axes.annotate(
        format(value, form), (at, max(value, between[1])), (0, 2), textcoords='offset points', ha='center', fontsize=7,
        color=INK,
    )  # fmt: skip
