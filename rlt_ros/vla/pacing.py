"""Which observations the VLA looks at now, and which only after the episode."""

from collections import deque
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from rlt_ros.episode.machine import ACTING, Phase

Look = TypeVar('Look')


@dataclass(frozen=True)
class Waiting(Generic[Look]):
    """An observation to be looked at after its episode."""

    episode: int
    stamp: int  # ns
    sequence: int
    look: Look
    last: bool = False
    ended: int = 0  # ns, when its episode did


class Pacing(Generic[Look]):
    """One decision per chunk period; all other observations of the critical phase wait for the episode's end.

    Those of the approach wait only with store_approach. Nothing waits for an evaluation, which is not stored.

    A VLA that is slower than the data does not get to all of them. What comes too late for the learner is dropped
    unseen: looks of an episode that ended more than `patience` ago, once the next one is under way; and the oldest
    where more than `room` would wait. Transitions of which a look is missing are never built.
    """

    def __init__(self, period: int, room: int, patience: int, store_approach: bool = False):
        """period, patience: ns; room: looks that may wait, all together."""
        self.period, self.room, self.patience = period, room, patience
        self.stored = ACTING if store_approach else (Phase.CRITICAL,)
        self.number, self.phase, self.mode = 0, 'idle', ''
        self.sequence, self.decided_at = 0, None
        self.waiting: deque[Waiting[Look]] = deque()  # of this episode
        self.ready: deque[Waiting[Look]] = deque()  # of episodes that have ended
        self.dropped = 0
        self.decision: tuple[int, int, Look] | None = None

    def episode(self, number: int, phase: str, mode: str, stamp: int) -> None:
        """The episode has changed; for an end, `stamp` is when it happened."""
        if number != self.number:
            self.sequence, self.decided_at = 0, None
            self.waiting.clear()
        if phase in ACTING and phase != self.phase:
            self.decided_at = None  # decide at once
        if phase == 'ended' and self.waiting:
            kept = [replace(item, ended=stamp) for item in self.waiting if item.stamp <= stamp]
            if kept:
                kept[-1] = replace(kept[-1], last=True)
            self.ready += kept
            self.waiting.clear()
        self.number, self.phase, self.mode = number, phase, mode

    def offer(self, stamp: int, look: Look) -> bool:
        """Take an observation; True if it is the one to decide on now (then it is `decision`)."""
        if self.phase not in ACTING:
            return False
        self.sequence += 1
        # half an observation early rather than a whole one late
        if self.decided_at is None or stamp - self.decided_at > self.period * 0.95:
            self.decided_at = stamp
            self.decision = (stamp, self.sequence, look)
            return True
        if self.phase in self.stored and self.mode != 'evaluation':
            if len(self.waiting) + len(self.ready) >= self.room:
                (self.ready or self.waiting).popleft()
                self.dropped += 1
            self.waiting.append(Waiting(self.number, stamp, self.sequence, look))
        return False

    def backlog(self, size: int, now: int) -> list[Waiting[Look]]:
        """Up to `size` observations whose turn it is; while an arm moves fewer, so that a decision does not wait.

        now: ns, of the clock that ends of episodes are stamped with.
        """
        if self.phase in ACTING:
            size = min(size, 2)
            while self.ready and now - self.ready[0].ended > self.patience:
                self.ready.popleft()
                self.dropped += 1
        return [self.ready.popleft() for _ in range(min(size, len(self.ready)))]
