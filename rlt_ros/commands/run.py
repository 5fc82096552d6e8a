"""rlt up, rlt demo: run the graph under the supervisor."""

import asyncio
from collections.abc import Callable
import inspect
import os
from pathlib import Path
from typing import Annotated

from rich.console import Console
import typer

from rlt_ros import graph


def add(app: typer.Typer) -> None:
    app.command()(_with_graph_options(up))
    app.command()(_with_graph_options(demo))


def _with_graph_options(command: Callable) -> Callable:
    """Every argument of the graph that the command does not name itself becomes an option of it."""
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    rest = [inspect.Parameter(a.name, inspect.Parameter.KEYWORD_ONLY, default=a.default,
                              annotation=Annotated[type(a.default), typer.Option(help=a.description)])
            for a in graph.ARGUMENTS if a.name not in {p.name for p in own} | getattr(command, 'fixed', set())]
    command.__signature__ = inspect.Signature([*own, *rest])
    return command


Headless = Annotated[bool, typer.Option('--headless', help='a line every 10 s in place of the live view')]


def up(
    run_folder: Annotated[str, typer.Option(help='default: runs/ and the time of day')] = '',
    headless: Headless = False,
    **arguments: graph.Value,
) -> None:
    """Start every node of the graph; Ctrl-C stops them in order."""
    from rlt_ros.run_folder import new_name

    console = Console(stderr=True)
    folder, code = _run({**arguments, 'run_folder': run_folder or f'runs/{new_name()}'}, console,
                        live=not headless and console.is_terminal)
    console.print(f'run folder: {folder}', soft_wrap=True, highlight=False)
    raise typer.Exit(code)


def demo(
    name: Annotated[str, typer.Option(help='run folder is runs/<name>; default: demo-<seed>')] = '',
    headless: Headless = False,
    **arguments: graph.Value,
) -> None:
    """Learn a task in the simulator from nothing but the frozen VLA, then print what came of it."""
    from rlt_ros.commands.report import report_on

    console = Console()
    folder = Path('runs', name or f'demo-{arguments["seed"]}')
    folder, code = _run({**arguments, 'simulate': True, 'run_folder': str(folder)}, console,
                        live=not headless and console.is_terminal)
    report_on(folder, console)
    raise typer.Exit(code)


demo.fixed = {'simulate', 'run_folder'}


def _run(arguments: dict[str, graph.Value], console: Console, live: bool) -> tuple[Path, int]:
    """Check, prepare the run folder, run the graph to its end with a view of it. Returns (run folder, exit code).

    live: a view that keeps itself up to date, in which the keyboard drives the robot; else a line now and then.
    """
    from rlt_ros import security
    from rlt_ros.commands.report import view
    from rlt_ros.run_folder import as_run, check_network, prepare
    from rlt_ros.supervisor import Supervisor, environment
    from rlt_ros.vla.timing import measure

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)

    namespace = str(arguments['namespace'])

    async def go() -> int:
        supervisor = Supervisor(graph.nodes(as_run(arguments, folder)), namespace, folder, say)
        shown = asyncio.create_task(view(folder, console, live))
        try:
            return await supervisor.run()
        finally:
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)

    names = [spec.name for spec in graph.nodes(arguments)] + ['keyboard'] * live
    with check_network(namespace):
        about_security = security.check(namespace, names, environment(os.environ))
        folder = prepare(arguments, measure=measure, say=say)
        if about_security:
            say(about_security)
        return folder, asyncio.run(go())
