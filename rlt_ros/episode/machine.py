"""The episode as a table: reset -> approach (VLA) -> critical phase (RL) -> ended -> reset ... -> finished.

Pure: events and times come from outside, and every change is a new `State`.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

MODES = ('evaluation', 'warmup', 'online')
UNDO_SECONDS = 60.0  # s after an episode's end in which its label can be changed, if no next one starts


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
    UNDO = 'undo'  # the label of the last episode was wrong
    ESTOP = 'estop'  # the robot stands until it is re-armed
    REARM = 'rearm'
    LOST = 'lost'  # nobody knows what the robot did: the executor ended, fell silent or began anew
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
ACTING = (Phase.APPROACH, Phase.CRITICAL)
# ns before a phase began for which an event is of the episode before; what seems older is new: the clock was set back
LATE = round(UNDO_SECONDS * 1e9)
RELABELS = (Event.UNDO, Event.SUCCESS, Event.FAILURE, Event.ABORT)


@dataclass(frozen=True)
class Ended:
    """The last ended episode, as long as its label can be changed."""

    episode: int
    mode: str
    outcome: str
    stamp: int  # ns, of the end
    seconds: float  # robot time that it adds unless it is aborted
    undone: bool = False  # its label was taken back, it counts as aborted until there is another one


@dataclass(frozen=True)
class State:
    """What everybody needs to know of the episode. Times in ns, the robot's clock."""

    episode: int = 0
    phase: Phase = Phase.IDLE
    mode: str = MODES[0]
    outcome: str = ''
    since: int = 0  # when this phase began; of an end, when it happened
    started: int = 0  # when the approach began
    critical_since: int = 0
    stored_seconds: float = 0.0
    ended: tuple[int, int, int] = (0, 0, 0)  # episodes by mode
    last: Ended | None = None  # until the next episode starts, or none follows
    stopped: bool = False  # by the E-stop


@dataclass(frozen=True)
class Plan:
    """How many episodes of what, and until when."""

    evaluation_episodes: int
    warmup_episodes: int
    goal_minutes: float
    shortest_seconds: float  # no success counts earlier after the start


def mode_of_next(state: State, plan: Plan, policy_ready: bool) -> str:
    """The frozen VLA is measured first; warm-up goes on until there is an actor."""
    if state.ended[0] < plan.evaluation_episodes:
        return 'evaluation'
    if state.ended[1] < plan.warmup_episodes or not policy_ready:
        return 'warmup'
    return 'online'


def is_finished(state: State, plan: Plan) -> bool:
    return state.stored_seconds >= 60 * plan.goal_minutes


def is_too_early(state: State, event: Event, stamp: int, plan: Plan) -> bool:
    """Whether a success comes so soon after the start that it can only be a mistake."""
    early = stamp - state.started < plan.shortest_seconds * 1e9
    return early and event == Event.SUCCESS and state.phase in ACTING


def advance(state: State, event: Event, stamp: int, plan: Plan, policy_ready: bool) -> State:
    """The state after an event that happened at `stamp` (ns); the same object where the event is ignored."""
    if event == Event.ESTOP:
        stopped = state if state.stopped else replace(state, stopped=True)
        return advance(stopped, Event.ABORT, stamp, plan, policy_ready) if state.phase in ACTING else stopped
    if event == Event.LOST:
        if state.phase not in ACTING:
            return state
        return replace(advance(state, Event.ABORT, stamp, plan, policy_ready), last=None)  # not to be relabelled
    if event == Event.REARM:
        return replace(state, stopped=False) if state.stopped else state
    if event in RELABELS and state.last is not None:
        return relabel(state, state.last, event, stamp, plan, policy_ready)
    phase = TRANSITIONS.get((state.phase, event))
    if phase is None or is_too_early(state, event, stamp, plan) or (event == Event.START and state.stopped):
        return state
    if phase in (Phase.CRITICAL, Phase.ENDED):
        if event != Event.ABORT and 0 < state.since - stamp < LATE:  # an event of the episode before
            return state
        stamp = max(stamp, state.since)  # it is meant now, whatever the clock says
    new = replace(state, phase=phase, since=stamp, outcome='')
    if phase == Phase.RESET:
        return replace(new, episode=state.episode + 1, mode=mode_of_next(state, plan, policy_ready))
    if phase == Phase.APPROACH:
        return replace(new, started=stamp, last=None)
    if phase == Phase.CRITICAL:
        return replace(new, critical_since=stamp)
    if phase == Phase.ENDED:
        stored = state.phase == Phase.CRITICAL and state.mode != 'evaluation'
        seconds = (stamp - state.critical_since) * 1e-9 if stored else 0.0
        end = Ended(state.episode, state.mode, event.value, stamp, seconds)
        return count(replace(new, outcome=end.outcome, last=end), end, 1)
    return replace(new, last=None)


def relabel(state: State, last: Ended, event: Event, stamp: int, plan: Plan, policy_ready: bool) -> State:
    """Take the last label back or, once that is done, give another; `state` itself if it is too late or the other way.

    A label without an undo before it is a button pressed twice.
    """
    undo = event == Event.UNDO
    if undo == last.undone or stamp - last.stamp > UNDO_SECONDS * 1e9:
        return state
    end = replace(last, outcome='abort' if undo else event.value, undone=undo)
    new = count(count(replace(state, last=end), last, -1), end, 1)
    if state.phase == Phase.ENDED:
        return replace(new, outcome=end.outcome)
    return replace(new, mode=mode_of_next(new, plan, policy_ready))


def count(state: State, end: Ended, sign: int) -> State:
    """Add (1) or take back (-1) an ended episode; an aborted one counts nothing."""
    if end.outcome == 'abort':
        return state
    counts = list(state.ended)
    counts[MODES.index(end.mode)] += sign
    # rounding may leave less than nothing
    return replace(state, ended=tuple(counts), stored_seconds=max(0.0, state.stored_seconds + sign * end.seconds))


def adopt(state: State, episode: int, phase: str, stamp: int, plan: Plan, policy_ready: bool) -> State:
    """The state of a process that starts while the robot is in `phase` of `episode`; no number comes twice.

    An episode that runs without its owner is aborted: nobody knows what happened in between.
    """
    if episode <= state.episode:
        return state
    found = replace(state, episode=episode)
    if phase not in ACTING:
        return found
    mode = mode_of_next(state, plan, policy_ready)
    running = replace(found, phase=Phase(phase), mode=mode, since=stamp, started=stamp, critical_since=stamp)
    return advance(running, Event.LOST, stamp, plan, policy_ready)
