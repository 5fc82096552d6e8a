"""The episode as a table: reset -> approach (VLA) -> critical phase (RL) -> ended -> reset ... -> finished.

Pure: events and times come from outside, and every change is a new `State`.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

MODES = ('evaluation', 'warmup', 'online')


class Phase(StrEnum):
    IDLE = 'idle'  # nothing is ready yet
    RESET = 'reset'  # the scene is being set up
    APPROACH = 'approach'  # the VLA drives
    CRITICAL = 'critical'  # the method drives; what is stored happens here
    ENDED = 'ended'
    FINISHED = 'finished'


class Event(StrEnum):
    READY = 'ready'  # every node is up
    START = 'start'  # the scene is set up
    HANDOVER = 'handover'
    SUCCESS = 'success'
    FAILURE = 'failure'
    TIMEOUT = 'timeout'
    ABORT = 'abort'
    NEXT = 'next'  # on to the next episode
    FINISH = 'finish'  # enough data


# (phase, event) -> phase; anything else is ignored
TRANSITIONS = {
    (Phase.IDLE, Event.READY): Phase.RESET,
    (Phase.RESET, Event.START): Phase.APPROACH,
    (Phase.RESET, Event.FINISH): Phase.FINISHED,
    (Phase.APPROACH, Event.HANDOVER): Phase.CRITICAL,
    (Phase.APPROACH, Event.SUCCESS): Phase.ENDED,
    (Phase.APPROACH, Event.FAILURE): Phase.ENDED,
    (Phase.APPROACH, Event.TIMEOUT): Phase.ENDED,
    (Phase.APPROACH, Event.ABORT): Phase.ENDED,
    (Phase.CRITICAL, Event.SUCCESS): Phase.ENDED,
    (Phase.CRITICAL, Event.FAILURE): Phase.ENDED,
    (Phase.CRITICAL, Event.TIMEOUT): Phase.ENDED,
    (Phase.CRITICAL, Event.ABORT): Phase.ENDED,
    (Phase.ENDED, Event.NEXT): Phase.RESET,
    (Phase.ENDED, Event.FINISH): Phase.FINISHED,
}


@dataclass(frozen=True)
class State:
    """What everybody needs to know of the episode. Times in ns, the robot's clock."""

    episode: int = 0
    phase: Phase = Phase.IDLE
    mode: str = MODES[0]
    outcome: str = ''
    since: int = 0  # when this phase began; of an end, when it happened
    critical_since: int = 0
    stored_seconds: float = 0.0
    ended: tuple[int, int, int] = (0, 0, 0)  # episodes by mode


@dataclass(frozen=True)
class Plan:
    """How many episodes of what, and until when."""

    evaluation_episodes: int
    warmup_episodes: int
    goal_minutes: float


def mode_of_next(state: State, plan: Plan, policy_ready: bool) -> str:
    """The frozen VLA is measured first; warm-up goes on until there is an actor."""
    if state.ended[0] < plan.evaluation_episodes:
        return 'evaluation'
    if state.ended[1] < plan.warmup_episodes or not policy_ready:
        return 'warmup'
    return 'online'


def is_finished(state: State, plan: Plan) -> bool:
    return state.stored_seconds >= 60 * plan.goal_minutes


def advance(state: State, event: Event, stamp: int, plan: Plan, policy_ready: bool) -> State:
    """The state after an event that happened at `stamp` (ns); the same state where the table has no entry."""
    phase = TRANSITIONS.get((state.phase, event))
    if phase is None or (phase == Phase.ENDED and stamp < state.since):  # an event of the episode before
        return state
    new = replace(state, phase=phase, since=stamp, outcome='')
    if phase == Phase.RESET:
        new = replace(new, episode=state.episode + 1, mode=mode_of_next(state, plan, policy_ready))
    elif phase == Phase.CRITICAL:
        new = replace(new, critical_since=stamp)
    elif phase == Phase.ENDED:
        counts = list(state.ended)
        if event != Event.ABORT:
            counts[MODES.index(state.mode)] += 1
        stored = state.stored_seconds
        if state.phase == Phase.CRITICAL and state.mode != 'evaluation' and event != Event.ABORT:
            stored += (stamp - state.critical_since) * 1e-9
        new = replace(new, outcome=event.value, ended=tuple(counts), stored_seconds=stored)
    return new
