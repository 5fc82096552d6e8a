"""What `rlt bench` writes on its pages about itself."""

from pathlib import Path
import shlex

import pytest
import typer

from rlt_ros.commands.bench.cells import typed


@pytest.mark.parametrize(('words', 'told'), [
    ('tasks', './rlt bench tasks'),
    ('tasks --seeds 2 --minutes 12 --no-video', './rlt bench tasks --seeds 2 --minutes 12 --no-video'),
    ('tasks --minutes 2.50 --video', './rlt bench tasks --minutes 2.5 --video'),
    ('tasks --weights a=b --weights c=d --page x/y.md', './rlt bench tasks --page x/y.md --weights a=b --weights c=d'),
    ('tasks --page /somewhere/else/x.md', './rlt bench tasks --page x.md'),
    ('tasks --weights a=/somewhere/else/b', './rlt bench tasks --weights a=b'),
    ("tasks --page 'my pages/x.md' --minutes 1000000", "./rlt bench tasks --minutes 1000000 --page 'my pages/x.md'"),
])  # fmt: skip
def test_a_command_is_told_as_it_was_typed_without_anybodys_folders(words: str, told: str) -> None:
    app, group, seen = typer.Typer(), typer.Typer(), []

    @group.command()
    def tasks(
        context: typer.Context, seeds: int = 3, minutes: float = 18.0, video: bool = True, page: Path | None = None,
        weights: list[str] | None = None,
    ) -> None:  # fmt: skip
        seen.append(typed(context))

    group.callback()(lambda: None)
    app.add_typer(group, name='bench')
    app(['bench', *shlex.split(words)], prog_name='rlt', standalone_mode=False)
    assert seen == [told]
