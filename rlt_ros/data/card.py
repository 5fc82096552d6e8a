"""Model cards: what weights were made from and what was measured, as JSON beside the weights and as Markdown."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rlt_ros.errors import UserError
from rlt_ros.paths import check_writable
from rlt_ros.weights_files import card_of, path_of

if TYPE_CHECKING:
    from rlt_ros.token.train import TokenTraining
    from rlt_ros.vla.train import VlaTraining

PARTS = ('.json', '.md', '.png')  # of a card, beside its weights


def command(
    what: str, datasets: list[Path], robot: str, plan: 'VlaTraining | TokenTraining', vla: Path | None = None
) -> str:  # fmt: skip
    """The command line that trains this. vla: what it starts from, told where it is not the robot's own."""
    source = '' if vla is None or vla.resolve() == path_of('vla', robot).resolve() else f' --vla {vla}'
    return (
        f'./rlt train {what} {" ".join(f"--dataset {folder}" for folder in datasets)} --robot {robot}{source} '
        f'--steps {plan.steps} --batch {plan.batch} --every {plan.every} --seed {plan.seed}'
    )


def check_place(weights: Path) -> None:
    """Raises UserError where weights and their card could not be written, or one would be written over the other."""
    if weights.suffix in PARTS:
        raise UserError(f'{weights} would be its own card; choose a name that ends otherwise, .safetensors say')
    check_writable(weights)


def write(weights: Path, facts: dict) -> None:
    """Merge facts into the card beside a weights file, but empty ones, and draw its curve, if it has one."""
    try:
        card = card_of(weights)
    except UserError:
        card = {}  # a damaged one: of what, nobody knows
    if card.get('sha256') != facts.get('sha256', card.get('sha256')):
        card = {}  # a card of other weights
    card |= {name: value for name, value in facts.items() if value != {}}
    weights.with_suffix('.json').write_text(json.dumps(card, indent=1, default=float) + '\n')
    if curve := card.get('curve'):
        _draw(weights.with_suffix('.png'), weights.stem, curve)
    weights.with_suffix('.md').write_text(_markdown(weights.name, card))


def _draw(path: Path, title: str, curve: list[dict]) -> None:
    from matplotlib.figure import Figure  # here: most who come for a card draw nothing

    from rlt_ros.report.plots import save

    names = [n for n in curve[0] if n not in ('step', 'seconds') and not n.startswith('held_out_')]
    figure = Figure(figsize=(5 * len(names), 3.2), layout='constrained')
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        steps = [point['step'] for point in curve]
        axis.semilogy(steps, [point[name] for point in curve], label='training', alpha=0.5)
        axis.semilogy(steps, [point[f'held_out_{name}'] for point in curve], label='held-out episodes')
        axis.set(title=f'{title}: {name} loss', xlabel='step')
        axis.grid(alpha=0.3)
        axis.legend()
    save(path.parent, {path.name: figure}, dpi=110)


def _markdown(name: str, card: dict) -> str:
    lines = [f'# {name}', '', 'Written by the command below; every number is measured by it.', '']
    for key, value in card.items():
        parts = value if isinstance(value, list) else [value]
        if key == 'curve':
            lines += [f'![curve]({Path(name).stem}.png)', '']
        elif parts and all(isinstance(part, dict) for part in parts):
            for part in parts:
                lines += [f'**{key}**', ''] + [f'- {k}: {_short(v)}' for k, v in part.items()] + ['']
        else:
            lines += [f'**{key}**: {_short(value)}', '']
    return '\n'.join(lines) + '\n'


def _short(value: object) -> str:
    if isinstance(value, float):
        return f'{value:.4g}'
    if isinstance(value, list):
        return ', '.join(_short(item) for item in value)
    return str(value)
