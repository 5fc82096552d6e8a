"""The episode as people and nodes see it: every event in every phase, and what counts."""

from dataclasses import replace
import json
from pathlib import Path

import pytest

from rlt_ros.episode.machine import UNDO_SECONDS, Event, Phase, Plan, State, adopt, advance, is_finished
from rlt_ros.nodes.episode_node import restored

PLAN = Plan(evaluation_episodes=2, warmup_episodes=3, goal_minutes=1.0, shortest_seconds=0.5)
LABELS = (Event.SUCCESS, Event.FAILURE, Event.TIMEOUT, Event.ABORT)
ALLOWED = {
    (Phase.IDLE, Event.READY): Phase.RESET,
    (Phase.RESET, Event.START): Phase.APPROACH,
    (Phase.RESET, Event.FINISH): Phase.FINISHED,
    (Phase.APPROACH, Event.HANDOVER): Phase.CRITICAL,
    **{(phase, label): Phase.ENDED for phase in (Phase.APPROACH, Phase.CRITICAL) for label in LABELS},
    **{(phase, Event.ESTOP): Phase.ENDED for phase in (Phase.APPROACH, Phase.CRITICAL)},
    **{(phase, Event.LOST): Phase.ENDED for phase in (Phase.APPROACH, Phase.CRITICAL)},
    (Phase.ENDED, Event.NEXT): Phase.RESET,
    (Phase.ENDED, Event.FINISH): Phase.FINISHED,
}
SECOND = 1_000_000_000


def step(state: State, event: Event, at: float, ready: bool = True) -> State:
    """The state after an event `at` s."""
    return advance(state, event, round(at * SECOND), PLAN, ready)


@pytest.mark.parametrize('phase', list(Phase))
@pytest.mark.parametrize('event', list(Event))
def test_every_event_in_every_phase(phase: Phase, event: Event) -> None:
    state = State(episode=4, phase=phase, mode='online', since=5, critical_since=5)
    after = step(state, event, 9)
    expected = ALLOWED.get((phase, event))
    if expected is None:
        assert replace(after, stopped=False) == state and after.stopped == (event == Event.ESTOP)
        return
    assert (after.phase, after.since) == (expected, 9 * SECOND)
    assert after.episode == (5 if expected == Phase.RESET else 4)
    outcome = 'abort' if event in (Event.ESTOP, Event.LOST) else event.value
    assert after.outcome == (outcome if expected == Phase.ENDED else '')


def episode(state: State, label: Event, seconds: float = 10.0, approach: float = 2.0, ready: bool = False) -> State:
    """One more episode after an ended (or idle) one."""
    begin = state.since
    events = [(Event.READY if state.phase == Phase.IDLE else Event.NEXT, 0.0), (Event.START, 1.0),
              (Event.HANDOVER, 1.0 + approach), (label, 1.0 + approach + seconds)]  # fmt: skip
    for event, at in events:
        state = advance(state, event, begin + round(at * SECOND), PLAN, ready)
    return state


def test_evaluation_then_warm_up_until_there_is_a_policy_then_online() -> None:
    state, modes = State(), []
    for ready in [False] * 7 + [True] * 2:
        state = episode(state, Event.SUCCESS, ready=ready)
        modes.append(state.mode)
    assert modes == ['evaluation'] * 2 + ['warmup'] * 5 + ['online'] * 2
    assert state.ended == (2, 5, 2) and state.episode == 9
    assert episode(State(), Event.SUCCESS, ready=True).mode == 'evaluation', 'a policy does not shorten the evaluation'


def test_only_the_critical_phase_of_labelled_learning_episodes_is_robot_time() -> None:
    state = State(ended=(2, 0, 0))
    for label, seconds in ((Event.SUCCESS, 10), (Event.FAILURE, 20), (Event.TIMEOUT, 5), (Event.ABORT, 100)):
        state = episode(state, label, seconds)
    assert state.stored_seconds == pytest.approx(35)
    assert state.ended == (2, 3, 0), 'an abort does not count'
    assert not is_finished(state, PLAN) and is_finished(replace(state, stored_seconds=60.0), PLAN)
    assert episode(State(), Event.SUCCESS).stored_seconds == 0, 'nor an evaluation'


def test_a_label_from_before_the_phase_is_of_another_episode() -> None:
    state = State(episode=3, phase=Phase.CRITICAL, mode='online', since=100 * SECOND)
    assert step(state, Event.SUCCESS, 99) is state
    assert step(state, Event.SUCCESS, 100).phase == Phase.ENDED


@pytest.mark.fault('stamps', 'a clock that was set back takes no label and no abort from a person')
def test_a_clock_that_was_set_back_takes_no_event_from_anybody() -> None:
    state = State(episode=3, phase=Phase.CRITICAL, mode='online', since=4000 * SECOND, critical_since=4000 * SECOND)
    for event in LABELS:
        ended = step(state, event, 400)
        assert (ended.phase, ended.since, ended.stored_seconds) == (Phase.ENDED, 4000 * SECOND, 0.0)
    assert step(state, Event.ABORT, 3999).phase == Phase.ENDED, 'nobody means to go on'


@pytest.mark.fault('press', 'no success in the first moments')
def test_no_success_in_the_first_moments_but_any_other_end() -> None:
    state = State(episode=3, phase=Phase.CRITICAL, since=10 * SECOND, started=10 * SECOND)
    assert step(state, Event.SUCCESS, 10.49) is state
    assert step(state, Event.SUCCESS, 10.5).outcome == 'success'
    assert step(state, Event.FAILURE, 10.1).outcome == 'failure'


@pytest.mark.fault('press', 'a label can be undone until the next episode starts')
@pytest.mark.parametrize('phase', [Phase.ENDED, Phase.RESET])
def test_a_wrong_label_is_undone_and_replaced_until_the_next_episode_starts(phase: Phase) -> None:
    state = ended = episode(State(ended=(2, 3, 0), stored_seconds=4.0), Event.SUCCESS, ready=True)
    at = ended.since / SECOND
    if phase == Phase.RESET:
        state = step(state, Event.NEXT, at + 0.1)
    assert step(state, Event.FAILURE, at + 1) is state, 'a label without an undo is a second press'
    undone = step(state, Event.UNDO, at + 2)
    assert undone.last.outcome == 'abort' and undone.ended == (2, 3, 0) and undone.stored_seconds == 4.0
    assert step(undone, Event.UNDO, at + 3) is undone
    failed = step(undone, Event.FAILURE, at + 4)
    assert (failed.last.outcome, failed.last.stamp, failed.ended) == ('failure', ended.since, (2, 3, 1))
    assert failed.stored_seconds == pytest.approx(14.0)
    assert (failed.phase, failed.episode) == (state.phase, state.episode)
    again = step(step(failed, Event.UNDO, at + 5), Event.SUCCESS, at + 6)
    assert again.last.outcome == 'success'
    if phase == Phase.RESET:
        started = step(again, Event.START, at + 7)
        assert step(started, Event.UNDO, at + 8) is started
    else:
        assert again.outcome == 'success', 'what is told of the phase is its label now'


def test_an_undone_evaluation_is_made_up_for() -> None:
    state = step(episode(State(ended=(1, 0, 0)), Event.SUCCESS), Event.NEXT, 20)
    assert state.mode == 'warmup'
    assert step(state, Event.UNDO, 21).mode == 'evaluation'


def test_what_has_been_learned_from_is_not_undone() -> None:
    state = episode(State(), Event.SUCCESS)
    at = state.since / SECOND
    assert step(state, Event.UNDO, at + UNDO_SECONDS + 0.1) is state
    undone = step(state, Event.UNDO, at + UNDO_SECONDS - 0.1)
    assert step(undone, Event.SUCCESS, at + UNDO_SECONDS + 0.1) is undone


def test_after_an_e_stop_nothing_starts_until_the_robot_is_armed() -> None:
    state = step(State(episode=3, phase=Phase.CRITICAL, since=10 * SECOND), Event.ESTOP, 9)
    assert (state.phase, state.outcome, state.since) == (Phase.ENDED, 'abort', 10 * SECOND)
    state = step(state, Event.NEXT, 11)
    assert step(state, Event.START, 12) is state
    assert step(step(state, Event.REARM, 13), Event.START, 14).phase == Phase.APPROACH


@pytest.mark.parametrize('phase', ['approach', 'critical'])
def test_an_episode_without_its_owner_is_aborted(phase: str) -> None:
    found = adopt(State(episode=3, ended=(2, 1, 0), stored_seconds=7.0), 4, phase, 50, PLAN, True)
    assert (found.phase, found.episode, found.outcome, found.mode) == (Phase.ENDED, 4, 'abort', 'warmup')
    assert found.ended == (2, 1, 0) and found.stored_seconds == 7.0
    assert step(found, Event.UNDO, 60) is found and advance(found, Event.NEXT, 60, PLAN, True).episode == 5


def test_numbers_go_on_from_what_the_robot_last_did() -> None:
    assert adopt(State(), 0, 'idle', 50, PLAN, True) == State()
    assert adopt(State(episode=3), 5, 'reset', 50, PLAN, True) == State(episode=5)
    assert adopt(State(episode=5), 5, 'ended', 50, PLAN, True) == State(episode=5)
    assert adopt(State(episode=5), 5, 'critical', 50, PLAN, True) == State(episode=5), 'its end is known'


def test_an_interrupted_run_goes_on_where_its_file_ends(tmp_path: Path) -> None:
    assert restored(tmp_path) == State()
    rows = [
        (1, 'evaluation', 'success', 0.0),
        (2, 'warmup', 'failure', 0.1),
        (3, 'warmup', 'abort', 0.1),
        (4, 'online', 'success', 0.25),
        (2, 'warmup', 'abort', 0.1),  # corrected
        (2, 'warmup', 'success', 0.1),
    ]
    names = ('episode', 'mode', 'outcome', 'robot_minutes', 'steps', 'seconds')
    lines = [json.dumps(dict(zip(names, (*row, 10, 1.0), strict=True))) for row in rows]
    path = tmp_path / 'episodes.jsonl'
    path.write_text('\n'.join(lines) + '\n{"episode": 5, "mode": "onl')
    state = restored(tmp_path)
    assert (state.episode, state.ended, state.stored_seconds) == (4, (1, 1, 1), pytest.approx(15))
    assert step(state, Event.READY, 0).episode == 5


def test_an_episode_whose_executor_was_lost_is_aborted_for_good() -> None:
    running = State(episode=3, phase=Phase.CRITICAL, mode='online', since=10 * SECOND, critical_since=10 * SECOND)
    lost = step(running, Event.LOST, 9)
    assert (lost.phase, lost.outcome, lost.since, lost.ended) == (Phase.ENDED, 'abort', 10 * SECOND, (0, 0, 0))
    for label in (Event.SUCCESS, Event.UNDO):
        assert step(lost, label, 11) is lost
