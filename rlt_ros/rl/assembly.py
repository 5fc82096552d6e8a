"""From messages in any order to the transitions of an episode: waits until all parts are there, then builds once."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from rlt_ros.config import Task
from rlt_ros.control.ticks import Ticks, observation_ticks
from rlt_ros.episode.machine import ACTING, UNDO_SECONDS, Phase
from rlt_ros.rl.transitions import Ending, Seen, Step, Transition, TransitionBuilder

STORED_MODES = ('warmup', 'online')
PATIENCE = 4.0  # s after an episode's end until missing parts are given up
LABEL_PATIENCE = UNDO_SECONDS + 1.0  # s after it until its label counts although no next episode has started


def kept(task: Task, rate: float) -> int:
    """Ticks that are remembered, rate: in a s: those of the longest critical phase and of what follows until its label
    counts, and of two minutes at least."""
    return round(max(120.0, task.time_limit + LABEL_PATIENCE) * rate)


@dataclass
class Log:
    """What was executed on one clock of the executor."""

    ticks: Ticks
    steps: dict[int, tuple[Step, int, str]] = field(default_factory=dict)  # tick -> step, episode, phase


@dataclass
class Pending:
    """What is known of an episode."""

    seen: dict[int, Seen] = field(default_factory=dict)  # by stamp, ns
    complete: bool = False  # all observations have come
    ended_at: float | None = None  # s, receiver's clock
    stamp: int = 0  # ns, of the end
    outcome: str = ''
    mode: str = ''
    log: Log | None = None  # its own, where the executor's clock began anew after its end


@dataclass(frozen=True)
class Finished:
    """An episode whose transitions are built."""

    episode: int
    mode: str
    outcome: str
    transitions: list[Transition]


class Assembly:
    """Feed it steps, states and endings; `finished(now)` gives what has become complete."""

    def __init__(self, builder: TransitionBuilder, room: int):
        """room: ticks of episodes that are remembered."""
        self.builder, self.room = builder, room
        self.log: Log | None = None
        self.episodes: dict[int, Pending] = {}
        self.newest_built = self.newest_started = 0

    def add_step(self, tick: int, due: int, period: int, episode: int, phase: str, step: Step) -> None:
        """An executed tick; due and period in ns. A clock that starts anew (executor restarted) begins another log.

        Episodes that have ended, and wait for their label or for states, keep the one that they are in.
        """
        ticks = Ticks(due - tick * period, period)
        if self.log is None or abs(ticks.start - self.log.ticks.start) > period // 2:
            for pending in self.episodes.values():
                if pending.ended_at is not None and pending.log is None:
                    pending.log = self.log
            self.log = Log(ticks)
        if phase not in ACTING:
            return
        self.newest_started = max(self.newest_started, episode)
        steps = self.log.steps
        steps[tick] = (step, episode, phase)
        if len(steps) > self.room:
            del steps[next(iter(steps))]

    def add_state(self, episode: int, stamp: int, seen: Seen, last: bool) -> None:
        """What was seen at `stamp` (ns). Raises ValueError where the reference ends before a chunk does."""
        method = self.builder.method
        if len(seen.reference) < (least := method.delay + method.chunk):
            raise ValueError(f'reference of {len(seen.reference)} steps, at least {least} are needed')
        if episode <= self.newest_built:
            return  # too late, or a duplicate
        pending = self.episodes.setdefault(episode, Pending())
        pending.seen[stamp] = seen
        pending.complete |= last

    def end(self, episode: int, stamp: int, outcome: str, mode: str, now: float) -> None:
        """The episode ended at `stamp` (ns); said again, the later label counts."""
        if episode <= self.newest_built:
            return
        pending = self.episodes.setdefault(episode, Pending())
        pending.stamp, pending.outcome, pending.mode = stamp, outcome, mode
        pending.ended_at = now if pending.ended_at is None else pending.ended_at

    def finished(self, now: float) -> Iterator[Finished]:
        """Episodes of which nothing will change any more, each once, in order.

        A label may be corrected until the next episode starts, and parts may be late. now=inf: nothing comes any more.
        """
        for number in sorted(self.episodes):
            pending = self.episodes[number]
            if pending.ended_at is None:
                continue
            since = now - pending.ended_at
            labelled = number < self.newest_started or since > LABEL_PATIENCE
            if not labelled or not (pending.complete or since > PATIENCE):
                continue
            del self.episodes[number]
            self.newest_built = max(self.newest_built, number)
            yield Finished(number, pending.mode, pending.outcome, self._build(number, pending))

    def _build(self, number: int, pending: Pending) -> list[Transition]:
        log = pending.log or self.log
        if pending.mode not in STORED_MODES or pending.outcome == 'abort' or not pending.seen or log is None:
            return []
        stamps = np.array(sorted(pending.seen), np.int64)
        numbers = observation_ticks(stamps, log.ticks)
        seen = {int(tick): pending.seen[int(stamp)] for tick, stamp in zip(numbers, stamps, strict=True)}
        end = log.ticks.at_or_after(pending.stamp)
        phases = ACTING if self.builder.method.store_approach else (Phase.CRITICAL,)
        steps = {
            tick: step
            for tick, (step, episode, phase) in log.steps.items()
            if episode == number and phase in phases and tick < end
        }
        success = pending.outcome == 'success'
        ending = Ending(end, success, terminated=success or pending.outcome == 'failure')
        return list(self.builder.build(seen, steps, ending))
