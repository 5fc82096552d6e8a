"""Whatever is pressed, said late, said twice or killed: numbers, labels and counts of the episodes stay true."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
import pytest

from rlt_ros.episode.machine import ACTING, MODES, UNDO_SECONDS, Ended, Event, Phase, Plan, State, adopt, advance

PLAN = Plan(evaluation_episodes=1, warmup_episodes=1, goal_minutes=0.5, shortest_seconds=0.5)


class Run(RuleBasedStateMachine):
    """Keeps its own books of what a person would say happened."""

    def __init__(self):
        super().__init__()
        self.state, self.now, self.ready = State(), 1_000_000_000, False
        self.ends: dict[int, Ended] = {}  # the last label of every episode
        self.numbers: list[int] = []  # of resets

    @rule(seconds=st.sampled_from([0.0, 0.02, 0.3, 1.0, 5.0, UNDO_SECONDS]))
    def wait(self, seconds):
        self.now += round(seconds * 1e9)

    @rule()
    def first_policy(self):
        self.ready = True

    @rule(event=st.sampled_from(list(Event)), late=st.sampled_from([0.0, 0.0, 0.0, 0.01, 2.0]))
    def happens(self, event, late):
        self.take(event, advance(self.state, event, self.now - round(late * 1e9), PLAN, self.ready))

    @rule(label=st.sampled_from([Event.SUCCESS, Event.FAILURE, Event.TIMEOUT, Event.ABORT, Event.ESTOP]))
    def whole_episode(self, label):
        for event in (Event.REARM, Event.READY, Event.NEXT, Event.START, Event.HANDOVER, label):
            self.now += 1_000_000_000
            self.happens(event, 0.0)

    @rule()
    def owner_restarts(self):
        """From the file, which has every end, and from what the robot does."""
        old = self.state
        file = State(max(self.ends, default=0), ended=old.ended, stored_seconds=old.stored_seconds)
        self.state = adopt(file, old.episode, old.phase, self.now, PLAN, self.ready)
        if old.phase in ACTING:
            assert (self.state.episode, self.state.outcome) == (old.episode, 'abort')
            self.ends[old.episode] = Ended(old.episode, self.state.mode, 'abort', self.now, 0.0)

    def take(self, event, new):
        old, self.state = self.state, new
        if new.phase == Phase.RESET != old.phase:
            self.numbers.append(new.episode)
        if event == Event.LOST and old.phase in ACTING:  # an abort for good
            assert new.last is None and (new.episode, new.outcome) == (old.episode, 'abort')
            self.ends[old.episode] = Ended(old.episode, old.mode, 'abort', self.now, 0.0)
        if new.last == old.last or new.last is None:
            return
        end, before = new.last, self.ends.get(new.last.episode)
        if before is None:
            assert old.phase in ACTING and end.episode == old.episode == new.episode
            assert end.outcome == ('abort' if event == Event.ESTOP else event)
            assert end.outcome != 'success' or end.stamp - old.started >= PLAN.shortest_seconds * 1e9
        else:
            assert old.phase in (Phase.ENDED, Phase.RESET) and end.episode == max(self.ends)
            assert (end.mode, end.stamp, end.seconds) == (before.mode, before.stamp, before.seconds)
            assert end.outcome == ('abort' if event == Event.UNDO else event)
            assert before.undone or event == Event.UNDO, 'a label changes only after an undo'
        self.ends[end.episode] = end

    @invariant()
    def no_number_comes_twice(self):
        assert self.numbers == sorted(set(self.numbers))
        assert self.state.episode >= max(self.ends, default=0)

    @invariant()
    def every_episode_counts_once_with_its_last_label(self):
        counted = [end for end in self.ends.values() if end.outcome != 'abort']
        assert self.state.ended == tuple(sum(end.mode == mode for end in counted) for mode in MODES)
        assert self.state.stored_seconds == pytest.approx(sum(end.seconds for end in counted), abs=1e-6)
        assert min(self.state.ended) >= 0 and self.state.stored_seconds >= 0
        assert all(end.seconds >= 0 for end in counted)

    @invariant()
    def the_phase_and_what_is_told_of_it_agree(self):
        state = self.state
        assert (state.outcome != '') == (state.phase == Phase.ENDED)
        if state.phase == Phase.ENDED:
            assert state.outcome == self.ends[state.episode].outcome
        assert state.last is None or state.phase in (Phase.ENDED, Phase.RESET)


TestRun = Run.TestCase
TestRun.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
