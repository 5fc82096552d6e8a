"""What a person wants to know about a source: does it come, how fast, how late, and what was refused."""

from collections import Counter

REASONS = 20  # told apart; a reason may name sizes, which broken data can vary without end


class Health:
    """Counts of one source between two reports. Times are seconds of one clock."""

    def __init__(self):
        self.dropped: Counter[str] = Counter()  # by reason, since the start
        self._received = 0
        self._dropped_before = 0
        self._since: float | None = None
        self._last: float | None = None
        self._problem = ''

    def received(self, now: float) -> None:
        """A sample was taken."""
        self._received += 1
        self._last = now

    def drop(self, reason: str) -> bool:
        """A sample was refused; True if that is the first time for this reason, so that it is worth a log line."""
        self._problem = reason
        if reason not in self.dropped and len(self.dropped) >= REASONS:
            reason = 'other reasons'
        self.dropped[reason] += 1
        return self.dropped[reason] == 1

    def report(self, now: float) -> tuple[str, dict[str, str]]:
        """What is wrong ('' if nothing) and the numbers since the last report."""
        seconds = now - self._since if self._since is not None else 0.0
        rate = self._received / seconds if seconds > 0 else 0.0
        refused = self.dropped.total() - self._dropped_before
        if self._last is None:
            problem = f'nothing received{f", refused: {self._problem}" if self._problem else ""}'
        elif refused:
            problem = f'{refused} refused: {self._problem}'
        elif self._received == 0:
            problem = f'silent for {now - self._last:.1f} s'
        else:
            problem = ''
        values = {
            'rate_hz': f'{rate:.1f}',
            'age_s': '' if self._last is None else f'{now - self._last:.3f}',
            **{f'dropped: {reason}': str(count) for reason, count in self.dropped.items()},
        }
        self._received, self._since, self._dropped_before = 0, now, self.dropped.total()
        return problem, values
