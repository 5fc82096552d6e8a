"""The comparison on several tasks and the ablations as tables, pictures and pages, from the cells' folders alone."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rlt_ros.report import behaviour
from rlt_ros.report.behaviour import by_label
from rlt_ros.report.cells import Cell, pooled, results, spread, write_results
from rlt_ros.report.pages import markdown_table, pictures, published
from rlt_ros.report.summary import WINDOW

HEADER = ('success', 'successes per 10 min', 'median steps', 'passes the VLA at', 'passes the person at',
          'approach, mm/s', 'largest force, N', 'retries', 'seeds x episodes')  # fmt: skip

INTERVALS = (
    "Intervals are 95 %. That of success is Wilson's, over all episodes; where seeds differ by more than chance, over "
    'as many as they are worth. The others are bootstrapped, over seeds and over the episodes of each. With two or '
    'three seeds all of them are too narrow.'
)
ONE_SEED = ' One seed: the intervals are those of its final episodes, not of another training.'
COLUMNS = (
    "*Successes per 10 min*: of the episodes' own time, failures included, resets left out.",
    '*Median steps*: control steps of the successes.',
    f'*Passes*: the robot minute from which on any {WINDOW} learning episodes in a row reach the throughput of the VLA '
    'or the person, whom the column names. Learning episodes have noise. The minutes of the warm-up count. Of several '
    'seeds it is the median.',
    "*Approach*: the tool's mean speed before the first contact.",
    "*Largest force*: each episode's maximum at a control tick, their mean; shorter impacts may be stronger.",
    '*Retries*: descents after the first.',
)
FULL = (
    'In full tasks (`_full`) the part is fetched first, by the VLA or the person. RLT practises the critical phase '
    'alone for two thirds of its robot minutes. Then it acts in the critical phase of whole tasks. *Passes* and the '
    'curves count whole tasks alone. Steps, approach, force and retries are of the whole episode, fetching included.'
)


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


def seeds_of(cells: Sequence[Cell]) -> set[int]:
    """With which RLT learned."""
    return {cell.seed for cell in cells if cell.driver == 'rlt'}


def learning(cells: Sequence[Cell], who: str) -> list[str]:
    """Sentences on whom the final episodes show, and with how many seeds it learned; none where nobody learned."""
    minutes, seeds = sorted({cell.minutes for cell in cells if cell.driver == 'rlt'}), len(seeds_of(cells))
    if not seeds:
        return []
    return [
        f'{who} is the policy after {" or ".join(f"{value:g}" for value in minutes)} robot minutes, without noise.',
        f'It learned with {"one seed" if seeds == 1 else f"{seeds} seeds"}.',
    ]


def opening(about: list[str], cells: Sequence[Cell], lack: Sequence[str]) -> list[str]:
    """Lines on what the page shows, what its columns are, and what is missing."""
    full = any(cell.setting == 'full' for cell in cells)
    explained = [INTERVALS + ONE_SEED * (len(seeds_of(cells)) == 1), *COLUMNS]
    return [
        ' '.join(about), '', *([FULL, ''] if full else []), *(f'- {line}' for line in explained), '',
        *(f'**Missing:** {line}\n' for line in lack),
    ]  # fmt: skip


def write_comparison(
    folder: Path, cells: Sequence[Cell], videos: list[Path], command: str, page: Path | None, lack: Sequence[str] = ()
) -> list[Path]:
    """results.json, plots and the page of finished cells. Returns what was written.

    command: by which the page is written; lack: lines on what is missing.
    """
    from rlt_ros.report.comparison_plots import DPI, of_comparison
    from rlt_ros.report.plots import save

    path, rows = write_results(folder, cells)
    tasks = by_task(cells)
    plots = save(folder / 'plots', of_comparison(tasks), DPI)
    if page is None:
        return [path, *plots]
    about = [
        f'Written by `{command}` from its runs, in lock-step.',
        'All start from the same states, which nobody learned from.',
        'The person (teleop) is the scripted teleoperator that also gives the demonstrations.',
        *learning(cells, 'RLT'),
    ]
    lines = ['# The frozen VLA, a person and RLT', '', *opening(about, cells, lack)]
    for task, some in tasks.items():
        lines += [f'## {task}', '', *markdown_table('', table(some), HEADER)]
        lines += [f'![What each does differently on {task}](images/{page.stem}-behaviour-{task}.png)\n']
        lines += [f'[VLA and RLT side by side](images/{page.stem}-{v.name})\n' for v in videos if v.stem == task]
    lines += ['## All tasks', '']
    images = {f'{page.stem}-{p.name}': p for p in (*plots, *videos)}
    lines += pictures({name: p for name, p in images.items() if p in plots and not p.stem.startswith('behaviour')})
    return [path, *plots, published(page, lines, rows, images)]


def write_ablations(
    folder: Path, cells: Sequence[Cell], about: dict[str, str], command: str, page: Path | None, left_out: list[str],
    lack: Sequence[str] = (),
) -> list[Path]:  # fmt: skip
    """As `write_comparison`, for RLT without one part each. about: what each is."""
    from rlt_ros.report.comparison_plots import DPI, of_ablations
    from rlt_ros.report.plots import save

    path, rows = write_results(folder, cells)
    plots = save(folder / 'plots', of_ablations(cells), DPI)
    if page is None:
        return [path, *plots]
    weights = {row['method']: row['weights'] or {} for row in rows}
    said = [
        f'Written by `{command}` from its runs, in lock-step.',
        f'It is the same learner each time, without one of its parts, on {", ".join(by_task(cells))}.',
        *learning(cells, 'Each'),
    ]
    lines = ['# What each part of RLT is worth', '', *opening(said, cells, lack)]
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
    lines += ['', *pictures(images)]
    return [path, *plots, published(page, lines, rows, images)]
