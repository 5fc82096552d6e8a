"""What a soak holds a run against. Pure: steps, samples and records come from outside."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
import random

import numpy as np

from rlt_ros.config import Method, RobotProfile
from rlt_ros.control.chunks import ACTOR, HUMAN, VLA
from rlt_ros.episode.machine import ACTING, Phase
from rlt_ros.rl.assembly import STORED_MODES
from rlt_ros.rl.journal import Record

EXAMPLES = 10  # that are told of what went wrong; all are counted
MAX_SLOPE = 1.0  # % of memory per hour
JUDGED = 600.0  # s of a process's life after the warm-up, below which a slope says nothing


@dataclass(frozen=True)
class Logged:
    """One executed tick, as ExecutedStep.msg has it."""

    episode: int
    phase: str
    source: int
    policy_version: int
    command: np.ndarray  # (D,) rad (grippers: m)

    @property
    def drives(self) -> bool:
        """Whether a chunk moved the robot."""
        return self.phase in ACTING and self.source in (VLA, ACTOR)


@dataclass
class Wrong:
    """A count and the first examples."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, what: str) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(what)


class LimitChecker:
    """Executed commands against the limits of the profile, by their differences alone.

    Shares nothing with the safety filter but the numbers. Every executed tick counts as one period, also after missed
    ones: a pause is no reason to jump.
    """

    def __init__(self, profile: RobotProfile):
        joints = profile.joints
        self.names, self.max_lag = profile.joint_names, profile.max_lag
        self.lower, self.upper = np.array([j.lower for j in joints]), np.array([j.upper for j in joints])
        self.velocity = np.array([j.velocity for j in joints]) / profile.control_rate  # rad a tick
        self.acceleration = np.array([j.acceleration for j in joints]) / profile.control_rate**2
        self.steps, self.wrong = 0, Wrong()
        self._last: list[np.ndarray] = []  # up to two commands of the episode before this one
        self._episode = 0

    def add(self, tick: int, step: Logged) -> None:
        if step.phase not in ACTING:
            self._last = []
            return
        if step.episode != self._episode:
            self._episode, self._last = step.episode, []
        self.steps += 1
        command, last = step.command, self._last
        if command.shape != self.lower.shape or not np.isfinite(command).all():
            self.wrong.add(f'tick {tick}: not {len(self.lower)} finite numbers')
            self._last = []
            return
        outside = np.maximum(self.lower - command, command - self.upper)
        # who starts outside of a limit may come in, and never goes further out
        allowed = np.maximum(np.maximum(self.lower - last[-1], last[-1] - self.upper), 0) if last else self.max_lag
        self._check(tick, 'position', outside - allowed)
        if last:
            self._check(tick, 'velocity', np.abs(command - last[-1]) - self.velocity)
        if len(last) > 1:
            self._check(tick, 'acceleration', np.abs(command - 2 * last[-1] + last[-2]) - self.acceleration)
        self._last = [*last[-1:], command]

    def _check(self, tick: int, what: str, beyond: np.ndarray) -> None:
        joint = int(np.argmax(beyond))
        if beyond[joint] > 1e-9:
            self.wrong.add(f'tick {tick}: {what} of {self.names[joint]} {beyond[joint]:.3g} beyond its limit')


@dataclass
class TransitionChecker:
    """Stored transitions against what was executed, told by another subscriber than the learner.

    The joint position that actions are measured from is not stored; as the committed commands are measured from the
    same one, all differences within [committed, action] can be compared.
    """

    method: Method
    scale: np.ndarray  # (D,) of the action units
    executed: dict[int, Logged]  # by tick
    outcomes: dict[int, str]  # last label by episode
    checked: int = 0
    wrong: Wrong = field(default_factory=Wrong)

    def add(self, record: Record) -> None:
        self.checked += 1
        why = self._why_wrong(record)
        if why:
            self.wrong.add(f'episode {record.episode}, tick {record.transition.tick}: {why}')

    def _why_wrong(self, record: Record) -> str:
        t, n, c = record.transition, self.method.delay, self.method.chunk
        if record.mode not in STORED_MODES:
            return f'of mode {record.mode}'
        if self.outcomes.get(record.episode, record.outcome) != record.outcome or record.outcome == 'abort':
            return f'labelled {record.outcome}, told {self.outcomes.get(record.episode)}'
        if t.steps > c or (t.steps < c and not t.terminated):
            return f'{t.steps} steps'
        ticks = range(t.tick, t.tick + n + t.steps)
        missing = [tick for tick in ticks if tick not in self.executed]
        if missing:
            return f'tick {missing[0]} was not executed'
        steps = [self.executed[tick] for tick in ticks]
        phases = ACTING if self.method.store_approach else (Phase.CRITICAL,)
        foreign = [s for s in steps if s.episode != record.episode or s.phase not in phases]
        if foreign:
            return f'a step is of episode {foreign[0].episode}, phase {foreign[0].phase}'
        d = len(self.scale)
        action = t.action.reshape(c, d)
        stored = np.concatenate([t.state[len(t.state) - n * d :].reshape(n, d), action]).astype(float)
        commands = np.array([s.command for s in steps])
        commands = np.concatenate([commands, np.repeat(commands[-1:], c - t.steps, axis=0)])  # padding
        apart = np.abs(stored - stored[0] - (commands - commands[0]) / self.scale).max()
        if not apart <= 1e-5 * (1.0 + np.abs(stored).max()):
            return f'action differs from the executed commands by {apart:.3g} units'
        human = [s.source == HUMAN for s in steps[n:]] + [False] * (c - t.steps)
        if t.human.tolist() != human:
            return 'who drove is wrong'
        return '' if t.policy_version == steps[n].policy_version else 'the policy version is wrong'


@dataclass
class Life:
    """Samples of one process, from its start to its end."""

    pid: int
    times: list[float] = field(default_factory=list)  # s
    memory: list[int] = field(default_factory=list)  # resident bytes
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def add(self, now: float, memory: int, files: int, threads: int) -> None:
        self.times.append(now)
        self.memory.append(memory)
        self.files.append(files)
        self.threads.append(threads)

    def describe(self, warm_up: float) -> dict:
        """How it grew, its first `warm_up` s left out."""
        first = next((i for i, at in enumerate(self.times) if at - self.times[0] >= warm_up), len(self.times))
        return {
            'judged_seconds': round(self.times[-1] - self.times[first], 1) if first < len(self.times) else 0.0,
            'memory_mb': round(self.memory[-1] / 1e6, 1),
            'memory_percent_per_hour': slope(self.times[first:], self.memory[first:]),
            'files_grown_by': growth(self.files[first:]), 'threads_grown_by': growth(self.threads[first:]),
        }  # fmt: skip


def slope(times: Sequence[float], values: Sequence[float]) -> float | None:
    """Linear growth in % of the mean per hour, times in s; None for fewer than three samples."""
    if len(times) < 3:
        return None
    per_second = np.polyfit(np.asarray(times) - times[0], np.asarray(values, float), 1)[0]
    return round(float(per_second * 3600 / np.mean(values) * 100), 2)


def growth(values: Sequence[int]) -> int:
    """From the middle value of the first quarter to that of the last; what is open for a moment does not count."""
    quarter = len(values) // 4
    if not quarter:
        return 0
    return int(np.median(values[-quarter:]) - np.median(values[:quarter]))


def schedule(seed: int, seconds: float, period: float, faults: Sequence[str]) -> list[tuple[float, str]]:
    """When what is done, s: one fault a period, each once before any comes again, none in the last half period."""
    source, bag, plan = random.Random(seed), [], []
    at = period / 2
    while at + period / 2 <= seconds:
        if not bag:
            bag = source.sample(list(faults), len(faults))
        plan.append((at, bag.pop()))
        at += period
    return plan


class MissedTicks:
    """Holes in the tick numbers, by the fault that was under way."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.by_fault: Counter[str] = Counter()

    def add(self, tick: int, fault: str) -> None:
        if self.last is not None and tick > self.last + 1:
            self.by_fault[fault] += tick - self.last - 1
        self.last = tick

    def describe(self) -> dict:
        return {'total': self.by_fault.total(), 'without_fault': self.by_fault[''],
                'by_fault': {name: count for name, count in self.by_fault.items() if name}}  # fmt: skip


def verdict(found: dict) -> list[str]:
    """What of a soak's result is not as it has to be."""
    bad = [f'{name}: {found[name]["wrong"]}' for name in ('limits', 'transitions') if found[name]['wrong']]
    bad += [f'did not go on after: {fault}' for fault in found['not_recovered']]
    bad += [f'graph: {found["ended"]}'] if found['ended'] else []
    for name, node in found['nodes'].items():
        grown, per_hour = node['memory_percent_per_hour'] or 0.0, node['judged_seconds']
        if per_hour >= JUDGED and grown > MAX_SLOPE:
            bad.append(f'{name}: memory grows by {grown:g} % an hour')
        bad += [f'{name}: {node[f"{what}_grown_by"]} more {what}' for what in ('files', 'threads')
                if node[f'{what}_grown_by'] > 0]  # fmt: skip
    return bad
