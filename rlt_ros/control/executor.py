"""One control tick at a time: chunks, takeover, holds, safety filter. Pure: time and messages come from outside."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rlt_ros.config import Method, RobotProfile
from rlt_ros.control.chunks import ACTOR, HOLD, HUMAN, VLA, Chunk, ChunkSchedule, Due
from rlt_ros.control.safety_filter import FLAGS, SafetyFilter
from rlt_ros.episode.machine import ACTING
from rlt_ros.rl.transitions import Seen, TransitionBuilder
from rlt_ros.vla.normalisation import REFERENCE_LIMIT

LIMIT = 3.0  # normalised; no chunk of the critical phase goes further from where the robot stands
SETTLE = 5  # ticks of standstill that are commanded after a motion, before nothing is


class Actor(Protocol):
    """What the executor needs of a policy."""

    version: int

    def mean(self, state: np.ndarray, reference: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Executed:
    """What a tick came to."""

    tick: int
    command: np.ndarray  # (D,) after the filter
    source: int
    policy_version: int
    sequence: int
    index: int
    flags: int


class Executor:
    """Chunks in, filtered commands out. The same object drives a robot at 50 Hz and the lock-step runner."""

    def __init__(self, profile: RobotProfile, method: Method, scale: np.ndarray, seed: int = 0):
        self.method, self.scale = method, scale
        self.dt = 1.0 / profile.control_rate
        self.builder = TransitionBuilder(method, scale, profile.stride)
        self.filter = SafetyFilter(profile)
        self.schedule = ChunkSchedule()
        self.random = np.random.default_rng(seed)
        self.noise = method.noise
        self.actor: Actor | None = None
        self.phase, self.mode = 'idle', ''
        self.log: dict[int, np.ndarray] = {}  # commands of the last ticks
        self.human = self.stopped = False
        self.settling = 0  # ticks of standstill that are still to be commanded after an episode
        self.held = self.rests = 0  # ticks without an action; ticks with the rest of the VLA's reference
        self.waiting = 0  # ticks since the last one with an action; 0 between episodes
        self.clamped = dict.fromkeys(FLAGS, 0)  # ticks that the filter changed, by reason

    def episode(self, number: int, phase: str, mode: str, tick: int, position: np.ndarray | None) -> None:
        """The episode has changed; a new one starts from the measured position (D,). tick: the next one.

        Raises ValueError for the start of one without a position to start from, or while another one moves the arm.
        """
        if self.starts(number, phase):
            if position is None:
                raise ValueError('an episode cannot start before the robot has said where it stands')
            if self.acting:  # commands would jump to where a moving arm was last seen
                raise ValueError(f'episode {number} cannot start before episode {self.schedule.episode} is ended')
            self.filter.restart(position)
            self.schedule.clear(number, tick)
            self.log.clear()
            self.settling = self.waiting = 0
        elif phase not in ACTING:
            self.schedule.clear(number, tick)
            self.settling = SETTLE if self.acting else self.settling
            self.waiting = 0
        elif phase == 'critical' and self.phase == 'approach':
            self.schedule.not_before = tick  # what follows is the actor's
        self.phase, self.mode = phase, mode

    def end(self, tick: int) -> None:
        """The running episode, if there is one, is over: the robot stops. tick: the next one."""
        self.episode(self.schedule.episode, 'idle', '', tick, None)

    def starts(self, number: int, phase: str) -> bool:
        """Whether that would be the start of an episode."""
        return phase in ACTING and (not self.acting or number != self.schedule.episode)

    @property
    def acting(self) -> bool:
        return self.phase in ACTING

    @property
    def stopping(self) -> bool:
        """Whether an episode is over and the robot not yet at rest: `brake` is due."""
        return not self.acting and self.settling > 0

    def choose(self, episode: int, sequence: int, seen: Seen, observed: int, now: int) -> Chunk | None:
        """Turn the state of the observation of tick `observed` into the next chunk; None if it was dropped."""
        n, c = self.method.delay, self.method.chunk
        if not self.acting:
            return None
        if not self._usable(seen):
            return self._invalid()
        reference = self.builder.reference(seen)
        use_actor = self.mode == 'online' and self.phase == 'critical' and self.actor is not None
        if use_actor:
            committed = np.array([self._planned(t) for t in range(observed, observed + n)]).reshape(n, len(self.scale))
            try:
                action = self.actor.mean(self.builder.state(seen, committed), reference)
            except ValueError:  # a state of another size than the policy's, from another encoder, say
                return self._invalid()
        else:
            action = reference
        if self.mode in ('online', 'warmup') and self.phase == 'critical':
            action = action + self.noise * self.random.standard_normal(len(action)).astype(np.float32)
        if not np.isfinite(action).all():
            return self._invalid()
        limit = LIMIT if self.phase == 'critical' else REFERENCE_LIMIT
        targets = lambda a: seen.position + np.clip(a, -limit, limit).astype(np.float64) * self.scale  # noqa: E731
        chunk = Chunk(
            episode=episode, sequence=sequence, first_tick=observed + n, source=ACTOR if use_actor else VLA,
            policy_version=self.actor.version if use_actor else 0,
            action=targets(action.reshape(c, -1)), rest=targets(seen.reference[n + c :]),
        )  # fmt: skip
        return chunk if self.schedule.offer(chunk, observed, now) else None

    def _invalid(self) -> None:
        self.schedule.dropped['invalid'] += 1

    def _usable(self, seen: Seen) -> bool:
        """Whether a state is finite and its reference reaches as far as a chunk does."""
        needed = self.method.delay + self.method.chunk
        if seen.position.shape != self.scale.shape or seen.reference.shape[1:] != self.scale.shape:
            return False
        parts = (seen.token, seen.proprioception, seen.reference, seen.position)
        return len(seen.reference) >= needed and all(np.isfinite(part).all() for part in parts)

    def _planned(self, tick: int) -> np.ndarray:
        """The command of a tick: executed if it is past, else what is due."""
        if tick in self.log:
            return self.log[tick]
        due = self.schedule.due(tick)
        return self.filter.command if due.target is None else due.target

    def tick(
        self, tick: int, position: np.ndarray | None, velocity: np.ndarray | None, hold: bool = False
    ) -> Executed:  # fmt: skip
        """Execute a tick. velocity: (D,) a person's, None without takeover; hold: stop.

        position: (D,) measured; None where it is not known any more, which means: stop.
        """
        hold = hold or position is None
        if (velocity is not None) != self.human or self.stopped and not hold:
            self.schedule.clear(self.schedule.episode, tick)  # nothing computed before counts after
        self.human, self.stopped = velocity is not None, hold
        due = self.schedule.due(tick)
        if hold or (velocity is None and due.target is None):
            target, due = self.filter.command, Due(None, HOLD)
        elif velocity is not None:
            target, due = self.filter.command + velocity * self.dt, Due(None, HUMAN)
        else:
            target = due.target
        # where it is not known, an old one would pull the command, and the arm, back to where that was last seen
        command, flags = self.filter(target, self.filter.command if position is None else position)
        self.log[tick] = command
        self.log.pop(tick - 64, None)
        self.held += due.source == HOLD
        self.waiting = self.waiting + 1 if due.source == HOLD else 0
        self.rests += due.index >= self.method.chunk
        for name, flag in FLAGS.items():
            self.clamped[name] += bool(flags & flag)
        return Executed(tick, command, due.source, due.policy_version, due.sequence, due.index, flags)

    def brake(self, tick: int) -> Executed:
        """Execute a tick after an episode: a ramp to standstill within the limits, then SETTLE ticks of it."""
        here = self.filter.command
        command, flags = self.filter(here, here)  # nothing that lags behind is caught up with any more
        self.settling -= not self.filter.velocity.any()
        return Executed(tick, command, HOLD, 0, 0, -1, flags)
