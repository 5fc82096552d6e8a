"""The frozen VLA: one prefix pass per decision while the arm moves, and the rest of the observations afterwards."""

import sys
import time

import numpy as np
from pydantic import Field

from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.msg import EpisodeState, Observation, VlaOutput
from rlt_ros.rl.assembly import PATIENCE, kept
from rlt_ros.ros.diagnostics import OK, WARN, Diagnostics
from rlt_ros.ros.images import image_to_rgb
from rlt_ros.ros.lifecycle import Managed, ManagedNode
from rlt_ros.ros.node import NANOSECONDS, fill_array, ns_to_stamp, run, stamp_to_ns
from rlt_ros.ros.qos import EVERY_CHANGE, RELIABLE, STORED
from rlt_ros.vla.backends import open_backend
from rlt_ros.vla.builtin import Look, VlaResult
from rlt_ros.vla.pacing import Pacing

BACKFILL_BATCH = 8  # observations at a time: a decision never waits longer for its turn


class Parameters(Managed):
    robot: str = Field(default='bimanual', description='robot profile, name or path')
    task: str = Field(default='ethernet', description='task, name or path')
    method: str = Field(default='rlt', description='method, name or path')
    weights: str = Field(default='', description='weights file; empty: the built-in VLA of the robot')
    device: str = Field(default='cpu', description='cpu or cuda')


class VlaNode(ManagedNode):
    Parameters = Parameters

    def __init__(self):
        super().__init__('vla_node')

    def configure(self, parameters: Parameters) -> None:
        self.profile = profile = load(RobotProfile, parameters.robot)
        self.task, method = load(Task, parameters.task), load(Method, parameters.method)
        self.vla = open_backend(parameters.weights, profile, self.task, parameters.device)
        self.vla.check_reach(method)
        self.pacing: Pacing[Look] = Pacing(
            round(method.chunk / profile.control_rate * NANOSECONDS),
            kept(self.task, profile.control_rate) // profile.stride,
            round(PATIENCE * NANOSECONDS),
            method.store_approach,
        )
        blank = Look.blank(profile)
        for count in (1, BACKFILL_BATCH, 1):  # the first passes are slow; better now than under way
            self.vla.infer([blank] * count, self.task.instruction)
        self.create_subscription(Observation, 'observation', self.on_observation, RELIABLE(10))
        self.create_subscription(EpisodeState, 'episode_state', self.on_episode, EVERY_CHANGE)
        self.diagnostics = Diagnostics(self)
        self.get_logger().info(f'VLA {self.vla.hash[:12]} ready')

    def activate(self) -> None:
        self.publisher = self.create_publisher(VlaOutput, 'vla_output', RELIABLE(10))
        self.backfill_publisher = self.create_publisher(VlaOutput, 'vla_output_backfill', STORED)
        self.reported = self.pacing.dropped
        self.create_timer(0.02, self.on_timer)
        self.create_timer(1.0, self.report)

    def release(self) -> None:
        self.vla = None

    def on_episode(self, message: EpisodeState) -> None:
        self.pacing.episode(message.episode, message.phase, message.mode, stamp_to_ns(message.header.stamp))

    def on_observation(self, message: Observation) -> None:
        if message.stale or not self.active:
            return
        try:
            look = to_look(message, self.profile, self.pacing.phase == 'approach')
        except ValueError as error:
            self.get_logger().error(f'observation dropped: {error}', throttle_duration_sec=1.0)
            return
        if self.pacing.offer(stamp_to_ns(message.header.stamp), look):
            started = time.monotonic()
            stamp, sequence, _ = self.pacing.decision
            result = self.vla.infer([look], message.instruction or self.task.instruction)
            self.publish(result, 0, stamp, sequence, look, self.pacing.number, time.monotonic() - started)

    def on_timer(self) -> None:
        """Backfill a batch, unless a decision is near."""
        batch = self.pacing.backlog(BACKFILL_BATCH, self.get_clock().now().nanoseconds)
        if not batch:
            return
        started = time.monotonic()
        result = self.vla.infer([item.look for item in batch], self.task.instruction)
        seconds = time.monotonic() - started
        for row, item in enumerate(batch):
            self.publish(result, row, item.stamp, item.sequence, item.look, item.episode, seconds, True, item.last)

    def report(self) -> None:
        """Whether the VLA keeps up with what is to be learned from."""
        pacing, new = self.pacing, self.pacing.dropped - self.reported
        self.reported = pacing.dropped
        text = f'too slow: {new} observations dropped that the learner would no longer take' if new else 'OK'
        if new:
            self.get_logger().warning(text, throttle_duration_sec=10.0)
        self.diagnostics.add('backlog', WARN if new else OK, text, {
            'waiting': len(pacing.waiting) + len(pacing.ready), 'room': pacing.room, 'dropped': pacing.dropped,
        })  # fmt: skip
        self.diagnostics.publish()

    def publish(
        self, result: VlaResult, row: int, stamp: int, sequence: int, look: Look, episode: int, seconds: float,
        backfill: bool = False, last: bool = False,
    ) -> None:  # fmt: skip
        prefix, reference = result.prefix[row], result.reference[row]
        message = VlaOutput(
            episode=episode, sequence=sequence, vla_hash=self.vla.hash,
            num_tokens=prefix.shape[0], token_dim=prefix.shape[1],
            horizon=reference.shape[0], action_dim=reference.shape[1],
            inference_seconds=seconds, backfill=backfill, last=last,
        )  # fmt: skip
        message.header.stamp = ns_to_stamp(stamp)
        fill_array(message, 'prefix', prefix)
        fill_array(message, 'reference', reference)
        fill_array(message, 'proprioception', result.proprioception[row])
        fill_array(message, 'position', look.position)
        (self.backfill_publisher if backfill else self.publisher).publish(message)


def to_look(message: Observation, profile: RobotProfile, approaching: bool) -> Look:
    """Arrays of an observation; raises ValueError where it does not fit the profile or is not finite."""
    if list(message.joint_names) != profile.joint_names:
        raise ValueError(f'joints {list(message.joint_names)} are not those of robot {profile.name}')
    if list(message.camera_names) != [camera.name for camera in profile.cameras]:
        raise ValueError(f'cameras {list(message.camera_names)} are not those of robot {profile.name}')
    images = np.stack([image_to_rgb(image) for image in message.images])
    if images.shape[1:3] != (profile.image_size, profile.image_size):
        raise ValueError(f'images are {images.shape[1:3]}, not {profile.image_size} px square')
    vectors = [np.array(getattr(message, name)) for name in ('position', 'velocity', 'command')]
    if any(v.shape != (profile.action_dim,) or not np.isfinite(v).all() for v in vectors):
        raise ValueError(f'position, velocity and command must be {profile.action_dim} finite numbers each')
    return Look(images, *vectors, stamp_to_ns(message.header.stamp), approaching)


def main() -> int:
    return run(VlaNode)


if __name__ == '__main__':
    sys.exit(main())
