"""Results of runs as a page of documentation, written from their files alone."""

from pathlib import Path
import shutil

from rlt_ros.report.records import read_object
from rlt_ros.report.summary import summarise

COLUMNS = {
    'success': lambda part: f'{part["success_rate"]:.0%} ({part["success_ci"][0]:.0%} to {part["success_ci"][1]:.0%})',
    'successes per 10 min': lambda part: f'{part["throughput_per_10min"]:.0f}',
    'median steps': lambda part: '-' if part['median_steps'] is None else f'{part["median_steps"]:.0f}',
    'episodes': lambda part: str(part['episodes']),
}


def publish(folders: list[Path], page: Path) -> None:
    """Write `page` (Markdown) and images/ beside it: frozen VLA against RLT for each run, and how it was measured."""
    images = page.parent / 'images'
    images.mkdir(parents=True, exist_ok=True)
    lines = [
        '# Results',
        '',
        f"Written by `./rlt report --page {page.name} RUN ...` from the runs' files. Intervals are 95 %.",
        '',
    ]
    header = ['run', 'seed', 'policy', *COLUMNS, 'passes the VLA at', '3 x the VLA at']
    lines += ['| ' + ' | '.join(header) + ' |', '|' + '---|' * len(header)]
    details = []
    for folder in folders:
        summary = summarise(folder)
        name, seed = folder.resolve().name, summary['seed']
        for label, part in (('frozen VLA', summary['vla']), ('RLT, last episodes', summary['rlt'])):
            if not part['episodes']:
                continue
            cells = [name, str(seed), label, *(show(part) for show in COLUMNS.values())]
            minutes = ['', ''] if part is summary['vla'] else [
                '-' if summary[key] is None else f'{summary[key]:.1f} min'
                for key in ('minutes_to_pass_vla', 'minutes_to_3x_vla')
            ]  # fmt: skip
            lines.append('| ' + ' | '.join(cells + minutes) + ' |')
        details += _details(folder, name, summary, images)
    page.write_text('\n'.join(lines + [''] + details) + '\n')


def _details(folder: Path, name: str, summary: dict, images: Path) -> list[str]:
    versions = read_object(folder / 'versions.json')
    deadline = summary.get('deadline_error_ms') or {}
    facts = [
        f'{summary["robot_minutes"]:.1f} robot minutes of learning, {summary["transitions"]} transitions, '
        f'{summary["updates"]} updates ({summary["updates_per_s"] or 0:.0f} per s while learning), '
        f'{summary["policy_versions"]} policy versions',
    ]
    if deadline.get('p99'):
        facts.append(
            f'{summary["missed_ticks"]} of {summary["ticks"]} ticks missed, deadline error p50 {deadline["p50"]:.2f}, '
            f'p99 {deadline["p99"]:.2f}, largest {deadline["max"]:.2f} ms, '
            f'{summary["chunk_holds"]} ticks held for want of a chunk'
        )
    facts.append(
        f'{versions.get("cpu", "?")}, {versions.get("cores", "?")} cores, Python {versions.get("python", "?")}, commit '
        f'{versions.get("commit", "?")[:10]}, configuration {str(summary["config_hash"])[:10]}'
    )
    lines = [f'## {name}', '', *(f'- {fact}' for fact in facts), '']
    for plot in sorted((folder / 'plots').glob('*.png')):
        shutil.copyfile(plot, images / f'{name}-{plot.name}')
        lines += [f'![{plot.stem} of {name}](images/{name}-{plot.name})', '']
    return lines
