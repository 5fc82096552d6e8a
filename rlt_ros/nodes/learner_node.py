"""Joins states and executed steps into transitions, keeps them, learns from them, publishes the actor."""

from dataclasses import replace
from itertools import groupby
import math
from pathlib import Path
import sys
import time

import numpy as np
from pydantic import Field
from rclpy.node import Node
import torch

from rlt_ros.config import Method, RobotProfile, Strict, Task, learned_with, load
from rlt_ros.errors import UserError
from rlt_ros.msg import EpisodeState, ExecutedStep, LearnerStatus, Policy, RlState
from rlt_ros.rl import checkpoint
from rlt_ros.rl.assembly import Assembly, kept
from rlt_ros.rl.journal import Journal
from rlt_ros.rl.learner import Learner, sizes_of
from rlt_ros.rl.transitions import Step, Transition, TransitionBuilder
from rlt_ros.ros.diagnostics import ERROR, OK, Diagnostics
from rlt_ros.ros.messages import seen_from_message
from rlt_ros.ros.node import fill_array, run, stamp_to_ns
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.qos import EVERY_CHANGE, LATCHED, RELIABLE, STORED
from rlt_ros.vla import normalisation
from rlt_ros.weights_files import path_of

SLICE = 0.02  # s of updates between looks at the messages
CHECKPOINT_PERIOD = 30.0  # s


class Parameters(Strict):
    robot: str = Field(default='bimanual', description='robot profile, name or path')
    task: str = Field(default='ethernet', description='task, name or path')
    method: str = Field(default='rlt', description='method, name or path')
    vla_weights: str = Field(
        default='', description="the VLA's weights file, for the action units; empty: the robot's own"
    )
    run_folder: str = Field(default='', description='journal and checkpoints; what it holds is read back')
    seed: int = Field(default=0, ge=0, description='of networks and sampling')


class LearnerNode(Node):
    def __init__(self):
        super().__init__('learner_node')
        self.parameters = parameters = declare(self, Parameters)
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self.profile = load(RobotProfile, parameters.robot)
        task = load(Task, parameters.task)
        self.method = learned_with(load(Method, parameters.method), task)
        path = path_of('vla', self.profile.name, parameters.vla_weights)
        builder = TransitionBuilder(
            self.method, normalisation.load(path, self.profile).scale, self.profile.stride
        )
        self.assembly = Assembly(builder, kept(task, self.profile.control_rate))
        self.learner: Learner | None = None
        self.encoder_hash, self.note = '', 'waiting for the first episode'
        self.driven_version = 0  # the newest policy that drove the robot, whoever published it
        self.recording = self.trouble = ''  # what is wrong with either
        self.episodes, self.stored_by_mode = 0, {'warmup': 0, 'online': 0}
        self.published_at, self.checkpoint_at = -math.inf, time.monotonic()
        self.published_updates = -1  # as of the newest policy that was published; none yet: also a restored one is news
        self.busy, self.counted_updates = 0.0, 0
        folder = Path(parameters.run_folder) if parameters.run_folder else None
        self.checkpoint = folder / 'checkpoints' / 'learner.safetensors' if folder else None
        self.journal = Journal(folder / 'journal' / 'transitions.rltj') if folder else None
        if self.journal and self.journal.cut:
            self.get_logger().warning(f'journal: {self.journal.cut} bytes of a torn tail were cut off')
        if self.journal and self.journal.damaged:
            self.get_logger().error(f'journal: {self.journal.damaged} damaged bytes are left out')
        self.policy_publisher = self.create_publisher(Policy, 'policy', LATCHED)
        self.diagnostics = Diagnostics(self)
        self.status_publisher = self.create_publisher(LearnerStatus, 'learner_status', RELIABLE(5))
        # a journal with content means that this process, or the run, was interrupted
        if self.journal and self.journal.path.stat().st_size:
            self.restore()
        self.create_subscription(ExecutedStep, 'executed_step', self.on_step, STORED)
        self.create_subscription(RlState, 'rl_state', self.on_state, RELIABLE(10))
        self.create_subscription(RlState, 'rl_state_backfill', self.on_state, STORED)
        self.create_subscription(EpisodeState, 'episode_state', self.on_episode, EVERY_CHANGE)
        self.create_timer(0.002, self.on_timer)
        self.create_timer(1.0, self.on_second)

    # --- data ---

    def on_step(self, message: ExecutedStep) -> None:
        if len(message.command) != self.profile.action_dim:
            return
        self.driven_version = max(self.driven_version, message.policy_version)
        step = Step(np.array(message.command), message.source, message.policy_version)
        period = round(1e9 / self.profile.control_rate)
        due = stamp_to_ns(message.header.stamp)
        self.assembly.add_step(message.tick, due, period, message.episode, message.phase, step)

    def on_state(self, message: RlState) -> None:
        try:
            seen = seen_from_message(message, self.profile.action_dim)
            if message.encoder_hash != self.encoder_hash:
                if self.encoder_hash and self.learner is not None:
                    raise ValueError('it is of another encoder')
                self.encoder_hash = message.encoder_hash
            self.assembly.add_state(message.episode, stamp_to_ns(message.header.stamp), seen, message.last)
        except ValueError as error:
            self.get_logger().error(f'state dropped: {error}', throttle_duration_sec=1.0)

    def on_episode(self, message: EpisodeState) -> None:
        if message.phase == 'ended':
            stamp = stamp_to_ns(message.header.stamp)
            self.assembly.end(message.episode, stamp, message.outcome, message.mode, time.monotonic())

    def collect(self, now: float) -> None:
        """Take in the episodes that are complete and whose label will not change any more; now: s, inf at the end."""
        for finished in self.assembly.finished(now):
            if not finished.transitions:
                continue
            if self.learner is None:
                self.learner = self.new_learner(finished.transitions[0])
            good = []
            for transition in finished.transitions:
                try:
                    self.learner.add(transition, finished.mode)
                    good.append(transition)
                except ValueError as error:
                    self.get_logger().error(f'episode {finished.episode}, tick {transition.tick} left out: {error}')
            if self.journal is not None:
                try:
                    self.journal.append(replace(finished, transitions=good), self.method.name)
                except OSError as error:
                    self.get_logger().error(f'recording stopped: {error}; control and learning go on')
                    self.recording, self.journal = f'recording stopped: {error}', None
            self.count(finished.mode)

    def new_learner(self, first: Transition) -> Learner:
        return Learner(self.method, sizes_of(first), self.parameters.seed)

    def count(self, mode: str) -> None:
        self.episodes += 1
        self.stored_by_mode[mode] += 1
        if self.stored_by_mode['warmup'] >= self.method.warmup_episodes and not self.learner.learning:
            self.learner.begin()

    def restore(self) -> None:
        """Read back the journal and the last checkpoint."""
        for episode, records in groupby(self.journal.read(), lambda record: record.episode):
            for record in records:
                if self.learner is None:
                    self.learner = self.new_learner(record.transition)
                try:
                    self.learner.add(record.transition, record.mode)
                except ValueError as error:
                    raise UserError(f'{self.journal.path} does not fit: {error}; start a new run') from None
                self.driven_version = max(self.driven_version, record.transition.policy_version)
            self.count(record.mode)
            self.assembly.newest_built = max(self.assembly.newest_built, episode)
        if self.learner is not None and (complaint := checkpoint.read_newest(self.checkpoint, self.learner)):
            self.get_logger().error(f'{complaint}: learning goes on from the one before, or from the journal alone')
        if self.learner is not None:
            self.encoder_hash = self.learner.encoder_hash
        self.get_logger().info(
            f'restored {len(self.learner.replay) if self.learner else 0} transitions of {self.episodes} episodes, '
            f'{self.learner.agent.updates if self.learner else 0} updates'
        )

    # --- learning ---

    def on_timer(self) -> None:
        """Updates for a short while, as far as the data allows."""
        self.collect(time.monotonic())
        learner = self.learner
        if learner is None:
            return
        started, before = time.monotonic(), learner.agent.updates
        while learner.budget > 0 and time.monotonic() - started < SLICE:
            learner.update()
        now, worked = time.monotonic(), learner.agent.updates != before
        self.busy += now - started if worked else 0.0
        news = learner.agent.updates != self.published_updates
        if news and learner.ready and now - self.published_at > self.method.publish_period and self.encoder_hash:
            self.publish_policy()
            self.published_at, self.published_updates = now, learner.agent.updates
        if worked and self.checkpoint is not None and now - self.checkpoint_at > CHECKPOINT_PERIOD:
            if not learner.check():
                self.save()
            self.checkpoint_at = now

    def publish_policy(self) -> None:
        if trouble := self.learner.check():
            self.trouble = f'{trouble}: back to the last good networks, nothing published ({self.learner.recoveries})'
            self.get_logger().error(self.trouble)
            return
        self.trouble = ''
        version = self.learner.publish(self.driven_version)
        message = Policy(
            version=version.version, method=self.method.name, encoder_hash=self.encoder_hash, sha256=version.sha256
        )
        message.header.stamp = self.get_clock().now().to_msg()
        fill_array(message, 'weights', np.frombuffer(version.weights, np.uint8))
        self.policy_publisher.publish(message)

    def save(self) -> None:
        self.learner.encoder_hash = self.encoder_hash
        try:
            checkpoint.write(self.checkpoint, self.learner)
            checkpoint.replace(self.checkpoint.with_name('actor.safetensors'), self.learner.packed())
        except OSError as error:
            self.get_logger().error(f'no checkpoint: {error}')

    def on_second(self) -> None:
        message = LearnerStatus(episodes=self.episodes)
        message.header.stamp = self.get_clock().now().to_msg()
        if (learner := self.learner) is not None:
            updates = learner.agent.updates
            message.updates = updates
            message.policy_version = 0 if self.published_updates < 0 else learner.version
            if self.busy > 0:
                message.updates_per_second = (updates - self.counted_updates) / self.busy
            self.busy, self.counted_updates = 0.0, updates
            message.update_budget, message.transitions = max(learner.budget, 0), learner.replay.added
            for name, value in learner.agent.statistics.items():
                setattr(message, name, value)
            waiting = f'warm-up: {self.stored_by_mode["warmup"]} of {self.method.warmup_episodes} episodes'
            self.note = waiting if not learner.learning else '' if learner.budget > 0 else 'waiting for data (UTD)'
        wrong = '; '.join(filter(None, (self.recording, self.trouble)))
        message.note = wrong or self.note
        self.status_publisher.publish(message)
        self.diagnostics.add('', ERROR if wrong else OK, wrong or self.note or 'learning', {
            'episodes': self.episodes, 'recoveries': self.learner.recoveries if self.learner else 0,
        })  # fmt: skip
        self.diagnostics.publish()

    def close(self) -> None:
        self.collect(math.inf)
        self.on_second()  # the last episode is known now
        learner = self.learner
        if learner is not None and self.checkpoint is not None and learner.learning and not learner.check():
            self.save()
        if self.journal is not None:
            self.journal.close()


def main() -> int:
    return run(LearnerNode)


if __name__ == '__main__':
    sys.exit(main())
