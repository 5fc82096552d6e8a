"""Results of runs as a page of documentation, written from their files alone."""

from pathlib import Path

from rlt_ros.report.cells import made_with, provenance, spread
from rlt_ros.report.pages import markdown_table, published
from rlt_ros.report.summary import summarise

HEADER = ('seed', 'policy', 'success', 'successes per 10 min', 'median steps', 'episodes', 'passes the VLA at',
          '3 x the VLA at')  # fmt: skip


def publish(folders: list[Path], page: Path) -> None:
    """Write `page` (Markdown) and images/ beside it: frozen VLA against RLT for each run, and how it was measured."""
    rows: list[tuple[str, list[str]]] = []
    details: list[str] = []
    images: dict[str, Path] = {}
    for folder in folders:
        name, summary = folder.resolve().name, summarise(folder)
        rows += [(name, texts) for texts in compared(summary)]
        details += [f'## {name}', '', *(f'- {fact}' for fact in facts(summary)), '']
        for plot in sorted((folder / 'plots').glob('*.png')):
            images[f'{name}-{plot.name}'] = plot
            details += [f'![{plot.stem} of {name}](images/{name}-{plot.name})', '']
    published(page, [
        '# Results', '',
        f"Written by `./rlt report --page {page.name} RUN ...` from the runs' files. Intervals are 95 %.", '',
        *markdown_table('run', rows, HEADER), *details,
    ], [], images)  # fmt: skip


def compared(summary: dict) -> list[list[str]]:
    """A text for each of HEADER, of the frozen VLA and of RLT; not of who had no episode."""
    minutes = [spread(summary[key], None, '.1f') + ' min' * (summary[key] is not None)
               for key in ('minutes_to_pass_vla', 'minutes_to_3x_vla')]  # fmt: skip
    return [
        [
            str(summary['seed']), label, spread(part['success_rate'], part['success_ci'], '.0%'),
            spread(part['throughput_per_10min'], None, '.0f'), spread(part['median_steps'], None, '.0f'),
            str(part['episodes']), *passes,
        ]
        for label, part, passes in (
            ('frozen VLA', summary['vla'], ['', '']), ('RLT, last episodes', summary['rlt'], minutes))
        if part['episodes']
    ]  # fmt: skip


def facts(summary: dict) -> list[str]:
    """How a run was measured, and on what."""
    deadline = summary.get('deadline_error_ms') or {}
    found = [
        f'{summary["robot_minutes"]:.1f} robot minutes of learning, {summary["transitions"]} transitions, '
        f'{summary["updates"]} updates ({summary["updates_per_s"] or 0:.0f} per s while learning), '
        f'{summary["policy_versions"]} policy versions',
    ]
    if deadline.get('p99'):
        found.append(
            f'{summary["missed_ticks"]} of {summary["ticks"]} ticks missed, deadline error p50 {deadline["p50"]:.2f}, '
            f'p99 {deadline["p99"]:.2f}, largest {deadline["max"]:.2f} ms, '
            f'{summary["chunk_holds"]} ticks held for want of a chunk'
        )
    return [*found, provenance([summary | made_with(summary['versions'])])]
