"""The numbers of a run from steps and states."""

import pytest

from rlt_ros.monitor.statistics import RunStatistics, State, Step

PERIOD = 20_000_000
START = 1_764_000_000_000_000_000
SECOND = 1_000_000_000


class Run:
    """A robot that ticks at 50 Hz; stamps follow the ticks."""

    def __init__(self, setting='critical', **kwargs):
        self.statistics = RunStatistics(PERIOD, setting, **kwargs)
        self.tick, self.records, self.minutes = 0, [], 0.0
        self.state('idle', 0)

    def now(self):
        return START + self.tick * PERIOD

    def state(self, phase, episode, mode='online', outcome='', stamp=None):
        state = State(stamp or self.now(), episode, phase, mode, outcome, self.minutes)
        self.records += self.statistics.add_state(state, self.now())

    def steps(self, count, phase, episode, is_hold=False, error=1e-4, version=0):
        for _ in range(count):
            step = Step(self.tick, self.now(), episode, phase, is_hold, version, error)
            self.records += self.statistics.add_step(step)
            self.tick += 1

    def episode(self, number, steps, outcome='success', mode='online'):
        self.state('approach', number, mode)
        self.steps(10, 'approach', number)
        self.state('critical', number, mode)
        self.steps(steps, 'critical', number, version=number)
        self.minutes += steps * 0.02 / 60
        self.state('ended', number, mode, outcome)
        self.state('reset', number + 1, mode)
        self.steps(5, 'reset', number + 1)


def test_an_ended_episode_becomes_a_record():
    run = Run()
    run.episode(1, 100)
    assert len(run.records) == 1
    record = run.records[0]
    assert {key: record[key] for key in ('episode', 'mode', 'outcome', 'steps', 'policy_version')} == {
        'episode': 1,
        'mode': 'online',
        'outcome': 'success',
        'steps': 100,
        'policy_version': 1,
    }
    assert record['seconds'] == pytest.approx(2.0) and record['robot_minutes'] == pytest.approx(2 / 60)
    assert record['stamp'] == pytest.approx((START + 110 * PERIOD) * 1e-9)


def test_in_a_full_task_the_way_to_the_critical_phase_takes_time_too():
    """Also where it never arrived: who fails quickly is not quick."""
    run = Run('full')
    run.episode(1, 100)
    run.state('approach', 2)
    run.steps(300, 'approach', 2)
    run.state('ended', 2, outcome='timeout')
    run.steps(1, 'reset', 3)
    assert [(record['steps'], round(record['seconds'], 2)) for record in run.records] == [(110, 2.2), (300, 6.0)]
    assert run.statistics.outcome()['throughput_per_10min'] == pytest.approx(600 / 8.2)


def test_an_aborted_episode_is_neither_a_success_nor_a_failure():
    run = Run()
    run.episode(1, 100)
    run.episode(2, 100, outcome='abort')
    assert len(run.records) == 2 and run.statistics.outcome()['success_last_20'] == 1.0


def test_an_end_that_was_noticed_late_counts_only_steps_before_it_and_waits_for_those_under_way():
    run = Run()
    run.state('critical', 1)
    run.steps(50, 'critical', 1)
    run.state('ended', 1, outcome='success', stamp=START + 30 * PERIOD + 1)
    run.state('reset', 2)
    assert run.records == []
    run.steps(1, 'reset', 2)
    assert run.records[0]['steps'] == 31

    run = Run()
    run.state('critical', 1)
    run.steps(30, 'critical', 1)
    run.state('ended', 1, outcome='failure', stamp=START + 40 * PERIOD)
    run.state('reset', 2)
    run.steps(10, 'critical', 1)  # were on their way
    run.steps(1, 'reset', 2)
    assert [record['steps'] for record in run.records] == [40]


def test_steps_before_the_monitor_listened_count_too():
    run = Run()
    run.tick = 70
    run.state('critical', 1, stamp=START + 20 * PERIOD)  # the latched state tells when the phase began
    run.steps(30, 'critical', 1)
    run.state('ended', 1, outcome='success')
    run.steps(1, 'reset', 2)
    assert run.records[0]['steps'] == 80 and run.records[0]['seconds'] == pytest.approx(1.6)


def test_an_end_is_recorded_though_the_executor_stopped():
    run = Run()
    run.state('critical', 1)
    run.steps(30, 'critical', 1)
    run.state('ended', 1, outcome='abort')
    assert run.statistics.poll(run.now() + SECOND // 2) == []
    assert [record['steps'] for record in run.statistics.poll(run.now() + SECOND)] == [30]
    assert run.statistics.poll(run.now() + 2 * SECOND) == []
    run.state('critical', 2)
    run.state('ended', 2, outcome='abort')
    assert [(record['episode'], record['steps']) for record in run.statistics.close()] == [(2, 0)]


def test_missed_ticks_and_late_ones():
    run = Run()
    run.steps(10, 'critical', 1)
    run.tick += 3
    run.steps(10, 'critical', 1)
    run.steps(1, 'critical', 1, error=0.021)
    run.tick = 0  # the executor was started again
    run.steps(5, 'idle', 1)
    control = run.statistics.control()
    assert (control['ticks'], control['missed_ticks']) == (26, 4)
    assert control['deadline_error_ms']['max'] == pytest.approx(21)
    assert control['deadline_error_ms']['p50'] == pytest.approx(0.1, rel=0.02)


def test_missed_ticks_take_time():
    run = Run()
    run.state('critical', 1)
    run.steps(40, 'critical', 1)
    run.tick += 10
    run.steps(50, 'critical', 1)
    run.state('ended', 1, outcome='success')
    run.steps(1, 'reset', 2)
    assert run.records[0]['steps'] == 90 and run.records[0]['seconds'] == pytest.approx(2.0)


def test_holds_count_only_while_the_robot_should_move():
    run = Run()
    for phase in ('idle', 'reset', 'approach', 'critical', 'ended', 'finished'):
        run.steps(3, phase, 1, is_hold=True)
    assert run.statistics.control()['chunk_holds'] == 6


def test_how_it_goes_is_told_of_the_last_20_of_the_present_mode():
    run = Run()
    assert run.statistics.outcome()['success_last_20'] is None
    for number in range(1, 11):
        run.episode(number, 300, 'failure', 'evaluation')
    for number in range(11, 41):
        run.episode(number, 100 if number % 2 else 200, 'success' if number % 2 else 'timeout')
    outcome = run.statistics.outcome()
    assert outcome['episodes'] == 40 and outcome['mode'] == 'online' and outcome['episode'] == 41
    assert outcome['success_last_20'] == 0.5 and outcome['median_steps'] == 100
    assert outcome['throughput_per_10min'] == pytest.approx(600 * 10 / (10 * 2 + 10 * 4))
    assert not outcome['finished']
    run.state('finished', 41)
    assert run.statistics.outcome()['finished']


def test_a_corrected_label_gives_a_second_record():
    run = Run()
    run.episode(1, 100)
    run.state('ended', 1, outcome='success')  # told again: nothing new
    run.state('ended', 1, outcome='failure')
    assert [record['outcome'] for record in run.records] == ['success', 'failure']
    assert run.records[1]['steps'] == 100
    assert run.statistics.outcome()['success_last_20'] == 0.0


def test_going_on_from_what_was_written():
    run = Run()
    run.episode(1, 100)
    status = {**run.statistics.control(), 'deadline_histogram': run.statistics.deadline_errors.counts}
    again = Run(episodes=run.records, status=status)
    assert again.statistics.control() == run.statistics.control()
    again.episode(2, 50, 'failure')
    assert again.statistics.outcome()['episodes'] == 2 and again.statistics.outcome()['success_last_20'] == 0.5
    assert again.statistics.control()['ticks'] == run.statistics.control()['ticks'] + 65


@pytest.mark.parametrize('status', [{}, {'ticks': None, 'deadline_error_ms': None}, {'ticks': 'x'}])
def test_a_status_that_holds_nonsense_begins_at_nothing(status):
    assert RunStatistics(PERIOD, 'critical', status=status).control()['ticks'] == 0


def test_the_latched_end_of_an_episode_nobody_here_saw_is_not_counted():
    statistics = RunStatistics(PERIOD, 'critical')
    assert statistics.add_state(State(START, 5, 'ended', 'online', 'success'), START) == []
    assert statistics.poll(START + 10 * SECOND) == [] and statistics.close() == []
