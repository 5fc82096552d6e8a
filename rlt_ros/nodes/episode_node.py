"""Owns the episode: resets, starts, hands over, ends and labels it, and knows when there is enough data."""

from dataclasses import replace
from pathlib import Path
import sys
import time
from typing import Literal

from diagnostic_msgs.msg import DiagnosticArray
from pydantic import Field
from std_srvs.srv import Trigger

from rlt_ros.config import Method, Task, load
from rlt_ros.episode.machine import ACTING, MODES, Event, Phase, Plan, State, adopt, advance, is_finished, is_too_early
from rlt_ros.msg import EpisodeEvent, EpisodeState, ExecutorStatus, LearnerStatus
from rlt_ros.report.records import read_episodes
from rlt_ros.ros.diagnostics import OK, STALE, WARN, Diagnostics
from rlt_ros.ros.lifecycle import Managed, ManagedNode
from rlt_ros.ros.node import ns_to_stamp, run, stamp_to_ns
from rlt_ros.ros.qos import LATCHED, RELIABLE

PERIOD = 0.02  # s
RESET_RETRY = 2.0  # s after a reset that failed
RECORDER = 'monitor_node'  # writes the run's episodes; only the first waits for it
NEEDED = ('observation', 'vla_output', 'rl_state')  # topics without which nothing starts
DRIVING = (ExecutorStatus.VLA, ExecutorStatus.ACTOR, ExecutorStatus.HUMAN)
SILENT = 'the executor is silent'
FROM_OPERATOR = {
    EpisodeEvent.START: Event.START,
    EpisodeEvent.HANDOVER: Event.HANDOVER,
    EpisodeEvent.SUCCESS: Event.SUCCESS,
    EpisodeEvent.FAILURE: Event.FAILURE,
    EpisodeEvent.TIMEOUT: Event.TIMEOUT,
    EpisodeEvent.ABORT: Event.ABORT,
    EpisodeEvent.UNDO: Event.UNDO,
}
SERVICES = (Event.START, Event.HANDOVER, Event.SUCCESS, Event.FAILURE, Event.ABORT, Event.UNDO)


class Parameters(Managed):
    task: str = Field(default='ethernet', description='task, name or path')
    method: str = Field(default='rlt', description='method, name or path')
    minutes: float = Field(default=30.0, gt=0, le=10000, description='robot minutes to learn from, then finished')
    run_folder: str = Field(default='', description='the run whose episodes are counted on; empty: from nothing')
    reset: Literal['service', 'person'] = Field(
        default='service', description='service: call reset_robot and go; person: wait for episode/start'
    )
    reset_seconds: float = Field(default=0.5, ge=0, le=600, description='s the scene has to come to rest after a reset')
    reset_timeout: float = Field(
        default=120.0, gt=0, le=3600, description='s without an answer of reset_robot after which it is asked again'
    )
    executor_silence: float = Field(
        default=0.3, ge=0.2, le=10, description='s without a word of the executor, which speaks ten times a second, '
        'after which it counts as lost and a running episode is aborted'
    )  # fmt: skip
    shortest_seconds: float = Field(
        default=0.5, ge=0, le=60, description='s after the start of an episode in which no success counts'
    )


class EpisodeNode(ManagedNode):
    """Tells everybody about the episode while it is active; one that runs when it stops being that is aborted."""

    Parameters = Parameters

    def __init__(self):
        super().__init__('episode_node')

    def configure(self, parameters: Parameters) -> None:
        self.task, self.method = load(Task, parameters.task), load(Method, parameters.method)
        self.plan = Plan(
            self.method.evaluation_episodes, self.method.warmup_episodes, parameters.minutes,
            parameters.shortest_seconds,
        )  # fmt: skip
        # Calls of the timer and not seconds: when this process itself stood still, it has only not listened.
        self.lost_after = round(parameters.executor_silence / PERIOD)
        self.state = restored(Path(parameters.run_folder)) if parameters.run_folder else State()
        self.policy_ready = False
        self.finished_at: float | None = None
        self.executor_status: ExecutorStatus | None = None
        self.stale = ''  # what is wrong with the observations
        self.waiting = ''  # why nothing starts
        self.diagnostics = Diagnostics(self)
        self.reset_client = self.create_client(Trigger, 'reset_robot')
        self.create_subscription(EpisodeEvent, 'episode_event', self.on_event, RELIABLE(10))
        self.create_subscription(ExecutorStatus, 'executor_status', self.on_executor, RELIABLE(10))
        self.create_subscription(LearnerStatus, 'learner_status', self.on_learner, RELIABLE(5))
        self.create_subscription(DiagnosticArray, '/diagnostics', self.on_diagnostics, RELIABLE(10))
        for event in SERVICES:
            self.create_service(
                Trigger, f'episode/{event}', lambda request, response, event=event: self.on_service(event, response)
            )

    def activate(self) -> None:
        self.entered = time.monotonic()  # the phase
        self.begun = False  # whether it is known what the robot does
        self.unheard = self.lost_after  # calls of the timer since the executor's last word
        self.driven = False  # whether anybody has driven the robot in this phase
        self.reset_call = None
        self.set_up_anew()
        self.publisher = self.create_publisher(EpisodeState, 'episode_state', LATCHED)
        self.create_timer(PERIOD, self.on_timer)
        self.create_timer(1.0, self.report)

    def deactivate(self) -> None:
        if self.state.phase in ACTING:
            self.apply(Event.LOST, time.time_ns(), 'deactivation')

    def set_up_anew(self) -> None:
        """The next reset is still to be asked for; one that is at work does not count, and comes to its end first."""
        self.reset_done_at, self.reset_not_before = None, 0.0
        self.reset_call = self.reset_call if self.resetting() else None
        self.reset_outdated = self.reset_call is not None

    def resetting(self) -> bool:
        """Whether reset_robot is at work, and may be moving the arm."""
        return self.reset_call is not None and not self.reset_call.done() and self.reset_client.service_is_ready()

    def settling(self) -> bool:
        """Whether the scene still has to come to rest after a reset."""
        done_at = self.reset_done_at
        return done_at is not None and time.monotonic() - done_at < self.parameters.reset_seconds

    def on_learner(self, message: LearnerStatus) -> None:
        self.policy_ready = message.policy_version > 0

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f'{self.get_namespace().rstrip("/")}/camera_node: observation':
                self.stale = f'observations are stale: {status.message}' if status.level == STALE else ''

    def on_executor(self, message: ExecutorStatus) -> None:
        """The executor alone knows whether the robot is stopped; one that began anew knows nothing of the episode."""
        before, self.executor_status, self.unheard = self.executor_status, message, 0
        if not self.active:
            return
        here = (message.episode, message.phase) == (self.state.episode, self.state.phase)
        self.driven |= here and message.state in DRIVING
        if not self.begun:
            self.begin(message)
        if before is not None and message.ticks < before.ticks:
            self.lose('the executor began anew')
        elif message.state == ExecutorStatus.INACTIVE:
            self.lose('the executor is inactive')
        stopped = message.state == ExecutorStatus.ESTOP
        if stopped != self.state.stopped:
            self.apply(Event.ESTOP if stopped else Event.REARM, time.time_ns(), 'executor')
            self.set_up_anew()  # what was set up before a person pressed it may not be so any more

    def lose(self, why: str) -> None:
        """Nobody knows what the robot did: a running episode is aborted, and cannot be labelled anew."""
        if self.state.phase in ACTING:
            self.get_logger().error(f'episode {self.state.episode} is aborted: {why}')
            self.apply(Event.LOST, time.time_ns())

    def begin(self, executing: ExecutorStatus) -> None:
        """Take up what the robot does as this node becomes active. Nothing is told before: it would follow at once.

        After a pause of this node only what it does not know already is news.
        """
        self.begun, self.waiting, before = True, '', self.state
        self.enter(adopt(before, executing.episode, executing.phase, time.time_ns(), self.plan, self.policy_ready))
        if self.state is not before and self.state.phase == Phase.ENDED:
            self.get_logger().warning(f'episode {self.state.episode} was left running: aborted')

    def now(self) -> int:
        """ns, the robot's clock, never before the phase began: somebody may have set it back."""
        return max(time.time_ns(), self.state.since)

    def on_event(self, message: EpisodeEvent) -> None:
        if self.active and message.event in FROM_OPERATOR:
            stamp, now = stamp_to_ns(message.header.stamp), self.now()
            self.apply(FROM_OPERATOR[message.event], stamp if 0 < stamp < now else now, message.source)

    def on_service(self, event: Event, response: Trigger.Response) -> Trigger.Response:
        if not self.active:
            response.message = f'this node is {self.label}'
            return response
        before = self.state
        response.message = self.apply(event, self.now(), 'service')
        response.success = self.state is not before
        return response

    def apply(self, event: Event, stamp: int, source: str = '') -> str:
        """Let an event happen; what came of it. `source`: who says so, '' for this node itself."""
        if event == Event.START and (why := self.blocked()):
            self.say_waiting(why)
            return why
        if event == Event.START and (self.resetting() or self.settling()):
            return 'the scene is being set up'
        before, new = self.state, advance(self.state, event, stamp, self.plan, self.policy_ready)
        if new is before:
            early = is_too_early(before, event, stamp, self.plan)
            why = f'earlier than {self.plan.shortest_seconds:g} s' if early else f'not possible in phase {before.phase}'
            self.get_logger().info(f'{event} by {source or "time"} is ignored: {why}')
            return why
        self.enter(new)
        if event == Event.UNDO and new.phase == Phase.RESET:
            self.get_logger().info('label undone: give another one, or start the next episode')
        if before.last and new.last and before.last.outcome != new.last.outcome:
            return f'episode {new.last.episode}: {before.last.outcome} -> {new.last.outcome}'
        return f'{before.phase} -> {new.phase}'

    def enter(self, new: State) -> None:
        """Take up a state and tell it."""
        before, self.state = self.state, new
        if before.last and new.last and before.last.outcome != new.last.outcome:
            last = new.last
            self.publish(replace(
                new, episode=last.episode, phase=Phase.ENDED, mode=last.mode, outcome=last.outcome, since=last.stamp
            ))  # fmt: skip
        self.publish(new)
        if new.phase in ACTING:
            self.waiting = ''
        if new.phase != before.phase:  # by a clock that nobody sets
            self.driven = False
            self.entered = time.monotonic() - max(0, time.time_ns() - new.since) * 1e-9
        if new.phase != before.phase and new.phase == Phase.RESET:
            self.set_up_anew()
        elif new.phase == Phase.FINISHED:
            self.finished_at = time.monotonic()
            self.get_logger().info(f'finished after {new.stored_seconds / 60:.1f} robot minutes')

    def publish(self, state: State) -> None:
        message = EpisodeState(
            episode=state.episode, phase=state.phase.value, mode=state.mode, outcome=state.outcome,
            task=self.task.name, method=self.method.name, robot_minutes=state.stored_seconds / 60,
            goal_minutes=self.plan.goal_minutes, episodes_of_mode=state.ended[MODES.index(state.mode)],
        )  # fmt: skip
        message.header.stamp = ns_to_stamp(state.since or time.time_ns())
        self.publisher.publish(message)

    def on_timer(self) -> None:
        """What time alone brings about."""
        self.unheard += 1
        if not self.begun:
            self.say_waiting(SILENT)
            return
        if self.unheard >= self.lost_after:
            self.lose(SILENT)
        state, now, in_phase = self.state, self.now(), time.monotonic() - self.entered
        if state.phase == Phase.IDLE:
            if why := self.blocked() or self.unrecorded():
                self.say_waiting(why)
            else:
                self.apply(Event.READY, now)
        elif state.phase == Phase.RESET:
            self.reset(now)
        elif state.phase == Phase.APPROACH:
            if self.task.hands_over(in_phase):
                self.apply(Event.HANDOVER, now)
            else:
                self.time_up(in_phase)
        elif state.phase == Phase.CRITICAL:
            self.time_up(in_phase)
        elif state.phase == Phase.ENDED:
            self.apply(Event.FINISH if is_finished(state, self.plan) else Event.NEXT, now)
        elif time.monotonic() - self.finished_at > 1.0:  # everybody has heard it
            self.done = True

    def time_up(self, in_phase: float) -> None:
        """End the episode once it has been in its phase for too long: as of then, however late this is noticed.

        Where nobody has driven in all that time it says nothing of who should have, and is aborted.
        """
        limit = self.task.limit(self.state.phase)
        if in_phase >= limit and not self.driven:
            self.lose(f'nothing has driven the robot: {self.executor_status.reason}')
        elif in_phase >= limit:
            self.apply(Event.TIMEOUT, self.state.since + round(limit * 1e9))

    def blocked(self) -> str:
        """Why no episode may start, '' if one may."""
        if self.executor_status is None or self.unheard >= self.lost_after:
            return SILENT
        if self.executor_status.state == ExecutorStatus.INACTIVE:
            return 'the executor is inactive'
        if fault := self.executor_status.reason.partition('IDLE: ')[2] or self.stale:
            return fault
        silent = [topic for topic in NEEDED if not self.count_publishers(topic)]
        return f'nobody publishes {", ".join(silent)}' if silent else ''

    def unrecorded(self) -> str:
        """Why what happens would be missing in the run's records, '' if it is not."""
        listeners = self.get_subscriptions_info_by_topic('executed_step')
        if not self.parameters.run_folder or any(info.node_name == RECORDER for info in listeners):
            return ''
        return f'{RECORDER} does not listen'

    def say_waiting(self, why: str) -> None:
        """Nothing starts: a person sees why, in the log once and on /diagnostics as long as it lasts."""
        if why and why != self.waiting:
            self.get_logger().info(f'no episode starts: {why}')
        self.waiting = why

    def reset(self, now: int) -> None:
        """Have the scene set up once the robot stands, then start.

        Where a person does it, labels anew or has pressed the E-stop, wait. A reset that fails is tried again later.
        """
        undone = self.state.last is not None and self.state.last.undone
        if self.parameters.reset == 'person' or self.state.stopped or undone:
            self.waiting = ''
            return
        why = self.blocked()
        if why or time.monotonic() < self.reset_not_before:
            self.say_waiting(why or self.waiting)
        elif self.reset_call is None:
            if self.executor_status.state != ExecutorStatus.IDLE:
                return  # the robot comes to rest first
            if self.reset_client.service_is_ready():
                self.reset_call = self.reset_client.call_async(Trigger.Request())
                self.reset_asked_at = time.monotonic()
            else:
                self.say_waiting('there is no service reset_robot')
        elif self.reset_done_at is None:
            if self.reset_call.done() and self.reset_outdated:
                self.set_up_anew()
            elif self.reset_call.done():
                self.take_reset(self.reset_call.result())
            elif not self.reset_client.service_is_ready():
                self.retry_reset('the service ended before it answered')
            elif time.monotonic() - self.reset_asked_at >= self.parameters.reset_timeout:
                self.retry_reset(f'no answer in {self.parameters.reset_timeout:g} s')
        elif not self.settling():
            self.apply(Event.START, now)

    def take_reset(self, answer: Trigger.Response) -> None:
        if answer.success:
            self.reset_done_at, self.waiting = time.monotonic(), ''
        else:
            self.retry_reset(answer.message or 'no reason given')

    def retry_reset(self, why: str) -> None:
        self.reset_call = None
        self.set_up_anew()
        self.reset_not_before = time.monotonic() + RESET_RETRY
        self.waiting = f'reset_robot failed: {why}'
        self.get_logger().error(f'{self.waiting}; again in {RESET_RETRY:g} s')

    def report(self) -> None:
        values = {'episode': self.state.episode, 'phase': self.state.phase.value}
        self.diagnostics.add('', WARN if self.waiting else OK, self.waiting or self.state.phase.value, values)
        self.diagnostics.publish()


def restored(run_folder: Path) -> State:
    """Where a run stands that began in another process."""
    state = State()
    for record in read_episodes(run_folder):
        counts = list(state.ended)
        if record['outcome'] != 'abort' and record['mode'] in MODES:
            counts[MODES.index(record['mode'])] += 1
        state = State(episode=record['episode'], ended=tuple(counts), stored_seconds=60 * record['robot_minutes'])
    return state


def main() -> int:
    return run(EpisodeNode)


if __name__ == '__main__':
    sys.exit(main())
