"""rlt bench tasks, ablations, study, cost: many lock-step runs, in parallel over Ray; and encoder, agreement."""

from collections.abc import Iterable, Sequence
import json
from pathlib import Path
import shlex
from typing import TYPE_CHECKING, Annotated, Literal

from rich.console import Console
import typer

from rlt_ros.errors import UserError
from rlt_ros.paths import check_writable

if TYPE_CHECKING:
    from rlt_ros.bench.cells import Cell, Report

Seeds = Annotated[int, typer.Option(min=1, max=1000, help='seeds 0, 1, ... of each')]
Minutes = Annotated[float, typer.Option('--robot-minutes', min=0.01, max=10000, help='robot minutes to learn from')]
Episodes = Annotated[int, typer.Option(min=1, max=10000, help='of each final evaluation, from new starts')]
Setting = Annotated[
    Literal['critical', 'full'], typer.Option(help='the critical phase alone, or the whole task (<task>_full)')
]
Workers = Annotated[int, typer.Option(min=1, max=4096, help='cells at a time, a core each')]
Address = Annotated[str, typer.Option(help='of a Ray cluster on the same file system and version; empty: this machine')]


def _writable(page: Path | None) -> Path | None:
    """Before the long work, and not after it: raises UserError."""
    if page is not None:
        check_writable(page)
    return page


Page = Annotated[Path | None, typer.Option(
    help='page (.md) to write the results to, with images beside it', callback=_writable
)]  # fmt: skip
Robot = Annotated[str, typer.Option(help='robot profile, name or path')]
Folder = Annotated[Path, typer.Option(help='of the runs; what is finished there is kept')]


def tasks(
    context: typer.Context,
    methods: Annotated[str, typer.Option(help='of vla, teleop, rlt: all, or separated by commas')] = 'all',
    tasks: Annotated[str, typer.Option(help='all, or names separated by commas')] = 'all',
    setting: Setting = 'critical',
    seeds: Seeds = 3,
    robot_minutes: Minutes = 18.0,
    episodes: Episodes = 50,
    workers: Workers = 2,
    address: Address = '',
    folder: Folder = Path('runs/tasks'),
    page: Page = None,
    video: Annotated[bool, typer.Option(help='film the VLA beside RLT on each task')] = True,
    robot: Robot = 'bimanual',
) -> None:
    """The frozen VLA, a person and RLT on every task, from the same starts."""
    from rlt_ros.bench import tasks as plan
    from rlt_ros.report.comparison import by_task, table, write_comparison

    drivers = plan.drivers_of(methods)
    chosen, lack = plan.tasks_of(tasks, setting)
    cells = plan.comparison(drivers, chosen, setting, seeds, robot_minutes, episodes, folder.resolve(), robot)
    for cell in cells:
        cell.models()
    trouble = [f'{name} has no full setting' for name in lack]
    done, failed = compute(cells, workers, address)
    trouble += failed
    console = Console()
    if done:
        films = filmed(done, folder, trouble) if video else []
        for task, some in by_task(done).items():
            show(task, table(some), console)
        told(done, write_comparison(folder, done, films, typed(context), page, short(trouble)) + films, console)
    end(trouble, console)


def ablations(
    context: typer.Context,
    variations: Annotated[str, typer.Option(help='what to take out: all, or names separated by commas')] = 'all',
    task: Annotated[str, typer.Option(help='name or path')] = 'ethernet',
    setting: Setting = 'critical',
    seeds: Seeds = 2,
    robot_minutes: Minutes = 9.0,
    episodes: Episodes = 50,
    weights: Annotated[list[str] | None, typer.Option(
        help='NAME=FILE: weights of no-context-dropout (rlt train token --context-dropout 0), or of image-encoder '
        '(rlt bench encoder; random without)')] = None,
    workers: Workers = 2,
    address: Address = '',
    folder: Folder = Path('runs/ablations'),
    page: Page = None,
    robot: Robot = 'bimanual',
) -> None:  # fmt: skip
    """RLT with one of its parts left out or changed each time.

    The parts: token, chunk, BC, pass-through, reference dropout, context dropout, noise on samples, latency awareness,
    stride, and an image encoder in place of the token.
    """
    from rlt_ros.bench import tasks as plan
    from rlt_ros.bench.variations import VARIATIONS
    from rlt_ros.report.comparison import table, write_ablations

    cells, lack = plan.ablations(variations, task, setting, seeds, robot_minutes, episodes, folder.resolve(), robot,
                                 plan.weights_of(weights or []))  # fmt: skip
    console = Console()
    for name in lack:
        console.print(f'{name} is left out: give --weights {name}=FILE, {VARIATIONS[name].weights}', soft_wrap=True,
                      highlight=False)
    done, trouble = compute(cells, workers, address)
    if done:
        about = {cell.variation: VARIATIONS[cell.variation].about for cell in done if cell.driver == 'rlt'}
        show(Path(task).stem, table(done), console)
        told(done, write_ablations(folder, done, about, typed(context), page, lack, short(trouble)), console)
    end(trouble, console)


def study(
    context: typer.Context,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help='seeds 0, 1, ... of the method as it is')] = 5,
    minutes: Annotated[float, typer.Option(min=0.1, max=10000, help='robot minutes of each')] = 18.0,
    vary: Annotated[str, typer.Option(help='variations to run beside it: all, or names separated by commas')] = 'all',
    vary_seeds: Annotated[int, typer.Option(min=1, max=1000, help='seeds of each variation')] = 1,
    vary_minutes: Annotated[float, typer.Option(min=0.1, max=10000, help='robot minutes of each variation')] = 9.0,
    final: Annotated[int, typer.Option(min=1, max=10000, help='episodes of each learned policy')] = 50,
    workers: Workers = 2,
    address: Address = '',
    folder: Folder = Path('runs/study'),
    page: Page = None,
) -> None:
    """Learn in lock-step over seeds and variations of the method, and show what each part is worth."""
    from rlt_ros.bench import tasks as plan
    from rlt_ros.bench.cells import Cell
    from rlt_ros.bench.variations import VARIATIONS
    from rlt_ros.report.study import write_study

    others = [name for name in VARIATIONS if not VARIATIONS[name].weights_needed]
    names = [name for name in plan.listed(vary, others, 'variation') if name != 'rlt']
    cells = [Cell('rlt', seed, minutes, final, folder.resolve() / f'rlt-{seed}', thorough=True)
             for seed in range(seeds)]
    for name in names:
        cells += [Cell(name, s, vary_minutes, final, folder.resolve() / f'{name}-{s}', thorough=True)
                  for s in range(vary_seeds)]
        cells[-1].models()
    done, trouble = compute(cells, workers, address)
    console = Console()
    told(done, write_study(folder, done, typed(context), page, short(trouble)), console)
    end(trouble, console)


def encoder(
    dataset: Annotated[Path, typer.Option(help='demonstrations (rlt collect)')] = Path('datasets/ethernet'),
    out: Annotated[Path, typer.Option(help='weights file')] = Path('runs/image_encoder.safetensors'),
    steps: Annotated[int, typer.Option(min=1, max=1_000_000)] = 1500,
    batch: Annotated[int, typer.Option(min=1, max=4096)] = 32,
    every: Annotated[int, typer.Option(min=1, max=1000, help='only every n-th observation is learned from')] = 4,
    threads: Annotated[int, typer.Option(min=1, max=256)] = 2,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    robot: Robot = 'bimanual',
) -> None:
    """Train the image encoder that an ablation has in place of the RL token, on demonstrations."""
    import torch

    from rlt_ros.bench.image_encoder import AHEAD, train
    from rlt_ros.config import RobotProfile, load
    from rlt_ros.data.progress import progress
    from rlt_ros.vla import normalisation
    from rlt_ros.vla.examples import load_examples
    from rlt_ros.weights_files import path_of

    torch.set_num_threads(threads)
    profile = load(RobotProfile, robot)
    unit = normalisation.load(path_of('vla', profile.name), profile)
    examples = load_examples([dataset], profile, AHEAD, every)
    with progress() as bars:
        bar = bars.add_task('training the image encoder', total=steps, note='')
        found = train(profile, unit, examples, steps, batch, seed, out,
                      lambda step, loss: bars.update(bar, completed=step, note=f'loss {loss:.3f}'))
    Console().print(f'{out}: held-out loss {found["held_out_loss"]:.3f} (a constant has 1)', highlight=False)


def agreement(
    context: typer.Context,
    run: Annotated[Path | None, typer.Option(help='run whose saved actor drives; default: the frozen VLA')] = None,
    episodes: Annotated[int, typer.Option(min=2, max=10000, help='in each; live they take real time')] = 30,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: Annotated[bool, typer.Option('--json', help='print one JSON object only')] = False,
    task: Annotated[str, typer.Option(help='task, name or path; default: ethernet, of a run its own')] = '',
    method: Annotated[str, typer.Option(help='method, name or path; of a run: its own')] = 'rlt',
    robot: Robot = 'bimanual',
    page: Page = None,
) -> None:
    """Whether lock-step and the live graph agree: one policy, the same starts; exit code 1 where they do not."""
    from rlt_ros import config
    from rlt_ros.bench.agreement import LEAST_P, Plan, measure
    from rlt_ros.commands.report import find
    from rlt_ros.data.progress import progress
    from rlt_ros.report.cells import made_with
    from rlt_ros.report.lockstep_pages import AGREEMENT, agreement_rows, verdict, write_agreement
    from rlt_ros.run_folder import versions

    plan = Plan(episodes, seed, robot, task, method, None if run is None else find(run))
    models = config.load(config.RobotProfile, robot), config.load(config.Task, plan.its_task), plan.chosen()
    with progress() as bars:
        bar = bars.add_task('episodes', total=2 * episodes, note='')
        found = measure(plan, lambda done, note: bars.update(bar, completed=done, note=note))
    found |= made_with(versions()) | {'config_hash': config.config_hash(*models)}
    if page is not None:
        write_agreement(page, found, LEAST_P, typed(context))
    if as_json:
        print(json.dumps(found, indent=1))
        raise typer.Exit(0 if found['agree'] else 1)
    from rich.table import Table

    shown = Table('', *AGREEMENT, box=None, padding=(0, 3, 0, 0), caption=verdict(found, LEAST_P))
    for name, texts in agreement_rows(found):
        shown.add_row(name, *texts)
    Console().print(shown)
    raise typer.Exit(0 if found['agree'] else 1)


def cost(
    context: typer.Context,
    workers: Annotated[str, typer.Option(help='numbers of workers, separated by commas')] = '1,2',
    seeds: Annotated[str, typer.Option(help='numbers of seeds, separated by commas')] = '1,2',
    robot_minutes: Minutes = 3.0,
    task: Annotated[str, typer.Option(help='task, name or path')] = 'ethernet',
    folder: Annotated[Path, typer.Option(help='of the runs, which are computed anew')] = Path('runs/cost'),
    as_json: Annotated[bool, typer.Option('--json', help='print one JSON object only')] = False,
    robot: Robot = 'bimanual',
    page: Page = None,
) -> None:
    """Robot minutes simulated per minute, and memory, by the number of seeds and workers."""
    from rich.table import Table

    from rlt_ros.bench.cost import measure
    from rlt_ros.data.progress import progress
    from rlt_ros.machine import machine
    from rlt_ros.report.lockstep_pages import COST, cost_rows, write_cost

    counts = [numbers(text, name) for text, name in ((workers, '--workers'), (seeds, '--seeds'))]
    with progress() as bars:

        def watched(some: int, count: int) -> 'Report':
            at: dict[str, float] = {}
            bar = bars.add_task(f'{some} seeds, {count} workers', total=robot_minutes * some, note='')

            def report(cell: 'Cell', minutes: float, note: str) -> None:
                at[cell.name] = min(minutes, robot_minutes)
                bars.update(bar, completed=round(sum(at.values()), 2), note=note)

            return report

        rows = measure(*counts, task, robot_minutes, robot, folder, watched)
    if page is not None:
        write_cost(page, rows, Path(task).stem, typed(context))
    if as_json:
        print(json.dumps({'rows': rows, 'machine': machine()}, indent=1))
        return
    shown = Table('seeds', *COST, box=None, padding=(0, 3, 0, 0))
    for name, texts in cost_rows(rows):
        shown.add_row(name, *texts)
    Console().print(shown)


def numbers(text: str, option: str) -> list[int]:
    """Counts separated by commas; raises UserError."""
    found = text.split(',')
    if not all(n.strip().isdecimal() and int(n) > 0 for n in found):
        raise UserError(f'{option} "{text}" is not allowed; allowed: numbers from 1 on, separated by commas')
    return [int(n) for n in found]


def compute(cells: 'Sequence[Cell]', workers: int, address: str) -> 'tuple[list[Cell], list[str]]':
    """Compute cells with a bar each and one for all; returns those that are there then, and what went wrong."""
    from rlt_ros.bench.cells import DONE, run
    from rlt_ros.data.progress import progress

    work = {cell.name: cell.work for cell in cells}
    at, ended_so_far, few = dict.fromkeys(work, 0.0), set(), len(cells) <= 24
    with progress() as bars:
        bars.speed_estimate_period = 600.0  # s: cells are slow and unlike each other
        whole = bars.add_task('all', total=round(sum(work.values()), 1), note='')
        rows = {cell.name: bars.add_task(cell.name, total=work[cell.name], note='waits', visible=few)
                for cell in cells}  # fmt: skip

        def report(cell: 'Cell', minutes: float, note: str) -> None:
            ended = note in ('finished', 'failed', 'was there', 'left alone')
            at[cell.name] = work[cell.name] if ended else min(minutes, work[cell.name])
            bars.update(rows[cell.name], completed=round(at[cell.name], 1), note=note, visible=few or not ended)
            ended_so_far.update([cell.name] if ended else [])
            bars.update(whole, completed=round(sum(at.values()), 1), note=f'{len(ended_so_far)} of {len(cells)} cells')

        failed = run(list(cells), workers, report, address)
    done = [cell for cell in cells if cell.name not in failed and (cell.folder / DONE).is_file()]
    return done, [f'{name} failed: {why}' for name, why in failed.items()]


def filmed(done: 'Sequence[Cell]', folder: Path, trouble: list[str]) -> list[Path]:
    """A video for each task of which RLT has learned: of its first seed."""
    from rlt_ros.bench.compare import compare
    from rlt_ros.report.comparison import by_task

    videos = []
    for task, some in by_task(done).items():
        run = next((cell.folder for cell in some if cell.driver == 'rlt'), None)
        if run is None:
            continue
        out = folder / 'videos' / f'{task}.mp4'
        newest = (run / 'finished.json').stat().st_mtime
        if not out.is_file() or out.stat().st_mtime < newest:
            try:
                compare(run, out)
            except Exception as error:  # a video must not cost the results
                trouble.append(f'video of {task} failed: {error}')
                continue
        videos.append(out)
    return videos


def show(task: str, rows: list[tuple[str, list[str]]], console: Console) -> None:
    from rich.table import Table

    from rlt_ros.report.comparison import HEADER

    shown = Table(task, *HEADER, box=None, padding=(0, 2, 0, 0))
    for name, texts in rows:
        shown.add_row(name, *texts)
    console.print(shown)


def told(done: 'Sequence[Cell]', files: Iterable[Path], console: Console) -> None:
    """Print where the files are, and what it cost."""
    from rlt_ros.report.cells import cost, cost_line, results

    if found := cost(results(done)):
        console.print(cost_line(found), soft_wrap=True, highlight=False)
    for path in files:
        console.print(str(path), soft_wrap=True, highlight=False)


def typed(context: typer.Context) -> str:
    """The command as the user gave it, for its page; of absolute paths the name alone, for they are this machine's."""
    words = f'./{context.command_path}'.split()
    for option in context.command.params:
        if context.get_parameter_source(option.name).name != 'COMMANDLINE':
            continue
        value = context.params[option.name]
        if isinstance(value, bool):
            words.append((option.opts if value else option.secondary_opts)[0])
            continue
        for one in value if isinstance(value, list) else [value]:
            text = f'{one:.12g}' if isinstance(one, float) else str(one)
            before, is_of, path = text.rpartition('=')
            words += [option.opts[0], f'{before}{is_of}{Path(path).name}' if path.startswith('/') else text]
    return shlex.join(words)


def short(trouble: list[str]) -> list[str]:
    """For a page: what is missing, without why and where."""
    return [line.partition(':')[0] for line in trouble]


def end(trouble: list[str], console: Console) -> None:
    for line in trouble:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    raise typer.Exit(1 if trouble else 0)


COMMANDS = tasks, ablations, study, encoder, agreement, cost
