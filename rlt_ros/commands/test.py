"""rlt test: lint and tests of the source checkout."""

import os
from pathlib import Path
import subprocess
import sys
from typing import Annotated

import typer

from rlt_ros.errors import UserError

CHECKED = ('rlt_ros', 'launch', 'test', 'setup.py')


def add(app: typer.Typer) -> None:
    app.command(context_settings={'allow_extra_args': True, 'ignore_unknown_options': True})(test)


def test(
    context: typer.Context,
    faults_page: Annotated[
        Path | None, typer.Option(help='run the tests of faults alone and write what they show to this page (.md)')
    ] = None,
) -> None:
    """Check the style, then run the tests; further words go to pytest (without any: -q test)."""
    from rlt_ros.paths import share
    from rlt_ros.supervisor import environment

    checkout = share()
    if not (checkout / 'test').is_dir():
        raise UserError(f'{checkout} has no tests: they come with the source checkout, not with an installed package')
    words = context.args or ['-q', 'test']
    if faults_page:
        words = [f'--faults-page={faults_page.resolve()}', *words]
    for command in (['ruff', 'check', *(name for name in CHECKED if (checkout / name).exists())],
                  ['pytest', *words]):
        code = subprocess.run([sys.executable, '-m', *command], cwd=checkout, env=environment(os.environ)).returncode
        if code:
            raise typer.Exit(code)
