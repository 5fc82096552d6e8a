"""episode_node as a process: what ends, counts and is told, by events, services, time, and kill -9."""

import json
import signal
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import pytest
import rclpy
from rclpy.task import Future
from std_srvs.srv import Trigger
import yaml

from rlt_ros.msg import (
    EpisodeEvent,
    EpisodeState,
    ExecutedStep,
    ExecutorStatus,
    LearnerStatus,
    Observation,
    RlState,
    VlaOutput,
)
from rlt_ros.ros.node import ns_to_stamp
from rlt_ros.ros.qos import EVERY_CHANGE, RELIABLE, STORED

METHOD = {'name': 'short', 'evaluation_episodes': 0, 'warmup_episodes': 100}
TASK = {'name': 'plug', 'instruction': 'plug it in', 'scene': 'ethernet', 'time_limit': 60.0, 'handover_after': 0.0}


class Rest:
    """Everything else of the graph, as far as episode_node hears of it. The executor follows the episode."""

    def __init__(self, bench):
        self.bench, self.states = bench, []
        self.resets, self.stopped = 0, False
        self.state, self.ticks, self.refusal = ExecutorStatus.IDLE, 1000, ''  # None: the executor says nothing
        self.reason = ''
        self.executing, self.driving = (0, 'idle'), True  # episode and phase; whether a started episode moves the arm
        self.deaf, self.answers = False, []  # deaf: a reset is answered once its future in `answers` is, if ever
        node = bench.node
        for kind, topic in ((Observation, 'observation'), (VlaOutput, 'vla_output'), (RlState, 'rl_state')):
            node.create_publisher(kind, topic, RELIABLE(1))
        self.status = node.create_publisher(ExecutorStatus, 'executor_status', RELIABLE(10))
        self.learner = node.create_publisher(LearnerStatus, 'learner_status', RELIABLE(5))
        self.events = node.create_publisher(EpisodeEvent, 'episode_event', RELIABLE(10))
        node.create_subscription(EpisodeState, 'episode_state', self.on_state, EVERY_CHANGE)
        node.create_service(Trigger, 'reset_robot', self.on_reset)
        node.create_timer(0.02, self.tick)

    def start(self, task=(), **parameters):
        (self.bench.folder / 'method.yaml').write_text(yaml.safe_dump(METHOD))
        (self.bench.folder / 'task.yaml').write_text(yaml.safe_dump({**TASK, **dict(task)}))
        files = {'method': './method.yaml', 'task': './task.yaml'}
        return self.bench.start('episode_node', **{'shortest_seconds': 0.0, **files, **parameters})

    def record(self):
        """Let there be a monitor."""
        self.monitor = rclpy.create_node('monitor_node', namespace='rlt', context=self.bench.context)
        self.monitor.create_subscription(ExecutedStep, 'executed_step', lambda step: None, STORED)

    def on_state(self, message):
        self.states.append(message)
        self.executing = message.episode, message.phase

    async def on_reset(self, request, response):
        self.resets += 1
        if self.deaf:
            self.answers.append(Future())
            await self.answers[-1]
        response.success, response.message = not self.refusal, self.refusal
        return response

    def tick(self):
        self.ticks += 1
        if self.state is not None:
            state = ExecutorStatus.ESTOP if self.stopped else self.state
            episode, phase = self.executing
            if state == ExecutorStatus.IDLE and self.driving and phase in ('approach', 'critical'):
                state = ExecutorStatus.VLA
            self.status.publish(ExecutorStatus(episode=episode, phase=phase, state=state, ticks=self.ticks,
                                               reason=self.reason))  # fmt: skip

    def phase(self):
        return self.states[-1].phase if self.states else ''

    def until(self, phase, episode=None):
        self.bench.until(lambda: self.phase() == phase and episode in (None, self.states[-1].episode))
        return self.states[-1]

    def ends(self):
        return [(s.episode, s.outcome) for s in self.states if s.phase == 'ended']

    def say(self, event, source='joy', ago=0.0):
        message = EpisodeEvent(event=event, source=source)
        message.header.stamp = ns_to_stamp(time.time_ns() - round(ago * 1e9))
        self.events.publish(message)

    def call(self, name):
        return self.bench.call(Trigger, f'episode/{name}')


@pytest.fixture
def rest(bench):
    return Rest(bench)


def test_nothing_starts_before_everything_is_up_then_an_episode_runs_by_itself(rest, bench):
    rest.state = None
    rest.start(task={'handover_after': 0.3, 'time_limit': 0.5}.items(), reset_seconds=0.0)
    bench.until(lambda: rest.events.get_subscription_count())
    bench.spin(1.0)
    assert not rest.states and not rest.resets
    rest.state = ExecutorStatus.INACTIVE
    rest.until('idle')
    bench.spin(0.5)
    assert rest.phase() == 'idle' and not rest.resets
    rest.state = ExecutorStatus.IDLE
    rest.until('reset', 2)
    first = [(s.episode, s.phase, s.outcome) for s in rest.states[:6]]
    assert first == [(0, 'idle', ''), (1, 'reset', ''), (1, 'approach', ''), (1, 'critical', ''),
                     (1, 'ended', 'timeout'), (2, 'reset', '')]  # fmt: skip
    assert rest.resets >= 1 and rest.states[4].robot_minutes == pytest.approx(0.5 / 60)


def test_an_approach_that_nobody_hands_over_is_given_up(rest, bench):
    rest.start(task={'handover_after': None, 'approach_limit': 0.3}.items(), reset_seconds=0.0)
    rest.until('reset', 2)
    first = [(s.episode, s.phase, s.outcome) for s in rest.states if s.episode == 1]
    assert first == [(1, 'reset', ''), (1, 'approach', ''), (1, 'ended', 'timeout')]
    assert rest.states[-1].robot_minutes == 0.0


def test_a_person_drives_it_all_by_services_and_undoes_a_label(rest, bench):
    rest.start(reset='person', task={'handover_after': 600.0}.items())
    rest.until('reset', 1)
    assert not rest.call('success').success and not rest.call('undo').success
    answer = rest.call('start')
    assert answer.success and answer.message == 'reset -> approach'
    assert rest.call('handover').success and rest.until('critical', 1)
    rest.say(EpisodeEvent.SUCCESS, ago=30.0)  # of an episode before
    bench.spin(0.3)
    assert rest.phase() == 'critical'
    assert rest.call('success').success
    rest.until('reset', 2)
    minutes = rest.states[-1].robot_minutes
    assert rest.call('failure').success is False, 'a second press'
    answer = rest.call('undo')
    assert answer.success and answer.message == 'episode 1: success -> abort'
    assert rest.until('reset', 2).robot_minutes == 0.0
    answer = rest.call('failure')
    assert answer.success and answer.message == 'episode 1: abort -> failure'
    rest.until('reset', 2)
    assert rest.ends() == [(1, 'success'), (1, 'abort'), (1, 'failure')]
    ends = [s for s in rest.states if s.phase == 'ended']
    assert len({(e.header.stamp.sec, e.header.stamp.nanosec, e.mode) for e in ends}) == 1
    assert [e.episodes_of_mode for e in ends] == [1, 0, 1]
    assert rest.states[-1].robot_minutes == pytest.approx(minutes)
    assert rest.call('start').success and not rest.call('undo').success
    rest.say(EpisodeEvent.HANDOVER, source='rule')
    rest.until('critical', 2)
    rest.say(EpisodeEvent.SUCCESS, source='oracle')
    rest.until('reset', 3)
    assert rest.ends()[-1] == (2, 'success') and not rest.resets


@pytest.mark.fault('press', 'ignored and said')
def test_a_press_in_the_first_moments_is_ignored_and_said(rest, bench):
    rest.start(reset='person', shortest_seconds=60.0)
    rest.until('reset', 1)
    rest.call('start')
    rest.until('critical')
    assert 'earlier than 60 s' in rest.call('success').message
    rest.say(EpisodeEvent.SUCCESS)
    bench.until(lambda: 'success by joy is ignored: earlier than 60 s' in bench.log('episode_node'))
    assert rest.phase() == 'critical' and rest.call('failure').success


def test_an_undo_stops_the_next_automatic_start_until_there_is_a_label(rest, bench):
    rest.start(reset_seconds=1.0)
    rest.until('critical', 1)
    rest.call('success')
    rest.until('reset', 2)
    assert rest.call('undo').success
    bench.spin(2.5)
    assert rest.phase() == 'reset'
    rest.call('success')
    rest.until('critical', 2)
    assert rest.ends() == [(1, 'success'), (1, 'abort'), (1, 'success')]


def test_the_e_stop_aborts_and_nothing_goes_on_before_the_re_arm(rest, bench):
    rest.start(reset_seconds=0.0)
    rest.until('critical', 1)
    rest.stopped = True
    rest.until('reset', 2)
    resets = rest.resets
    assert not rest.call('start').success
    bench.spin(1.0)
    assert rest.phase() == 'reset' and rest.resets == resets and rest.ends() == [(1, 'abort')]
    rest.stopped = False
    rest.until('critical', 2)


def test_what_was_set_up_before_an_e_stop_is_set_up_anew(rest, bench):
    rest.start(reset_seconds=1.0)
    bench.until(lambda: rest.resets == 1)
    rest.stopped = True
    bench.spin(1.5)
    rest.stopped = False
    rest.until('critical', 1)
    assert rest.resets == 2


@pytest.mark.parametrize('trouble', ['joints', 'camera'])
def test_no_episode_starts_while_the_robot_cannot_move(rest, bench, trouble):
    reports = bench.node.create_publisher(DiagnosticArray, '/diagnostics', RELIABLE(10))

    def told(level, text):
        status = DiagnosticStatus(name='/rlt/camera_node: observation', level=level, message=text)
        reports.publish(DiagnosticArray(status=[status]))

    rest.start(reset='person')
    bench.until(lambda: rest.phase() == 'reset' and reports.get_subscription_count())
    assert rest.call('start').success
    rest.until('critical', 1)
    rest.reason = 'IDLE: no joint states yet' if trouble == 'joints' else 'IDLE'
    told(DiagnosticStatus.STALE if trouble == 'camera' else DiagnosticStatus.OK, 'base: frozen')
    rest.call('abort')
    rest.until('reset', 2)
    bench.spin(0.3)
    answer = rest.call('start')
    assert not answer.success and ('no joint states yet' if trouble == 'joints' else 'base: frozen') in answer.message
    rest.reason = 'IDLE'
    told(DiagnosticStatus.OK, 'OK')
    bench.until(lambda: rest.call('start').success)


@pytest.mark.fault('stamps', 'an event from the future, or without a stamp, is meant now')
def test_events_of_wrong_clocks_are_meant_now(rest, bench):
    rest.start(reset='person')
    for number, ago in ((1, -3600.0), (2, time.time())):  # an hour ahead; no stamp
        rest.until('reset', number)
        rest.call('start')
        rest.until('critical', number)
        rest.say(EpisodeEvent.FAILURE, ago=ago)
        rest.until('reset', number + 1)
    assert rest.ends() == [(1, 'failure'), (2, 'failure')] and rest.states[-1].robot_minutes < 1.0


def test_a_run_begins_once_its_records_are_written(rest, bench):
    rest.start(run_folder=str(bench.folder / 'run'))
    bench.until(lambda: 'no episode starts: monitor_node does not listen' in bench.log('episode_node'))
    rest.until('idle')  # the log may be read before it is heard
    bench.spin(0.5)
    assert rest.phase() == 'idle' and not rest.resets
    rest.record()
    rest.until('critical', 1)


@pytest.mark.fault('restart', 'episode_node: the running episode is aborted, its number never comes again')
def test_after_kill_9_the_running_episode_is_aborted_and_its_number_never_comes_again(rest, bench):
    folder = bench.folder / 'run'
    folder.mkdir()
    line = {'episode': 6, 'mode': 'warmup', 'outcome': 'success', 'steps': 9, 'seconds': 1.0, 'robot_minutes': 0.25}
    (folder / 'episodes.jsonl').write_text(json.dumps(line) + '\n')
    rest.record()
    process = rest.start(run_folder=str(folder))
    rest.until('critical', 7)
    process.kill()
    process.wait()
    bench.processes.remove(process)
    rest.states.clear()
    rest.start(run_folder=str(folder))
    rest.until('critical', 8)
    assert rest.ends() == [(7, 'abort')]
    numbers = [s.episode for s in rest.states if s.phase == 'reset']
    assert numbers == [8] and rest.states[-1].robot_minutes == pytest.approx(0.25)
    assert 'episode 7 was left running: aborted' in bench.log('episode_node')


def test_a_reset_that_fails_is_said_and_tried_again_and_nothing_starts(rest, bench):
    rest.refusal = 'the drawer is stuck'
    reports = bench.listen(DiagnosticArray, '/diagnostics', RELIABLE(10))
    rest.start(reset_seconds=0.0)
    bench.until(lambda: rest.resets >= 2)
    assert [s.phase for s in rest.states] == ['idle', 'reset']
    assert bench.log('episode_node').count('reset_robot failed: the drawer is stuck') >= 1
    bench.until(lambda: any('the drawer is stuck' in s.message for m in reports for s in m.status))
    rest.refusal = ''
    rest.until('critical', 1)


def test_an_answer_to_a_reset_that_got_lost_is_not_waited_for_forever(rest, bench):
    rest.deaf = True
    rest.start(reset_seconds=0.0, reset_timeout=0.5)
    bench.until(lambda: 'reset_robot failed: no answer in 0.5 s' in bench.log('episode_node'))
    assert rest.phase() == 'reset'
    rest.deaf = False
    rest.until('critical', 1)


@pytest.mark.parametrize('pressed', [False, True])
def test_nothing_starts_while_the_reset_moves_the_arm(rest, bench, pressed):
    """Nor after an E-stop during the reset: what it was doing comes to its end, then the scene is set up anew."""
    rest.deaf = True
    rest.start(reset_seconds=0.0)
    bench.until(lambda: rest.answers)
    if pressed:
        for rest.stopped in (True, False):
            bench.spin(0.3)
    answer = rest.call('start')
    assert not answer.success and answer.message == 'the scene is being set up' and rest.resets == 1
    rest.deaf = False
    rest.answers[0].set_result(None)
    rest.until('critical', 1)
    assert rest.resets == 1 + pressed


@pytest.mark.fault('vla-hangs', 'an episode in which nothing drove the robot is aborted: it counts for nobody')
def test_an_episode_in_which_nothing_drove_the_robot_is_aborted(rest, bench):
    rest.driving, rest.reason = False, 'IDLE'
    rest.start(task={'time_limit': 0.3}.items(), reset_seconds=0.0)
    rest.until('reset', 3)
    assert rest.ends() == [(1, 'abort'), (2, 'abort')] and rest.states[-1].robot_minutes == 0.0
    assert 'episode 1 is aborted: nothing has driven the robot: IDLE' in bench.log('episode_node')
    rest.driving = True
    bench.until(lambda: rest.ends()[-1][1] == 'timeout')


def test_the_reset_waits_until_the_robot_stands(rest, bench):
    rest.state = ExecutorStatus.HOLD  # the ramp after a motion
    rest.start(reset_seconds=0.0)
    rest.until('reset', 1)
    bench.spin(0.5)
    assert not rest.resets
    rest.state = ExecutorStatus.IDLE
    rest.until('critical', 1)


def fall_silent(rest):
    rest.state = None


def begin_anew(rest):
    rest.ticks = 0


def become_inactive(rest):
    rest.state = ExecutorStatus.INACTIVE


@pytest.mark.parametrize('happens', [fall_silent, begin_anew, become_inactive])
def test_an_episode_whose_executor_is_lost_is_aborted_and_cannot_be_a_success(rest, bench, happens):
    rest.start(reset='person', reset_seconds=0.0)
    rest.until('reset', 1)
    rest.call('start')
    rest.until('critical', 1)
    happens(rest)
    rest.until('reset', 2)
    assert rest.ends() == [(1, 'abort')] and 'episode 1 is aborted: the executor' in bench.log('episode_node')
    assert not rest.call('success').success and not rest.call('undo').success
    assert rest.ends() == [(1, 'abort')]
    bench.until(lambda: rest.call('start').success is (happens is begin_anew))  # no other one starts without it
    rest.state = ExecutorStatus.IDLE
    bench.until(lambda: rest.phase() == 'critical' or rest.call('start').success)
    rest.until('critical', 2)


def test_an_executor_may_be_silent_for_as_long_as_it_is_told(rest, bench):
    rest.start(reset='person', reset_seconds=0.0, executor_silence=5.0)
    rest.until('reset', 1)
    rest.call('start')
    rest.until('critical', 1)
    fall_silent(rest)
    bench.spin(1.0)
    rest.state = ExecutorStatus.IDLE
    bench.spin(0.5)
    assert rest.phase() == 'critical' and rest.ends() == []


def test_deactivated_it_aborts_the_episode_and_goes_on_when_it_is_activated_again(rest, bench):
    rest.start(reset_seconds=0.0)
    rest.until('critical', 1)
    assert bench.change('episode_node', 'deactivate')
    bench.until(lambda: rest.ends() == [(1, 'abort')])
    assert rest.call('start').message == 'this node is inactive'
    resets = rest.resets
    bench.spin(0.5)
    assert rest.resets == resets and rest.phase() == 'ended'
    rest.state = ExecutorStatus.INACTIVE
    assert bench.change('episode_node', 'activate')
    rest.until('reset', 2)
    bench.spin(0.5)
    assert rest.phase() == 'reset' and rest.resets == resets
    rest.state = ExecutorStatus.IDLE
    rest.until('critical', 2)


def test_ctrl_c_under_way_aborts_the_episode(rest, bench):
    process = rest.start(reset_seconds=0.0)
    rest.until('critical', 1)
    process.send_signal(signal.SIGINT)
    bench.until(lambda: process.poll() == 0)
    assert rest.ends() == [(1, 'abort')]
