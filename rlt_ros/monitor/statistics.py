"""The numbers of a run that a person looks at, from what the nodes publish. Times are ns unless said otherwise."""

from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
import math
from typing import Any

from rlt_ros.episode.machine import ACTING, Phase
from rlt_ros.monitor.histogram import Histogram
from rlt_ros.report.records import of_mode
from rlt_ros.report.summary import WINDOW, median_steps, successes, throughput

LONGEST_EPISODE = 1_000_000  # ticks that are kept of one; more are not counted
COUNTED = {'critical': (Phase.CRITICAL,), 'full': ACTING}  # phases, by the task's setting
END_WAIT = 1_000_000_000  # how long steps from before an episode's end may still be on their way


@dataclass(frozen=True)
class Step:
    """An executed control tick."""

    tick: int
    stamp: int
    episode: int
    phase: str
    is_hold: bool
    policy_version: int
    deadline_error: float  # s


@dataclass(frozen=True)
class State:
    """The state of the episode."""

    stamp: int = 0
    episode: int = 0
    phase: str = 'idle'
    mode: str = ''
    outcome: str = ''
    robot_minutes: float = 0.0


@dataclass
class Counted:
    """Ticks of an episode that are its steps."""

    stamps: array = field(default_factory=lambda: array('q'))
    ticks: array = field(default_factory=lambda: array('Q'))
    since: int | None = None  # when they began; None: nobody has told
    policy_version: int = 0


class RunStatistics:
    """Collects steps and states; an ended episode becomes a record (a line of episodes.jsonl).

    Its steps and seconds are those of the critical phase, in a full task those of the way to it, too.
    `episodes` and `status` are what an earlier process wrote about the same run: counting goes on from there.
    """

    def __init__(
        self, period: int, setting: str, episodes: Iterable[dict] = (), status: Mapping[str, Any] | None = None
    ):
        status = status or {}
        self.period, self.phases = period, COUNTED[setting]
        self.episodes: dict[int, dict] = {record['episode']: record for record in episodes}
        self.state = State(robot_minutes=_number(status.get('robot_minutes')))
        self.ticks = int(_number(status.get('ticks')))
        self.missed_ticks = int(_number(status.get('missed_ticks')))
        self.chunk_holds = int(_number(status.get('chunk_holds')))
        largest = _number((status.get('deadline_error_ms') or {}).get('max')) * 1e-3
        self.deadline_errors = Histogram(status.get('deadline_histogram'), largest)
        self._counted: dict[int, Counted] = {}
        self._last_tick: int | None = None
        self._first_stamp: int | None = None  # of the first step that this process heard of
        self._ends: list[tuple[State, int]] = []  # of episodes whose last steps may be on their way; when it was told
        self._has_state = False

    def add_step(self, step: Step) -> list[dict]:
        """Count a tick; returns records of episodes that ended before it."""
        self.ticks += 1
        if self._last_tick is not None and step.tick > self._last_tick:
            self.missed_ticks += step.tick - self._last_tick - 1
        self.missed_ticks += step.deadline_error * 1e9 > self.period
        self._first_stamp = step.stamp if self._first_stamp is None else self._first_stamp
        self._last_tick = step.tick  # smaller than before: the executor was started again
        self.deadline_errors.add(step.deadline_error)
        self.chunk_holds += step.is_hold and step.phase in ACTING
        if step.phase in self.phases:
            counted = self._counted.setdefault(step.episode, Counted())
            if len(counted.stamps) < LONGEST_EPISODE:
                counted.stamps.append(step.stamp)
                counted.ticks.append(step.tick)
            counted.policy_version = max(counted.policy_version, step.policy_version)
        return self._finish(lambda state, told: step.stamp >= state.stamp) if self._ends else []

    def add_state(self, state: State, now: int) -> list[dict]:
        """Take the episode's state; returns the record of an earlier end whose label it corrects."""
        is_first, self._has_state = not self._has_state, True
        self.state = state
        if state.phase in self.phases:
            counted = self._counted.setdefault(state.episode, Counted())
            counted.since = state.stamp if counted.since is None else counted.since
        if state.phase != 'ended':
            return []
        known = self.episodes.get(state.episode)
        if known is not None:
            if known['outcome'] != state.outcome:
                changed = {'outcome': state.outcome, 'stamp': state.stamp * 1e-9, 'robot_minutes': state.robot_minutes}
                self.episodes[state.episode] = {**known, **changed}
                return [self.episodes[state.episode]]
        elif not is_first or state.episode in self._counted:
            # the first state heard may be of an episode that nobody here saw
            self._ends = [(end, told) for end, told in self._ends if end.episode != state.episode] + [(state, now)]
        return []

    def poll(self, now: int) -> list[dict]:
        """To be called every now and then; returns records of episodes whose last steps will not come any more."""
        return self._finish(lambda state, told: now - told >= END_WAIT)

    def close(self) -> list[dict]:
        """Nothing follows; returns the records of episodes that have just ended."""
        return self._finish(lambda state, told: True)

    def _finish(self, is_complete: Callable[[State, int], bool]) -> list[dict]:
        """Records of the ends for which that holds."""
        complete = [end for end in self._ends if is_complete(*end)]
        self._ends = [end for end in self._ends if end not in complete]
        return [self._record(state) for state, _ in complete]

    def _record(self, state: State) -> dict:
        """The line of an ended episode; its ticks are forgotten."""
        counted = self._counted.get(state.episode, Counted())
        ticks = [t for t, stamp in zip(counted.ticks, counted.stamps, strict=True) if stamp < state.stamp]
        span = max(ticks) - min(ticks) + 1 if ticks else 0  # with the ticks that were missed: they took time, too
        unseen = 0  # before this process listened
        if ticks and counted.since is not None and counted.stamps[0] == self._first_stamp:
            unseen = max(0, (counted.stamps[0] - counted.since) // self.period)
        record = {
            'episode': state.episode,
            'mode': state.mode,
            'outcome': state.outcome,
            'steps': len(ticks) + unseen,
            'seconds': (span + unseen) * self.period * 1e-9,
            'robot_minutes': state.robot_minutes,
            'policy_version': counted.policy_version,
            'stamp': state.stamp * 1e-9,
        }
        self._counted = {number: kept for number, kept in self._counted.items() if number > state.episode}
        self.episodes[state.episode] = record
        return record

    def control(self) -> dict[str, Any]:
        """Ticks of the run so far (JSON types): executed, missed, without a chunk, and the error of wake-ups in ms."""
        p50, p99 = self.deadline_errors.percentile(50), self.deadline_errors.percentile(99)
        return {
            'ticks': self.ticks,
            'missed_ticks': self.missed_ticks,
            'deadline_error_ms': {
                'p50': None if p50 is None else p50 * 1e3,
                'p99': None if p99 is None else p99 * 1e3,
                'max': None if p50 is None else self.deadline_errors.largest * 1e3,
            },
            'chunk_holds': self.chunk_holds,
        }

    def outcome(self) -> dict[str, Any]:
        """How it goes (JSON types): the last 20 episodes of the present mode; None without any."""
        recent = of_mode([self.episodes[number] for number in sorted(self.episodes)], self.state.mode)[-WINDOW:]
        counted = self._counted.get(self.state.episode, Counted())
        return {
            'episode': self.state.episode,
            'phase': self.state.phase,
            'mode': self.state.mode,
            'steps': len(counted.ticks),
            'episodes': len(self.episodes),
            'success_last_20': successes(recent) / len(recent) if recent else None,
            'throughput_per_10min': throughput(recent),
            'median_steps': median_steps(recent),
            'finished': self.state.phase == 'finished',
        }


def _number(value: Any) -> float:
    """A finite number of a file that may hold anything; 0 otherwise."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0
