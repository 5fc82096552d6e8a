"""rlt view: a video of the simulated robot."""

from pathlib import Path
from typing import Annotated

from rich.console import Console
import typer


def add(app: typer.Typer) -> None:
    app.command()(view)


def view(
    out: Annotated[
        Path, typer.Option(help='video (.mp4, .gif), or a picture of the tasks (.png)')
    ] = Path('runs/view.mp4'),
    driver: Annotated[
        str, typer.Option(help='operator (scripted), vla, or the run folder of a learned policy')
    ] = 'operator',
    episodes: Annotated[int, typer.Option(min=1, max=100)] = 3,
    task: Annotated[
        list[str], typer.Option(help='task, name or path; for a picture it may be given several times')
    ] = ['ethernet'],  # noqa: B006
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
    profile, tasks = config.load(config.RobotProfile, robot), [config.load(config.Task, name) for name in task]
    if out.suffix in ('.png', '.jpg'):
        picture(profile, tasks, seed, out)
    elif len(tasks) == 1:
        film(profile, tasks[0], driver, episodes, seed, out)
    else:
        raise UserError(f'a video shows one task, not {len(tasks)}; a picture (--out tasks.png) shows several')
    Console().print(str(out))
