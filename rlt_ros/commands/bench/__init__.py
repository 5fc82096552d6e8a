"""rlt bench: measurements, in lock-step without ROS or of the running graph."""

import typer

from rlt_ros.commands.bench import cells, measures


def add(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help='Measure: in lock-step, as fast as the machine goes, or live.')
    group.callback()(lambda: None)
    for command in (*measures.COMMANDS, *cells.COMMANDS):
        group.command()(command)
    app.add_typer(group, name='bench')
