"""rlt view: a video of the simulated robot."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
import typer

if TYPE_CHECKING:
    from rlt_ros.bench.learned import Learned
    from rlt_ros.config import Task


def add(app: typer.Typer) -> None:
    app.command()(view)


def view(
    out: Annotated[
        Path, typer.Option(help='video (.mp4, .gif), or a picture of the tasks (.png)')
    ] = Path('runs/view.mp4'),
    driver: Annotated[
        str, typer.Option(help='operator (scripted), vla, or a run: what it learned, on its robot')
    ] = 'operator',
    episodes: Annotated[int, typer.Option(min=1, max=100)] = 3,
    task: Annotated[
        list[str] | None, typer.Option(
            help='task, name or path; for a picture it may be given several times; default: ethernet, of a run its own')
    ] = None,  # fmt: skip
    robot: Annotated[str, typer.Option(help='robot profile, name or path')] = 'bimanual',
    seed: Annotated[int, typer.Option(min=0)] = 0,
    compare: Annotated[
        Path | None, typer.Option(metavar='RUN', help='of a lock-step run: the VLA beside what it learned, one start')
    ] = None,
) -> None:
    """Record what the simulated robot does: an audience's view, and what its cameras see."""
    from rlt_ros import config
    from rlt_ros.errors import UserError
    from rlt_ros.sim.film import film
    from rlt_ros.sim.picture import picture

    if compare is not None:
        from rlt_ros.bench.compare import compare as film_both
        from rlt_ros.commands.report import find

        Console().print(str(film_both(find(compare), out)))
        return
    profile = config.load(config.RobotProfile, robot)
    tasks = [config.load(config.Task, name) for name in task or ['ethernet']]
    who: str | Learned = driver
    if driver not in ('operator', 'vla'):
        who = learned_on(driver, tasks[0] if task else None)
        profile, tasks = who.profile, [who.task, *tasks[1:]]
    if out.suffix in ('.png', '.jpg'):
        picture(profile, tasks, seed, out)
    elif len(tasks) == 1:
        film(profile, tasks[0], who, episodes, seed, out)
    else:
        raise UserError(f'a video shows one task, not {len(tasks)}; a picture (--out tasks.png) shows several')
    Console().print(str(out))


def learned_on(run: str, task: 'Task | None') -> 'Learned':
    """What a run learned, on its own task or on another one of the same scene; raises UserError."""
    from rlt_ros.bench.learned import learned
    from rlt_ros.commands.report import find
    from rlt_ros.errors import UserError

    found = learned(find(Path(run)))
    if task is not None and task.scene != found.task.scene:
        raise UserError(f'{run} has learned task "{found.task.name}", not "{task.name}"')
    return replace(found, task=task or found.task)
