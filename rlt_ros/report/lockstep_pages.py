"""Pages on lock-step itself: whether it agrees with the live graph, and what it costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rlt_ros.report.cells import spread
from rlt_ros.report.pages import markdown_table, published

AGREEMENT = ('success (95 %)', 'median steps', 'episodes')
COST = ('workers', 'robot minutes', 'updates', 'per minute', 'per core minute', 'MB per worker')


def agreement_rows(found: Mapping) -> list[tuple[str, list[str]]]:
    """(who, a text for each of AGREEMENT) of what `bench agreement` has found."""
    both = zip(
        ('lock-step', 'live'), found['success_rate'], found['success_ci'], found['median_steps'], found['episodes'],
        strict=True,
    )  # fmt: skip
    rows = [
        (name, [spread(rate, interval, '.0%'), spread(steps, None, '.0f'), str(count)])
        for name, rate, interval, steps, count in both
    ]
    steps = found['median_difference_ci']
    between = '' if steps is None else '{:+.0f} to {:+.0f}'.format(*steps)
    success = spread(found['success_difference'], found['success_difference_ci'], '+.0%')
    return [*rows, ('live minus lock-step', [success, between, ''])]


def verdict(found: Mapping, least_p: float) -> str:
    """Whether they agree, and by what that is told."""
    health = found['live_health']
    return (
        f'{"They agree" if found["agree"] else "They differ"}: agreement means that the interval of the success rates '
        f'holds 0, and p of the steps ({spread(found["mann_whitney_p"], None, ".3f")}, Mann and Whitney) is not below '
        f'{least_p}. Live, {health["missed_ticks"]} of {health["ticks"]} ticks were missed and '
        f'{health["chunk_holds"]} held for want of a chunk'
    )


def cost_rows(rows: Sequence[Mapping]) -> list[tuple[str, list[str]]]:
    """(number of seeds, a text for each of COST) of what `bench cost` has measured."""
    return [
        (str(row['seeds']), [
            str(row['workers']), f'{row["simulated_minutes"]:.1f}', str(row['updates']),
            f'{row["per_wall_minute"]:.2f}', f'{row["per_core_minute"]:.2f}', f'{row["peak_memory_mb_per_worker"]:.0f}',
        ])
        for row in rows
    ]  # fmt: skip


def write_agreement(page: Path, found: Mapping, least_p: float, command: str) -> None:
    name = Path(found['policy']).name
    who = 'the frozen VLA' if name == 'vla' else f'the policy that RLT learned in {name}'
    published(page, [
        '# Whether lock-step and the live graph agree', '',
        f'Written by `{command}`: {who}, without noise and without learning, from '
        f'the same starts of {found["task"]} (seed {found["seed"]}) in lock-step and in the whole graph in real time.',
        '', *markdown_table('', agreement_rows(found), AGREEMENT), verdict(found, least_p) + '.', '',
    ], [found], {})  # fmt: skip


def write_cost(page: Path, rows: Sequence[Mapping], task: str, command: str) -> None:
    published(page, [
        '# What lock-step costs', '',
        f'Written by `{command}`: RLT learns {task}, once per seed, by several workers. '
        'Robot minutes simulated in a minute count all workers together, with the time that they need to start.', '',
        *markdown_table('seeds', cost_rows(rows), COST),
    ], [row | {'seed': seed} for row in rows for seed in range(row['seeds'])], {})  # fmt: skip
