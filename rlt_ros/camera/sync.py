"""Brings cameras and joint states together by the stamps their drivers gave them. All times are integer nanoseconds."""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RING = 1024  # samples kept per source at most; they leave earlier by age
SILENT = 2.5  # periods without a frame until the first source counts as silent; one lost frame is no reason to stop
CLOCK_JUMP = 1_000_000_000  # a stamp this far before the newest one means that the driver's clock was set back


@dataclass(frozen=True)
class Sample:
    """What a source saw and when; the value is of no concern here."""

    stamp: int
    value: Any


@dataclass(frozen=True)
class Aligned:
    """One sample per source around a stamp that the first source gave."""

    stamp: int  # 0: the first source has never given one
    parts: dict[str, Sample | None]  # None: the source has never given one
    problem: str  # why this must not be acted on; empty when all is well

    @property
    def stale(self) -> bool:
        return bool(self.problem)

    @property
    def max_skew(self) -> float:
        """Largest distance of a part's stamp from `stamp`, s; infinite while a part is missing."""
        return max(abs(self.skew(name)) for name in self.parts)

    def skew(self, name: str) -> float:
        """Stamp of a part minus `stamp`, s; infinite if the part is missing."""
        part = self.parts[name]
        return float('inf') if part is None else (part.stamp - self.stamp) * 1e-9


class Source:
    """The last samples of one source, ascending: the newest two, and the others up to `keep` ns older than these."""

    def __init__(self, name: str, keep: int):
        self.name, self.keep = name, keep
        self.samples: deque[Sample] = deque(maxlen=RING)

    def add(self, sample: Sample) -> str:
        """Take a sample; returns why not, or ''."""
        if sample.stamp <= 0:
            return 'no stamp'
        if self.samples and sample.stamp <= self.samples[-1].stamp:
            if sample.stamp > self.samples[-1].stamp - CLOCK_JUMP:
                return 'stamp not newer than the one before'
            self.samples.clear()
        self.samples.append(sample)
        while len(self.samples) > 2 and self.samples[0].stamp < sample.stamp - self.keep:
            self.samples.popleft()
        return ''

    def nearest(self, stamp: int) -> Sample | None:
        """The sample closest in time; of two equally close the earlier."""
        i = bisect_left(self.samples, stamp, key=lambda sample: sample.stamp)
        around = [self.samples[j] for j in (i - 1, i) if 0 <= j < len(self.samples)]
        return min(around, key=lambda sample: abs(sample.stamp - stamp), default=None)

    def is_settled(self, stamp: int) -> bool:
        """Whether waiting brings nothing: the next sample, one interval after the newest, would not be closer."""
        if not self.samples:
            return False
        newest = self.samples[-1].stamp
        if newest >= stamp:
            return True
        return len(self.samples) > 1 and 2 * newest + (newest - self.samples[-2].stamp) >= 2 * stamp


class ObservationSync:
    """Aligns every source with the frames of the first one, at most once per period.

    A frame waits up to `max_skew` for its companions. It is marked stale, never repaired, if one is then missing or
    farther than `max_skew` away, or if the frame itself is older than `max_delay` or from the future. If the first
    source falls silent, the last alignment comes again every period, marked stale.

    `now` of all methods is the clock the drivers stamp with.
    """

    def __init__(self, sources: Sequence[str], period: int, max_skew: int, max_delay: int):
        self.period, self.max_skew, self.max_delay = period, max_skew, max_delay
        keep = max_delay + 2 * max_skew + period
        self.sources = {name: Source(name, keep) for name in sources}
        self.first = self.sources[sources[0]]
        self._waiting: deque[tuple[Sample, int]] = deque(maxlen=RING)  # frames and when they came
        self._due = 0  # stamp at which the next frame is wanted
        self._last_stamp = 0
        self._last_out = 0  # when the last alignment went out

    def add(self, source: str, stamp: int, value: Any, now: int) -> str:
        """Take a sample; returns why it was dropped, '' if it was not."""
        sample = Sample(stamp, value)
        problem = self.sources[source].add(sample)
        if not problem and source == self.first.name and self._is_wanted(stamp):
            self._waiting.append((sample, now))
        return problem

    def poll(self, now: int) -> Aligned | None:
        """The next alignment that is ready; call until None, after every sample and at least every half period."""
        if self._waiting:
            frame, came = self._waiting[0]
            others = [source for source in self.sources.values() if source is not self.first]
            has_waited = len(self._waiting) > 1 or not 0 <= now - came < self.max_skew
            if has_waited or all(source.is_settled(frame.stamp) for source in others):
                self._waiting.popleft()
                self._last_stamp, self._last_out = frame.stamp, now
                parts = {source.name: source.nearest(frame.stamp) for source in others}
                return self._checked(Aligned(frame.stamp, {self.first.name: frame, **parts}, ''), now)
            return None
        patience = int(SILENT * self.period)
        if not 0 <= now - self._last_out < patience:
            self._last_out = now - patience + self.period  # the next one comes after a single period
            parts = {source.name: source.nearest(self._last_stamp) for source in self.sources.values()}
            return Aligned(self._last_stamp, parts, f'{self.first.name} is silent')
        return None

    def _is_wanted(self, stamp: int) -> bool:
        """Thins a first source that is faster than the period; keeps the mean rate when it is no multiple."""
        ahead = self._due - stamp
        if self.period // 4 < ahead <= 2 * self.period:
            return False
        on_time = abs(ahead) <= 2 * self.period
        self._due = max(self._due + self.period, stamp + self.period // 2) if on_time else stamp + self.period
        return True

    def _checked(self, aligned: Aligned, now: int) -> Aligned:
        """With what is wrong with it, the first thing found."""
        for name, part in aligned.parts.items():
            if part is None:
                return Aligned(aligned.stamp, aligned.parts, f'{name} is missing')
            if abs(part.stamp - aligned.stamp) > self.max_skew:
                return Aligned(aligned.stamp, aligned.parts, f'{name} is {aligned.skew(name) * 1e3:+.0f} ms away')
        if now - aligned.stamp > self.max_delay:
            delay = (now - aligned.stamp) / 1e6
            return Aligned(aligned.stamp, aligned.parts, f'{self.first.name} came {delay:.0f} ms after its stamp')
        if aligned.stamp - now > self.max_skew:
            return Aligned(aligned.stamp, aligned.parts, f'{self.first.name} has a stamp in the future')
        return aligned
