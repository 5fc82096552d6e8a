"""The episode as people and nodes see it: every event in every phase, and what counts."""

from dataclasses import replace
from pathlib import Path

import pytest

from rlt_ros.episode.machine import Event, Phase, Plan, State, advance, is_finished
from rlt_ros.nodes.episode_node import restored

PLAN = Plan(evaluation_episodes=2, warmup_episodes=3, goal_minutes=1.0)
LABELS = (Event.SUCCESS, Event.FAILURE, Event.TIMEOUT, Event.ABORT)
ALLOWED = {
    (Phase.IDLE, Event.READY): Phase.RESET,
    (Phase.RESET, Event.START): Phase.APPROACH,
    (Phase.RESET, Event.FINISH): Phase.FINISHED,
    (Phase.APPROACH, Event.HANDOVER): Phase.CRITICAL,
    **{(phase, label): Phase.ENDED for phase in (Phase.APPROACH, Phase.CRITICAL) for label in LABELS},
    (Phase.ENDED, Event.NEXT): Phase.RESET,
    (Phase.ENDED, Event.FINISH): Phase.FINISHED,
}
SECOND = 1_000_000_000


@pytest.mark.parametrize('phase', list(Phase))
@pytest.mark.parametrize('event', list(Event))
def test_every_event_in_every_phase(phase: Phase, event: Event) -> None:
    state = State(episode=4, phase=phase, mode='online', since=5, critical_since=5)
    after = advance(state, event, 9, PLAN, policy_ready=True)
    expected = ALLOWED.get((phase, event))
    if expected is None:
        assert after == state
        return
    assert (after.phase, after.since) == (expected, 9)
    assert after.episode == (5 if expected == Phase.RESET else 4)
    assert after.outcome == (event.value if expected == Phase.ENDED else '')


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
    state = State(episode=3, phase=Phase.CRITICAL, mode='online', since=100)
    assert advance(state, Event.SUCCESS, 99, PLAN, True) == state
    assert advance(state, Event.SUCCESS, 100, PLAN, True).phase == Phase.ENDED


def test_an_interrupted_run_goes_on_where_its_file_ends(tmp_path: Path) -> None:
    path = tmp_path / 'episodes.jsonl'
    assert restored(path) == State()
    line = '{{"episode": {}, "mode": "{}", "outcome": "{}", "robot_minutes": {}}}'
    rows = [
        (1, 'evaluation', 'success', 0.0),
        (2, 'warmup', 'failure', 0.1),
        (3, 'warmup', 'abort', 0.1),
        (4, 'online', 'success', 0.25),
    ]
    text = '\n'.join(line.format(*row) for row in rows)
    path.write_text(text + '\n{"episode": 5, "mode": "onl')
    state = restored(path)
    assert (state.episode, state.ended, state.stored_seconds) == (4, (1, 1, 1), pytest.approx(15))
    assert advance(state, Event.READY, 0, PLAN, False).episode == 5
    path.write_bytes(text.encode() + b'\n[1]\n"text"\n{"episode": "\xff')
    assert restored(path).episode == 4
