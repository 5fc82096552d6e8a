"""Percentiles of any number of durations in bounded memory."""

from collections.abc import Mapping
import math

SMALLEST, RATIO, BINS = 1e-6, 1.02, 900  # s; to 55 s, every percentile right to 2 %


class Histogram:
    """Durations in bins that grow with the duration; negative ones count as the shortest."""

    def __init__(self, counts: Mapping[str, int] | None = None, largest: float = 0.0):
        """Go on with what `counts` (by bin) and `largest`, s, say of an earlier time."""
        self.counts = {int(i): int(count) for i, count in (counts or {}).items()}
        self.largest = largest

    def add(self, seconds: float) -> None:
        """Count a duration; one that is no number is left out."""
        if not math.isfinite(seconds):
            return
        i = 0 if seconds <= SMALLEST else min(BINS, 1 + int(math.log(seconds / SMALLEST) / math.log(RATIO)))
        self.counts[i] = self.counts.get(i, 0) + 1
        self.largest = max(self.largest, seconds)

    def above(self, seconds: float) -> int:
        """How many durations were longer than `seconds`, right to 2 %."""
        return sum(count for i, count in self.counts.items() if SMALLEST * RATIO**i > seconds)

    def percentile(self, percent: float) -> float | None:
        """s, that `percent` of the durations do not exceed; None without durations."""
        wanted, seen = percent / 100 * sum(self.counts.values()), 0
        for i in sorted(self.counts):
            seen += self.counts[i]
            if seen >= wanted:
                return min(self.largest, SMALLEST * RATIO**i)
        return None
