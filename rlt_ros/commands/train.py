"""rlt collect, rlt train vla, rlt train token: from demonstrations to the frozen models."""

from pathlib import Path
from typing import Annotated

from rich.console import Console
import typer

from rlt_ros.errors import UserError

Robot = Annotated[str, typer.Option(help='robot profile, name or path')]
Dataset = Annotated[list[Path], typer.Option(help='folder of demonstrations; may be given several times')]
Every = Annotated[int, typer.Option(min=1, max=50, help='every so manieth observation is learned from')]
TASKS = [f'{name}{setting}' for name in ('ethernet', 'charger', 'zip_tie', 'screw') for setting in ('', '_full')]
EPISODES = {'critical': 500, 'full': 200}
CRITICAL, FULL = TASKS[::2], TASKS[1::2]
PHASES, WHOLE = ([Path('datasets', name) for name in names] for names in (CRITICAL, FULL))
Out = Annotated[Path | None, typer.Option(help="weights file; default: the robot's own in weights/")]
Steps = Annotated[int, typer.Option(min=50, help='gradient steps')]
Batch = Annotated[int, typer.Option(min=4, max=1024, help='observations per step')]
Seed = Annotated[int, typer.Option(min=0)]
Evaluated = Annotated[
    list[str], typer.Option(help='task to evaluate, name or path; may be given several times')
]
Evaluation = Annotated[bool, typer.Option(help='evaluate in the simulator afterwards, for the card')]
Threads = Annotated[int, typer.Option(min=1, max=64, help='processor threads')]


def add(app: typer.Typer) -> None:
    app.command()(collect)
    group = typer.Typer(no_args_is_help=True, help='Train the models that stay frozen on the robot.')
    group.command('vla')(train_vla)
    group.command('approach')(train_approach)
    group.command('token')(train_token)
    app.add_typer(group, name='train')


def collect(
    task: Annotated[list[str], typer.Option(help='task, name or path; may be given several times')] = TASKS,
    out: Annotated[Path | None, typer.Option(help='folder of one data set; default: datasets/<task>')] = None,
    episodes: Annotated[int | None, typer.Option(min=1, max=100_000, help='default: 500, of full tasks 200')] = None,
    robot: Robot = 'bimanual',
    seed: Seed = 0,
    vla: Annotated[Path | None, typer.Option(
        help='weights of a VLA to correct in full tasks: it leads for some seconds, then the person takes over; '
        'default folder: datasets/<task>_corrected'
    )] = None,
) -> None:  # fmt: skip
    """Record demonstrations by the scripted teleoperator in the simulator, a data set per task.

    Data sets that are there already are kept, and refused where they were recorded otherwise.
    """
    from rlt_ros import config
    from rlt_ros.data.dataset import check_source, is_dataset
    from rlt_ros.sim.collect import collect as record
    from rlt_ros.sim.collect import fresh
    from rlt_ros.source import source_hash
    from rlt_ros.weights_files import file_hash

    if out and len(task) > 1:
        raise UserError(f'--out {out} is one folder, for {len(task)} tasks; give one --task, or no --out')
    profile, console = config.load(config.RobotProfile, robot), Console()
    tasks = [config.load(config.Task, name) for name in task]
    if vla and (critical := [its_task.name for its_task in tasks if its_task.setting == 'critical']):
        raise UserError(f'--vla {vla} is corrected where a part is fetched; not in: {", ".join(critical)}')
    code = 'config', 'control', 'sim', *(('bench', 'vla') if vla else ())
    for its_task in tasks:
        folder = out or Path('datasets', f'{its_task.name}_corrected' if vla else its_task.name)
        count = episodes or EPISODES[its_task.setting]
        source = {
            'episodes': count, 'seed': seed, 'vla': file_hash(vla)[:12] if vla else None,
            'configuration': config.config_hash(profile, its_task)[:12], 'simulator': source_hash(*code)[:12],
        }  # fmt: skip
        if not out and is_dataset(folder):
            check_source(folder, source)
            console.print(f'{folder}: is there already')
            continue
        if vla:
            from rlt_ros.bench.corrections import led
            from rlt_ros.vla.backends import open_backend

            worlds = led(profile, its_task, open_backend(str(vla), profile, its_task), seed)
        else:
            worlds = fresh(profile, its_task, seed)
        median = record(profile, its_task, worlds, count, seed, folder, source)
        console.print(f'{folder}: {count} demonstrations, median {median:.0f} steps')


def train_vla(
    dataset: Dataset = PHASES, robot: Robot = 'bimanual', task: Evaluated = CRITICAL,
    evaluation: Evaluation = True, out: Out = None,
    steps: Steps = 6000, batch: Batch = 64, every: Every = 3, seed: Seed = 0, threads: Threads = 2,
) -> None:  # fmt: skip
    """Train the built-in VLA on demonstrations and write weights and model card."""
    from rlt_ros import config
    from rlt_ros.vla.train import VlaTraining
    from rlt_ros.vla.training_run import run
    from rlt_ros.weights_files import path_of

    profile = config.load(config.RobotProfile, robot)
    path = out or path_of('vla', profile.name)
    tasks, method = [config.load(config.Task, name) for name in task if evaluation], config.load(config.Method, 'rlt')
    plan = VlaTraining(steps=steps, batch=batch, every=every, seed=seed)
    run(profile, tasks, method, dataset, path, plan, threads)
    Console().print(f'{path}, card: {path.with_suffix(".md")}')


def train_approach(
    dataset: Dataset = WHOLE, robot: Robot = 'bimanual', task: Evaluated = FULL,
    evaluation: Evaluation = True,
    vla: Annotated[Path | None, typer.Option(help="the VLA's weights; default: the robot's own")] = None,
    out: Annotated[Path | None, typer.Option(help='weights file; default: the one that is read')] = None,
    steps: Steps = 6000, batch: Batch = 64, every: Every = 3, seed: Seed = 0, threads: Threads = 2,
) -> None:  # fmt: skip
    """Teach a trained VLA the way to the critical phase (to fetch the part), on demonstrations of full tasks.

    What it does in the critical phase stays as it is, and its token valid. An approach that it has learns on.
    """
    from rlt_ros import config
    from rlt_ros.vla.train import VlaTraining
    from rlt_ros.vla.training_run import run_approach
    from rlt_ros.weights_files import path_of

    profile = config.load(config.RobotProfile, robot)
    source = vla or path_of('vla', profile.name)
    tasks, method = [config.load(config.Task, name) for name in task if evaluation], config.load(config.Method, 'rlt')
    plan = VlaTraining(steps=steps, batch=batch, every=every, seed=seed)
    run_approach(profile, tasks, method, dataset, source, out or source, plan, threads)
    Console().print(f'{out or source}, card: {(out or source).with_suffix(".md")}')


def train_token(
    dataset: Dataset = PHASES, robot: Robot = 'bimanual', out: Out = None,
    vla: Annotated[Path | None, typer.Option(help="the VLA's weights; default: the robot's own")] = None,
    steps: Steps = 4000, batch: Batch = 24, every: Every = 6, seed: Seed = 0, threads: Threads = 2,
    context_dropout: Annotated[
        float, typer.Option(min=0, max=1, help="share of the decoder's context hidden in training")
    ] = 0.9,
    goal_weight: Annotated[float, typer.Option(min=0, max=100, help='of the hindsight loss; 0: paper')] = 0.3,
    alpha: Annotated[
        float, typer.Option(min=0, max=100, help="of the VLA's own loss; above 0 it is fine-tuned along with the token")
    ] = 0.0,
    out_vla: Annotated[Path | None, typer.Option(help='weights file of the fine-tuned VLA, with --alpha')] = None,
) -> None:  # fmt: skip
    """Train the RL token on the VLA's prefix embeddings and write weights and card.

    With --alpha the VLA learns on by its own loss, while the token's never reaches it; both are written, belong to each
    other, and stay frozen from then on.
    """
    from rlt_ros import config
    from rlt_ros.token.train import TokenTraining
    from rlt_ros.token.training_run import run
    from rlt_ros.weights_files import path_of

    profile = config.load(config.RobotProfile, robot)
    path = out or path_of('rl_token', profile.name)
    if (alpha > 0) != (out_vla is not None):
        raise UserError(
            f'alpha = {alpha:g} and --out-vla {out_vla} do not go together: '
            'above 0 the VLA changes and needs a file to go to, at 0 it stays as it is'
        )
    plan = TokenTraining(
        steps=steps, batch=batch, every=every, seed=seed, context_dropout=context_dropout, goal_weight=goal_weight,
        alpha=alpha,
    )  # fmt: skip
    run(profile, dataset, vla or path_of('vla', profile.name), path, out_vla, plan, threads)
    Console().print(f'{path}, card: {path.with_suffix(".md")}')
