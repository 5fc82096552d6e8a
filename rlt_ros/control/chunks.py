"""Which action is due at a tick: chunks in flight, their hand-over, and what follows when the next one is late."""

from dataclasses import dataclass, field

import numpy as np

VLA, ACTOR, HUMAN, HOLD = 0, 1, 2, 3  # sources, as in ExecutedStep.msg


@dataclass(frozen=True)
class Chunk:
    """Joint targets from `first_tick` on: the chosen action, then the rest of the VLA's reference."""

    episode: int
    sequence: int
    first_tick: int
    source: int  # VLA or ACTOR
    policy_version: int
    action: np.ndarray  # (C, D) rad or m
    rest: np.ndarray  # (R, D) what the VLA proposed for the ticks after the action


@dataclass(frozen=True)
class Due:
    """What is due at a tick."""

    target: np.ndarray | None  # (D,), None: hold
    source: int
    policy_version: int = 0
    sequence: int = 0
    index: int = -1


@dataclass
class ChunkSchedule:
    """Takes the newest chunk whose time has come. Late, old, duplicate and foreign chunks are dropped and counted."""

    chunks: list[Chunk] = field(default_factory=list)  # in flight: the one whose time has come, then those to come
    episode: int = 0
    not_before: int = 0  # chunks answering observations before this tick are void (takeover, new episode)
    dropped: dict[str, int] = field(default_factory=lambda: {'foreign': 0, 'old': 0, 'late': 0, 'invalid': 0})

    def clear(self, episode: int, not_before: int) -> None:
        """Forget everything in flight."""
        self.chunks = []
        self.episode, self.not_before = episode, not_before

    def offer(self, chunk: Chunk, observed: int, now: int) -> bool:
        """Accept a chunk that answers the observation of tick `observed`, or count why not. now: the next tick."""
        newest = self.chunks[-1] if self.chunks else None
        if chunk.episode != self.episode or observed < self.not_before:
            self.dropped['foreign'] += 1
        elif newest is not None and (chunk.sequence <= newest.sequence or chunk.first_tick < newest.first_tick):
            self.dropped['old'] += 1
        elif observed > now:
            self.dropped['invalid'] += 1  # from the future
        elif chunk.first_tick + len(chunk.action) <= now:
            self.dropped['late'] += 1
        else:
            begun = [one for one in self.chunks if one.first_tick <= now]
            self.chunks = [*begun[-1:], *(one for one in self.chunks if one.first_tick > now), chunk]
            return True
        return False

    def due(self, tick: int) -> Due:
        """What to do at a tick; looks ahead as well, without changing anything."""
        for chunk in reversed(self.chunks):
            if tick < chunk.first_tick:
                continue
            index = tick - chunk.first_tick
            if index < len(chunk.action):
                return Due(chunk.action[index], chunk.source, chunk.policy_version, chunk.sequence, index)
            index -= len(chunk.action)
            if index < len(chunk.rest):
                return Due(chunk.rest[index], VLA, 0, chunk.sequence, len(chunk.action) + index)
            break
        return Due(None, HOLD)
