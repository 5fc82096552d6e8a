"""One look for all progress bars."""

from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

TOLD_EVERY = 5  # percent, where there is no terminal


class Bars(Progress):
    """Bars in a terminal; in a file, where bars cannot move, a line at every twentieth of a task."""

    def update(self, task_id: TaskID, **fields: Any) -> None:
        super().update(task_id, **fields)
        if self.console.is_terminal:
            return
        task = next(task for task in self.tasks if task.id == task_id)
        percent = int(task.percentage) // TOLD_EVERY * TOLD_EVERY
        if percent > task.fields.get('told', 0):
            super().update(task_id, told=percent)
            left = f', {task.time_remaining / 60:.1f} min left' if task.time_remaining else ''
            self.console.print(f'{task.description} {percent}%: {task.fields["note"]}{left}', soft_wrap=True)


def progress(console: Console | None = None) -> Bars:
    """Bar with count, note (field `note`), elapsed and remaining time; on stderr, as stdout is for results."""
    return Bars(
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[note]}'),
        TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn(), console=console or Console(stderr=True),
    )  # fmt: skip
