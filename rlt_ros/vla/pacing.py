"""Which observations the VLA looks at now, and which only after the episode."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Look = TypeVar('Look')


@dataclass(frozen=True)
class Waiting(Generic[Look]):
    """An observation to be looked at after its episode."""

    episode: int
    stamp: int  # ns
    sequence: int
    look: Look
    last: bool = False


class Pacing(Generic[Look]):
    """One decision per chunk period; all other observations of the critical phase wait for the episode's end.

    Those of the approach wait only with store_approach. Nothing waits for an evaluation, which is not stored.
    """

    def __init__(self, period: int, store_approach: bool = False):
        self.period = period  # ns
        self.stored = ('approach', 'critical') if store_approach else ('critical',)
        self.number, self.phase, self.mode = 0, 'idle', ''
        self.sequence, self.decided_at = 0, None
        self.waiting: list[Waiting[Look]] = []
        self.ready: list[Waiting[Look]] = []
        self.decision: tuple[int, int, Look] | None = None

    def episode(self, number: int, phase: str, mode: str, stamp: int) -> None:
        """The episode has changed; for an end, `stamp` is when it happened."""
        if number != self.number:
            self.sequence, self.decided_at, self.waiting = 0, None, []
        if phase in ('approach', 'critical') and phase != self.phase:
            self.decided_at = None  # decide at once
        if phase == 'ended' and self.waiting:
            kept = [item for item in self.waiting if item.stamp <= stamp]
            if kept:
                end = kept[-1]
                kept[-1] = Waiting(end.episode, end.stamp, end.sequence, end.look, last=True)
            self.ready += kept
            self.waiting = []
        self.number, self.phase, self.mode = number, phase, mode

    def offer(self, stamp: int, look: Look) -> bool:
        """Take an observation; True if it is the one to decide on now (then it is `decision`)."""
        if self.phase not in ('approach', 'critical'):
            return False
        self.sequence += 1
        # half an observation early rather than a whole one late
        if self.decided_at is None or stamp - self.decided_at > self.period * 0.95:
            self.decided_at = stamp
            self.decision = (stamp, self.sequence, look)
            return True
        if self.phase in self.stored and self.mode != 'evaluation':
            self.waiting.append(Waiting(self.number, stamp, self.sequence, look))
        return False

    def backlog(self, size: int) -> list[Waiting[Look]]:
        """Up to `size` observations whose turn it is; while an arm moves fewer, so that a decision does not wait."""
        size = size if self.phase not in ('approach', 'critical') else min(size, 2)
        batch, self.ready = self.ready[:size], self.ready[size:]
        return batch
