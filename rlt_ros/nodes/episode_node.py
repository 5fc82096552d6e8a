"""Owns the episode: resets, starts, hands over, ends and labels it, and knows when there is enough data."""

from dataclasses import replace
from pathlib import Path
import sys
import time
from typing import Literal

from pydantic import Field
import rclpy
from rclpy.node import Node
from std_srvs.srv import Trigger

from rlt_ros.config import Method, RobotProfile, Strict, Task, load
from rlt_ros.episode.machine import MODES, Event, Phase, Plan, State, adopt, advance, is_finished, is_too_early
from rlt_ros.msg import EpisodeEvent, EpisodeState, ExecutedStep, ExecutorStatus, LearnerStatus
from rlt_ros.report.records import read_episodes
from rlt_ros.ros.node import ns_to_stamp, run, stamp_to_ns
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.qos import LATCHED, RELIABLE

NEEDED = ('observation', 'vla_output', 'rl_state')  # topics without which nothing starts
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


class Parameters(Strict):
    robot: str = Field(default='bimanual', description='robot profile, name or path')
    task: str = Field(default='ethernet', description='task, name or path')
    method: str = Field(default='rlt', description='method, name or path')
    minutes: float = Field(default=30.0, gt=0, le=10000, description='robot minutes to learn from, then finished')
    run_folder: str = Field(default='', description='the run whose episodes are counted on; empty: from nothing')
    reset: Literal['service', 'person'] = Field(
        default='service', description='service: call reset_robot and go; person: wait for episode/start'
    )
    reset_seconds: float = Field(default=0.5, ge=0, le=600, description='s the scene has to come to rest after a reset')
    shortest_seconds: float = Field(
        default=0.5, ge=0, le=60, description='s after the start of an episode in which no success counts'
    )


class EpisodeNode(Node):
    def __init__(self):
        super().__init__('episode_node')
        self.parameters = parameters = declare(self, Parameters)
        load(RobotProfile, parameters.robot)
        self.task, self.method = load(Task, parameters.task), load(Method, parameters.method)
        self.plan = Plan(
            self.method.evaluation_episodes, self.method.warmup_episodes, parameters.minutes,
            parameters.shortest_seconds,
        )  # fmt: skip
        self.state = restored(Path(parameters.run_folder)) if parameters.run_folder else State()
        self.policy_ready = False
        self.reset_call = None
        self.reset_done_at: float | None = None
        self.finished_at: float | None = None
        self.begun = False  # whether it is known what the robot does
        self.publisher = self.create_publisher(EpisodeState, 'episode_state', LATCHED)
        self.reset_client = self.create_client(Trigger, 'reset_robot')
        self.create_subscription(EpisodeEvent, 'episode_event', self.on_event, RELIABLE(10))
        self.create_subscription(ExecutorStatus, 'executor_status', self.on_executor, RELIABLE(10))
        self.create_subscription(LearnerStatus, 'learner_status', self.on_learner, RELIABLE(5))
        self.step_subscription = self.create_subscription(ExecutedStep, 'executed_step', self.on_step, RELIABLE(1))
        for event in SERVICES:
            self.create_service(
                Trigger, f'episode/{event}', lambda request, response, event=event: self.on_service(event, response)
            )
        self.create_timer(0.02, self.on_timer)

    def on_learner(self, message: LearnerStatus) -> None:
        self.policy_ready = message.policy_version > 0

    def on_executor(self, message: ExecutorStatus) -> None:
        """The executor alone knows whether the robot is stopped."""
        stopped = message.state == ExecutorStatus.ESTOP
        if self.begun and stopped != self.state.stopped:
            self.apply(Event.ESTOP if stopped else Event.REARM, time.time_ns(), 'executor')

    def on_step(self, message: ExecutedStep) -> None:
        """What the robot does as this process starts. Nothing is told before: the robot would follow it at once."""
        if self.begun:
            return
        self.begun, now = True, time.time_ns()
        self.enter(adopt(self.state, message.episode, message.phase, now, self.plan, self.policy_ready))
        if self.state.phase == Phase.ENDED:
            self.get_logger().warning(f'episode {self.state.episode} was left running: aborted')

    def on_event(self, message: EpisodeEvent) -> None:
        if message.event in FROM_OPERATOR:
            self.apply(FROM_OPERATOR[message.event], stamp_to_ns(message.header.stamp), message.source)

    def on_service(self, event: Event, response: Trigger.Response) -> Trigger.Response:
        before = self.state
        response.message = self.apply(event, time.time_ns(), 'service')
        response.success = self.state is not before
        return response

    def apply(self, event: Event, stamp: int, source: str = '') -> str:
        """Let an event happen; what came of it. `source`: who says so, '' for this node itself."""
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
        if new.phase != before.phase and new.phase == Phase.RESET:
            self.reset_call, self.reset_done_at = None, None
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
        state, now = self.state, time.time_ns()
        in_phase = (now - state.since) * 1e-9
        if state.phase == Phase.IDLE:
            if self.begun and all(self.count_publishers(topic) for topic in NEEDED):
                self.destroy_subscription(self.step_subscription)
                self.apply(Event.READY, now)
        elif state.phase == Phase.RESET:
            self.reset(now)
        elif state.phase == Phase.APPROACH:
            if in_phase >= self.task.handover_after:
                self.apply(Event.HANDOVER, now)
        elif state.phase == Phase.CRITICAL:
            if in_phase >= self.task.time_limit:
                self.apply(Event.TIMEOUT, state.since + round(self.task.time_limit * 1e9))
        elif state.phase == Phase.ENDED:
            self.apply(Event.FINISH if is_finished(state, self.plan) else Event.NEXT, now)
        elif time.monotonic() - self.finished_at > 1.0:  # everybody has heard it
            rclpy.shutdown()

    def reset(self, now: int) -> None:
        """Have the scene set up, then start; where a person does it, labels anew or has pressed the E-stop, wait."""
        undone = self.state.last is not None and self.state.last.undone
        if self.parameters.reset == 'person' or self.state.stopped or undone:
            return
        if self.reset_call is None:
            if self.reset_client.service_is_ready():
                self.reset_call = self.reset_client.call_async(Trigger.Request())
            else:
                self.get_logger().warning('waiting for the service reset_robot', throttle_duration_sec=5.0)
        elif self.reset_done_at is None:
            if self.reset_call.done():
                self.reset_done_at = time.monotonic()
        elif time.monotonic() - self.reset_done_at >= self.parameters.reset_seconds:
            self.apply(Event.START, now)


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
