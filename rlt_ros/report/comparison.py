"""The comparison on several tasks and the ablations as tables, pictures and pages, from the cells' folders alone."""

from collections.abc import Sequence
from pathlib import Path
import shutil
from statistics import median

from rlt_ros.report import behaviour
from rlt_ros.report.behaviour import by_label
from rlt_ros.report.cells import Cell, cost, cost_line, pooled, provenance, results, spread, write_results

HEADER = ('success', 'successes per 10 min', 'median steps', 'passes the VLA at', 'passes the person at',
          'approach, mm/s', 'largest force, N', 'retries', 'seeds x episodes')  # fmt: skip

FULL = ('In full tasks (`_full`) the part is fetched first, by the VLA or the person; RLT practises the critical phase '
        'alone for two thirds of its robot minutes, then acts in the critical phase of whole tasks. *Passes* and the '
        'curves count whole tasks alone; steps, approach, force and retries are of the whole episode, fetching '
        'included.')  # fmt: skip


def by_task(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Cells by task, with its setting where that is not the critical phase alone."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        name = Path(cell.task).stem + ('' if cell.setting == 'critical' else f'_{cell.setting}')
        found.setdefault(name, []).append(cell)
    return found


def passing(rows: list[dict], key: str) -> str:
    """Median over seeds of when one is passed, with how many never did."""
    values = [row[key] for row in rows]
    reached = [value for value in values if value is not None]
    if not reached:
        return '-'
    never = len(values) - len(reached)
    return f'{median(reached):.1f} min' + (f' ({never} of {len(values)} never)' if never else '')


def table(cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    """(who drove, a text for each of HEADER) of the cells of one task."""
    rows, there = {(row['method'], row['seed']): row for row in results(cells)}, {cell.driver for cell in cells}
    found = []
    for name, some in by_label(cells).items():
        measured, did = pooled(some), behaviour.describe(some)
        learned = [rows[name, cell.seed] for cell in some]
        found.append((name, [
            spread(measured['success_rate'], measured['success_ci'], '.0%'),
            spread(measured['throughput_per_10min'], measured['throughput_per_10min_ci'], '.0f'),
            spread(measured['median_steps'], measured['median_steps_ci'], '.0f'),
            *(passing(learned, f'minutes_to_pass_{other}') if some[0].driver == 'rlt' and other in there else ''
              for other in ('vla', 'teleop')),
            spread(None if did['approach_speed'] is None else did['approach_speed'] * 1e3, None, '.0f'),
            spread(did['largest_force'], None, '.1f'), spread(did['retries'], None, '.2f'),
            f'{measured["seeds"]} x {measured["episodes"] // measured["seeds"]}',
        ]))  # fmt: skip
    return found


def markdown_table(first: str, rows: list[tuple[str, list[str]]], header: Sequence[str] = HEADER) -> list[str]:
    lines = ['| ' + ' | '.join((first, *header)) + ' |', '|' + '---|' * (len(header) + 1)]
    return [*lines, *('| ' + ' | '.join((name, *texts)) + ' |' for name, texts in rows), '']


def write_comparison(
    folder: Path, cells: Sequence[Cell], videos: list[Path], page: Path | None, lack: Sequence[str] = ()
) -> list[Path]:
    """results.json, plots and the page of finished cells; lack: lines on what is missing. Returns what was written."""
    from rlt_ros.report.comparison_plots import of_comparison, write

    path, rows = write_results(folder, cells)
    tasks = by_task(cells)
    plots = write(folder, of_comparison(tasks))
    if page is None:
        return [path, *plots]
    full = any(cell.setting == 'full' for cell in cells)
    lines = [
        '# The frozen VLA, a person and RLT', '',
        f'Written by `./rlt bench tasks{" --setting full" * full} --page docs/{page.name}` from its runs, in '
        'lock-step. All three start from the same states, which nobody learned from; the person is the scripted '
        'teleoperator that also gives the demonstrations, RLT the policy at the end, without noise. Intervals are '
        "95 %: Wilson's for success over all episodes, bootstrap over seeds and episodes for the rest. *Passes* is the "
        'robot minute (median over seeds; learning episodes with noise, warm-up included) from which on any 20 '
        'learning episodes in a row reach the throughput of the other. Approach is the mean tool speed before the '
        'first contact, retries are descents after the first.', '',
    ]  # fmt: skip
    lines += [FULL, ''] if full else []
    lines += [f'**Missing:** {line}\n' for line in lack]
    for task, some in tasks.items():
        lines += [f'## {task}', '', *markdown_table('', table(some))]
        lines += [f'![What each does differently on {task}](images/{page.stem}-behaviour-{task}.png)\n']
        lines += [f'[VLA and RLT side by side](images/{page.stem}-{v.name})\n' for v in videos if v.stem == task]
    lines += ['## All tasks', '']
    lines += [f'![{p.stem}](images/{page.stem}-{p.name})\n' for p in plots if not p.stem.startswith('behaviour')]
    return [path, *plots, published(page, lines, rows, {f'{page.stem}-{p.name}': p for p in (*plots, *videos)})]


def write_ablations(
    folder: Path, cells: Sequence[Cell], about: dict[str, str], page: Path | None, left_out: list[str],
    lack: Sequence[str] = (),
) -> list[Path]:  # fmt: skip
    """As `write_comparison`, for RLT without one part each. about: what each is."""
    from rlt_ros.report.comparison_plots import of_ablations, write

    path, rows = write_results(folder, cells)
    plots = write(folder, of_ablations(cells))
    if page is None:
        return [path, *plots]
    weights = {row['method']: row['weights'] or {} for row in rows}
    lines = [
        '# What each part of RLT is worth', '',
        f'Written by `./rlt bench ablations --page docs/{page.name}` from its runs, in lock-step: the same learner, '
        f'each time without one part, on '
        f'{", ".join(by_task(cells))}. Columns as in [comparison.md](comparison.md).', '',
    ]  # fmt: skip
    lines += [f'**Missing:** {line}\n' for line in lack]
    rows_of = table(cells)
    drop = HEADER.index('passes the person at')
    header = [text for i, text in enumerate(HEADER) if i != drop]
    lines += markdown_table('', [(n, [t for i, t in enumerate(texts) if i != drop]) for n, texts in rows_of], header)
    for name, text in about.items():
        encoder = '' if name != 'image-encoder' or name not in weights else (
            f' (here: trained on demonstrations, {weights[name]["encoder"][:10]})' if 'encoder' in weights[name]
            else ' (here: random)')  # fmt: skip
        lines.append(f'- **{name}**: {text}{encoder}')
    lines += [f'- **{name}**: not computed, its weights were not given' for name in left_out]
    images = {f'{page.stem}-{p.name}': p for p in plots}
    lines += ['', *(f'![{p.stem}](images/{name})\n' for name, p in images.items())]
    return [path, *plots, published(page, lines, rows, images)]


def published(page: Path, lines: list[str], rows: list[dict], images: dict[str, Path]) -> Path:
    """Write a page with its images beside it, and at its end what it was measured on and what that cost."""
    folder = page.parent / 'images'
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        shutil.copyfile(image, folder / name)
    lines.append(provenance(rows) + '.')
    if found := cost(rows):
        lines += ['', cost_line(found) + '.']
    page.write_text('\n'.join(lines) + '\n')
    return page


