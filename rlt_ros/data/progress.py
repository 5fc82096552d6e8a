"""One look for all progress bars."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress() -> Progress:
    """Bar with count, note (field `note`), elapsed and remaining time."""
    return Progress(
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[note]}'),
        TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn(),
    )  # fmt: skip
