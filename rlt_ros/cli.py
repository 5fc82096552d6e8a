"""The `rlt` command: adds the command groups of rlt_ros/commands/ and turns errors into one line and an exit code.

Each module there has `add(app)`, and imports torch, mujoco and rclpy inside its commands only, so that help is quick.
"""

import importlib
import os
import pkgutil
import sys
from typing import Annotated

import typer

from rlt_ros import __version__, commands
from rlt_ros.errors import UserError


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(name='rlt', no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_global)
    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f'{commands.__name__}.{module.name}').add(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit()


def _global(
    debug: Annotated[bool, typer.Option('--debug', help='show the traceback of an unexpected error; anywhere')] = False,
    version: Annotated[bool, typer.Option('--version', help='print the version and exit', is_eager=True,
                                          callback=_print_version)] = False,
) -> None:
    """RL Token on a robot: run it, watch it, judge it."""


def main(argv: list[str] | None = None) -> int:
    """Run a command line. Returns 0, 1 for an unexpected error or a failed run, 2 for what the user can put right."""
    words = list(sys.argv[1:] if argv is None else argv)
    own = words[:words.index('--')] if '--' in words else words
    debug = '--debug' in own
    if debug:
        words.remove('--debug')
    try:
        build()(words, prog_name='rlt')
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except UserError as error:
        print(f'rlt: {error}', file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader went away; without this Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        print(f'rlt: {type(error).__name__}: {error}; run again with --debug for the traceback', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
