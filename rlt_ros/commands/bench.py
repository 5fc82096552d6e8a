"""rlt bench: measurements in lock-step, without ROS."""

from pathlib import Path
from typing import Annotated

from rich.console import Console
import typer


def add(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help='Measure, as fast as the machine goes.')
    group.callback()(lambda: None)
    group.command('learning')(learning)
    app.add_typer(group, name='bench')


def learning(
    minutes: Annotated[float, typer.Option(min=0.1, max=10000, help='robot minutes to learn from')] = 18.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    task: Annotated[str, typer.Option(help='task, name or path')] = 'ethernet',
    method: Annotated[str, typer.Option(help='method, name or path')] = 'rlt',
    robot: Annotated[str, typer.Option(help='robot profile, name or path')] = 'bimanual',
    name: Annotated[str, typer.Option(help='run folder is runs/<name>; default: learning-<method>-<seed>')] = '',
) -> None:
    """Evaluate the frozen VLA, learn online, and report as for a live run."""
    from rlt_ros import config
    from rlt_ros.bench.learning import learn
    from rlt_ros.commands.report import report_on
    from rlt_ros.data.progress import progress
    from rlt_ros.run_folder import prepare

    models = [config.load(*pair) for pair in (
        (config.RobotProfile, robot), (config.Task, task), (config.Method, method))]  # fmt: skip
    folder = Path('runs', name or f'learning-{Path(method).stem}-{seed}')
    prepare(
        {'run_folder': str(folder), 'minutes': minutes, 'seed': seed, 'task': task, 'method': method, 'robot': robot}
    )
    with progress() as bars:
        bar = bars.add_task('robot minutes', total=minutes, note='')
        learn(*models, minutes, seed, folder, lambda at, note: bars.update(bar, completed=round(at, 1), note=note))
    report_on(folder, Console())
