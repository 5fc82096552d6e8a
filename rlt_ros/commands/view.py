"""rlt view: a video of the simulated robot."""

from pathlib import Path
from typing import Annotated

from rich.console import Console
import typer


def add(app: typer.Typer) -> None:
    app.command()(view)


def view(
    out: Annotated[Path, typer.Option(help='video file (.mp4)')] = Path('runs/view.mp4'),
    driver: Annotated[
        str, typer.Option(help='operator (scripted), vla, or the run folder of a learned policy')
    ] = 'operator',
    episodes: Annotated[int, typer.Option(min=1, max=100)] = 3,
    task: Annotated[str, typer.Option(help='task, name or path')] = 'ethernet',
    robot: Annotated[str, typer.Option(help='robot profile, name or path')] = 'bimanual',
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Record what the simulated robot does: an audience's view, and what its cameras see."""
    from rlt_ros import config
    from rlt_ros.sim.film import film

    profile, its_task = config.load(config.RobotProfile, robot), config.load(config.Task, task)
    film(profile, its_task, driver, episodes, seed, out)
    Console().print(str(out))
