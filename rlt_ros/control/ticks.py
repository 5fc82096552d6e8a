"""Control ticks on an absolute clock: tick k is due at start + k * period. All times are integer nanoseconds."""

from dataclasses import dataclass
import math

import numpy as np


@dataclass(frozen=True)
class Ticks:
    start: int  # ns
    period: int  # ns

    def due(self, tick: int) -> int:
        """When a tick is due, ns."""
        return self.start + tick * self.period

    def at_or_after(self, stamp: int) -> int:
        """First tick that is not due before a stamp: the first whose command the stamp's observation cannot show."""
        return -((self.start - stamp) // self.period)


def observation_ticks(stamps: np.ndarray, ticks: Ticks) -> np.ndarray:
    """Ticks (T,) of an episode's observations (T,), ns, ascending.

    Spacing is rounded, so that jitter around a tick's boundary does not make an observation jump by one.
    """
    result: list[int] = []
    for i, stamp in enumerate(stamps):
        exact = (int(stamp) - ticks.start) / ticks.period
        tick = ticks.at_or_after(int(stamp))
        if i > 0:
            followed = result[-1] + round((int(stamp) - int(stamps[i - 1])) / ticks.period)
            if -0.3 < followed - exact < 1.3:
                tick = followed
        result.append(tick)
    return np.array(result, np.int64)


class DeadlineClock:
    """Decides which tick comes next: a late tick is counted, whole periods that passed are skipped, never caught up."""

    def __init__(self, ticks: Ticks):
        self.ticks, self.next, self.missed = ticks, 0, 0

    def wake_at(self) -> int:
        """When to wake for the next tick, ns."""
        return self.ticks.due(self.next)

    def woke(self, now: int) -> tuple[int, int]:
        """The tick to execute now and its deadline error in ns; ticks that passed meanwhile are missed."""
        passed = max(0, math.floor((now - self.wake_at()) / self.ticks.period))
        self.missed += passed
        tick = self.next + passed
        self.next = tick + 1
        return tick, now - self.ticks.due(tick)


class Durations:
    """The last durations, s, of something that happens again and again."""

    def __init__(self, size: int):
        self._values = np.zeros(size)
        self._count = 0

    def add(self, seconds: float) -> None:
        self._values[self._count % len(self._values)] = seconds
        self._count += 1

    def percentiles(self, *percents: float) -> list[float]:
        """s; 0 before the first."""
        return np.percentile(self._values[: max(1, self._count)], percents).tolist()
