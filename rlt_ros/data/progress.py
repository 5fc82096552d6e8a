"""One look for all progress bars."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress() -> Progress:
    """Bar with count, note (field `note`), elapsed and remaining time; on stderr, as stdout is for results."""
    return Progress(
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[note]}'),
        TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn(), console=Console(stderr=True),
    )  # fmt: skip
