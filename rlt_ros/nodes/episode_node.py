"""Owns the episode: resets, starts, hands over, ends and labels it, and knows when there is enough data."""

import json
from pathlib import Path
import sys
import time
from typing import Literal

from pydantic import Field
import rclpy
from rclpy.node import Node
from std_srvs.srv import Trigger

from rlt_ros.config import Method, RobotProfile, Strict, Task, load
from rlt_ros.episode.machine import MODES, Event, Phase, Plan, State, advance, is_finished
from rlt_ros.msg import EpisodeEvent, EpisodeState, LearnerStatus
from rlt_ros.ros.node import ns_to_stamp, run, stamp_to_ns
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.qos import LATCHED, RELIABLE

NEEDED = ('observation', 'vla_output', 'rl_state', 'executed_step')  # topics without which nothing starts
FROM_OPERATOR = {
    EpisodeEvent.START: Event.START,
    EpisodeEvent.HANDOVER: Event.HANDOVER,
    EpisodeEvent.SUCCESS: Event.SUCCESS,
    EpisodeEvent.FAILURE: Event.FAILURE,
    EpisodeEvent.TIMEOUT: Event.TIMEOUT,
    EpisodeEvent.ABORT: Event.ABORT,
}


class Parameters(Strict):
    robot: str = Field(default='bimanual', description='robot profile, name or path')
    task: str = Field(default='ethernet', description='task, name or path')
    method: str = Field(default='rlt', description='method, name or path')
    minutes: float = Field(default=30.0, gt=0, le=10000, description='robot minutes to learn from, then finished')
    run_folder: str = Field(default='', description='where an interrupted run left its episodes')
    resume: bool = Field(default=False, description='count on from the run folder')
    reset: Literal['service', 'person'] = Field(
        default='service', description='service: call reset_robot and go; person: wait for episode/start'
    )
    reset_seconds: float = Field(default=0.5, ge=0, le=600, description='s the scene has to come to rest after a reset')


class EpisodeNode(Node):
    def __init__(self):
        super().__init__('episode_node')
        self.parameters = parameters = declare(self, Parameters)
        load(RobotProfile, parameters.robot)
        self.task, self.method = load(Task, parameters.task), load(Method, parameters.method)
        self.plan = Plan(self.method.evaluation_episodes, self.method.warmup_episodes, parameters.minutes)
        self.state = State()
        if parameters.resume and parameters.run_folder:
            self.state = restored(Path(parameters.run_folder) / 'episodes.jsonl')
        self.policy_ready = False
        self.reset_call = None
        self.reset_done_at: float | None = None
        self.finished_at: float | None = None
        self.publisher = self.create_publisher(EpisodeState, 'episode_state', LATCHED)
        self.reset_client = self.create_client(Trigger, 'reset_robot')
        self.create_subscription(EpisodeEvent, 'episode_event', self.on_event, RELIABLE(10))
        self.create_subscription(LearnerStatus, 'learner_status', self.on_learner, RELIABLE(5))
        for name, event in (
            ('start', Event.START), ('handover', Event.HANDOVER), ('success', Event.SUCCESS),
            ('failure', Event.FAILURE), ('abort', Event.ABORT),
        ):  # fmt: skip
            self.create_service(
                Trigger, f'episode/{name}', lambda request, response, event=event: self.on_service(event, response)
            )
        self.publish()
        self.create_timer(0.02, self.on_timer)

    def on_learner(self, message: LearnerStatus) -> None:
        self.policy_ready = message.policy_version > 0

    def on_event(self, message: EpisodeEvent) -> None:
        if message.event in FROM_OPERATOR:
            self.apply(FROM_OPERATOR[message.event], stamp_to_ns(message.header.stamp))

    def on_service(self, event: Event, response: Trigger.Response) -> Trigger.Response:
        before = self.state.phase
        self.apply(event, time.time_ns())
        response.success = self.state.phase != before
        response.message = f'{before} -> {self.state.phase}' if response.success else f'not possible in phase {before}'
        return response

    def apply(self, event: Event, stamp: int) -> None:
        new = advance(self.state, event, stamp, self.plan, self.policy_ready)
        if new is self.state:
            return
        self.state = new
        self.publish()
        if new.phase == Phase.RESET:
            self.reset_call, self.reset_done_at = None, None
        elif new.phase == Phase.FINISHED:
            self.finished_at = time.monotonic()
            self.get_logger().info(f'finished after {new.stored_seconds / 60:.1f} robot minutes')

    def publish(self) -> None:
        state = self.state
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
            if all(self.count_publishers(topic) for topic in NEEDED):
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
        """Have the scene set up, then start; where a person does it, wait."""
        if self.parameters.reset == 'person':
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


def restored(path: Path) -> State:
    """Where an interrupted run stood; a torn last line is left out."""
    state = State()
    if not path.is_file():
        return state
    for line in path.read_text(errors='replace').splitlines():
        try:
            record = json.loads(line)
            counts = list(state.ended)
            if record['outcome'] != 'abort':
                counts[MODES.index(record['mode'])] += 1
            seconds = 60 * record['robot_minutes']
            state = State(episode=record['episode'], ended=tuple(counts), stored_seconds=seconds)
        except (KeyError, TypeError, ValueError):
            continue
    return state


def main() -> int:
    return run(EpisodeNode)


if __name__ == '__main__':
    sys.exit(main())
