"""Transitions from stamps alone: what was seen at every observation and what was executed at every tick.

An observation belongs to the first tick that is not earlier than its stamp. The action of a transition is what the
robot really executed in the C ticks that begin n (the delay) ticks later; the n ticks before are committed and part of
the state. So any tick log gives transitions at every observation (stride 2), whoever was in control and wherever the
chunks began. The next state is seen C ticks later, or one tick beside that: cameras that do not keep the robot's time
often show it then, and stamps are rounded to ticks anyway. Nothing is guessed: a hole in the log costs the transitions
that touch it, and no others.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rlt_ros.config import Method
from rlt_ros.control.chunks import HUMAN


@dataclass(frozen=True)
class Seen:
    """The RL state of one observation."""

    token: np.ndarray  # (Z,) float32, standardised
    proprioception: np.ndarray  # (P,) float32, standardised
    reference: np.ndarray  # (H, D) float32, normalised deltas from position
    position: np.ndarray  # (D,) rad or m


@dataclass(frozen=True)
class Step:
    """One executed tick."""

    command: np.ndarray  # (D,) rad or m, after the safety filter
    source: int  # ExecutedStep.VLA, ACTOR, HUMAN or HOLD
    policy_version: int


@dataclass(frozen=True)
class Ending:
    """How an episode ended, and the first tick that was not executed within it."""

    tick: int
    success: bool
    terminated: bool  # success or failure; a time-out or an abort is truncation, after which the value goes on


@dataclass(frozen=True)
class Transition:
    """Arrays float32; chunks flat C x D."""

    state: np.ndarray  # (S,) token first
    reference: np.ndarray
    action: np.ndarray
    reward: float  # sum of gamma^i r_i within the chunk
    discount: float  # gamma^(ticks to the next state), 0 where terminated
    next_state: np.ndarray
    next_reference: np.ndarray
    token: int  # Z, how many numbers of the states are z_rl
    steps: int  # k, executed steps of the chunk; the others are padding
    human: np.ndarray  # (C,) bool: a person drove
    terminated: bool  # the episode ended with success or failure within the chunk: no value follows
    truncated: bool  # the last of an episode that was cut off (time): the value goes on
    policy_version: int  # of the first step
    tick: int  # of the observation


class TransitionBuilder:
    """Turns the log of an episode's critical phase into transitions.

    scale: (D,) of the action units. observed_every: ticks between observations; transitions start at those that are
    method.stride apart. Steps after the end repeat the last command: they were never executed, and count nothing.
    """

    def __init__(self, method: Method, scale: np.ndarray, observed_every: int = 2):
        self.method, self.scale, self.observed_every = method, scale, observed_every

    def committed(self, commands: np.ndarray, position: np.ndarray) -> np.ndarray:
        """(n * D,) the committed commands (n, D) in action units."""
        return ((commands - position) / self.scale).astype(np.float32).ravel()

    def state(self, seen: Seen, committed: np.ndarray) -> np.ndarray:
        """(S,) state vector; committed: commands (n, D) of the n ticks from the observation's on."""
        return np.concatenate([seen.token, seen.proprioception, self.committed(committed, seen.position)])

    def reference(self, seen: Seen) -> np.ndarray:
        """(C * D,) the VLA's chunk for the ticks of the action."""
        n, c = self.method.delay, self.method.chunk
        return seen.reference[n : n + c].astype(np.float32).ravel()

    def stored_reference(self, tick: int, seen: Seen, steps: dict[int, Step]) -> np.ndarray:
        """(C * D,) the reference of the observation of `tick`, where a person drove replaced by what the person did."""
        reference = self.reference(seen)
        if self.method.intervention == 'replace':
            rows = reference.reshape(self.method.chunk, -1)
            for i, row in enumerate(rows):
                step = steps.get(tick + self.method.delay + i)
                if step is not None and step.source == HUMAN:
                    row[:] = (step.command - seen.position) / self.scale
        return reference

    def next_seen(self, tick: int, seen: dict[int, Seen], steps: dict[int, Step]) -> int | None:
        """The tick of the observation that follows a chunk's, C ticks later or one beside that; None without one.

        The ticks that are committed there must have been executed.
        """
        n, after = self.method.delay, tick + self.method.chunk
        for there in (after, after - 1, after + 1):
            if there > tick and there in seen and all(t in steps for t in range(there, there + n)):
                return there
        return None

    def build(self, seen: dict[int, Seen], steps: dict[int, Step], ending: Ending) -> Iterator[Transition]:
        """Transitions of all observations whose log is complete; keys are ticks."""
        method = self.method
        n, c = method.delay, method.chunk
        for tick in sorted(seen):
            if tick % method.stride >= self.observed_every:
                continue
            first, after = tick + n, tick + n + c
            last = min(after, ending.tick)
            if last <= first or any(t not in steps for t in range(tick, last)):
                continue
            executed = [steps[t].command for t in range(tick, last)]
            terminated = ending.terminated and ending.tick <= after
            if terminated:
                next_tick, next_committed = tick, executed[:n]  # without weight
                discount, reward = 0.0, method.discount ** (last - first - 1) if ending.success else 0.0
            elif last == after and (next_tick := self.next_seen(tick, seen, steps)) is not None:
                next_committed = [steps[t].command for t in range(next_tick, next_tick + n)]
                discount, reward = method.discount ** (next_tick - tick), 0.0
            else:
                continue
            here, chunk = seen[tick], executed[n:]
            chunk = chunk + [chunk[-1]] * (c - len(chunk))
            action = ((np.array(chunk) - here.position) / self.scale).astype(np.float32)
            human = np.array([t < last and steps[t].source == HUMAN for t in range(first, after)])
            yield Transition(
                state=self.state(here, np.array(executed[:n]).reshape(n, len(self.scale))),
                reference=self.stored_reference(tick, here, steps),
                action=action.ravel(),
                reward=reward,
                discount=discount,
                next_state=self.state(seen[next_tick], np.array(next_committed).reshape(n, len(self.scale))),
                next_reference=self.stored_reference(next_tick, seen[next_tick], steps),
                token=len(here.token),
                steps=last - first,
                human=human,
                terminated=terminated,
                truncated=not ending.terminated and after + self.method.stride > ending.tick,
                policy_version=steps[first].policy_version,
                tick=tick,
            )
