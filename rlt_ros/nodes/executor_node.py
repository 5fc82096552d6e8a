"""The 50 Hz loop: its own process, absolute deadlines, no images, no training, no torch."""

import gc
import os
import sys
import threading
import time

import numpy as np
from pydantic import Field
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from rlt_ros.config import Method, RobotProfile, Strict, load
from rlt_ros.control.executor import Executed, Executor
from rlt_ros.control.ticks import DeadlineClock, Ticks
from rlt_ros.msg import ActionChunk, EpisodeState, ExecutedStep, Intervention, Policy, RlState
from rlt_ros.rl.policy import unpack
from rlt_ros.ros.messages import seen_from_message
from rlt_ros.ros.node import fill_array, ns_to_stamp, run, stamp_to_ns
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.qos import COMMAND, EVERY_CHANGE, LATCHED, RELIABLE, STORED
from rlt_ros.vla import normalisation
from rlt_ros.weights_files import path_of

INTERVENTION_TIMEOUT = 0.25  # s without a message: released


class Parameters(Strict):
    robot: str = Field(default='bimanual', description='robot profile, name or path')
    method: str = Field(default='rlt', description='method, name or path')
    vla_weights: str = Field(
        default='', description="the VLA's weights file, for the action units; empty: the robot's own"
    )
    seed: int = Field(default=0, ge=0, description='of the exploration noise')
    realtime_priority: int = Field(default=50, ge=0, le=90, description='SCHED_FIFO priority, 0: none')


class ExecutorNode(Node):
    def __init__(self):
        super().__init__('executor_node')
        parameters = declare(self, Parameters)
        self.profile = profile = load(RobotProfile, parameters.robot)
        self.method = load(Method, parameters.method)
        unit = normalisation.load(path_of('vla', profile.name, parameters.vla_weights), profile)
        self.core = Executor(profile, self.method, unit.scale, parameters.seed)
        self.lock = threading.Lock()
        self.position: np.ndarray | None = None
        self.position_at = 0.0
        self.human: tuple[float, np.ndarray] | None = None
        self.policy: Policy | None = None
        self.pending_episode: EpisodeState | None = None
        self.step_publisher = self.create_publisher(ExecutedStep, 'executed_step', STORED)
        self.chunk_publisher = self.create_publisher(ActionChunk, 'executed_chunk', RELIABLE(5))
        trajectory = profile.command_interface == 'joint_trajectory'
        kind = JointTrajectory if trajectory else Float64MultiArray
        self.command_publisher = self.create_publisher(kind, profile.command_topic, COMMAND)
        self.to_command = self.trajectory if trajectory else forward
        self.create_subscription(JointState, profile.joint_state_topic, self.on_joints, RELIABLE(10))
        self.create_subscription(RlState, 'rl_state', self.on_state, RELIABLE(10))
        self.create_subscription(EpisodeState, 'episode_state', self.on_episode, EVERY_CHANGE)
        self.create_subscription(Intervention, 'intervention', self.on_intervention, RELIABLE(1))
        self.create_subscription(Policy, 'policy', self.on_policy, LATCHED)
        period = round(1e9 / profile.control_rate)
        start = time.monotonic_ns() + period
        self.wall = time.time_ns() - time.monotonic_ns()  # stamps are wall time, deadlines monotonic
        self.ticks = Ticks(start + self.wall, period)
        self.clock = DeadlineClock(Ticks(start, period))
        self.priority = set_realtime(parameters.realtime_priority)
        self.get_logger().info(f'{profile.control_rate:g} Hz, {self.priority}')
        self.running = True
        self.loop = threading.Thread(target=self.run_loop, name='control')
        self.loop.start()

    # --- what comes in ---

    def on_joints(self, message: JointState) -> None:
        index = {name: i for i, name in enumerate(message.name)}
        try:
            position = np.array([message.position[index[name]] for name in self.profile.joint_names])
        except (KeyError, IndexError):
            self.get_logger().error('joint states refused: a joint is missing', throttle_duration_sec=1.0)
            return
        if not np.isfinite(position).all():
            self.get_logger().error('joint states refused: not finite', throttle_duration_sec=1.0)
            return
        with self.lock:
            self.position, self.position_at = position, time.monotonic()
            if self.pending_episode is not None:
                self.enter(self.pending_episode)

    def on_episode(self, message: EpisodeState) -> None:
        with self.lock:
            if self.position is None:
                self.pending_episode = message
            else:
                self.enter(message)

    def enter(self, message: EpisodeState) -> None:
        self.pending_episode = None
        self.core.episode(message.episode, message.phase, message.mode, self.clock.next, self.position)

    def on_intervention(self, message: Intervention) -> None:
        velocity = np.array(message.velocity)
        good = velocity.shape == (self.profile.action_dim,) and np.isfinite(velocity).all()
        if message.active and not good:
            self.get_logger().error('intervention refused: wrong size or not finite', throttle_duration_sec=1.0)
        with self.lock:
            self.human = (time.monotonic(), velocity) if message.active and good else None

    def on_policy(self, message: Policy) -> None:
        self.policy = message  # unpacked with the next state, which tells the sizes

    def on_state(self, message: RlState) -> None:
        try:
            seen = seen_from_message(message, self.profile.action_dim)
        except ValueError as error:
            self.get_logger().error(f'state dropped: {error}', throttle_duration_sec=1.0)
            return
        if self.policy is not None:
            self.swap_policy(len(seen.token) + len(seen.proprioception), message.encoder_hash)
        observed = self.ticks.at_or_after(stamp_to_ns(message.header.stamp))
        with self.lock:
            chunk = self.core.choose(message.episode, message.sequence, seen, observed, self.clock.next)
        if chunk is not None:
            reference = seen.position + seen.reference[self.method.delay :][: len(chunk.action)] * self.core.scale
            out = ActionChunk(
                header=message.header, episode=chunk.episode, first_tick=chunk.first_tick, source=chunk.source,
                policy_version=chunk.policy_version, horizon=len(chunk.action), action_dim=self.profile.action_dim,
            )  # fmt: skip
            fill_array(out, 'action', chunk.action)
            fill_array(out, 'reference', reference)
            self.chunk_publisher.publish(out)

    def swap_policy(self, size: int, encoder_hash: str) -> None:
        """Take up the newest policy; between chunks, as a chunk is chosen whole."""
        message, self.policy = self.policy, None
        state_size = size + self.method.delay * self.profile.action_dim
        try:
            if message.encoder_hash != encoder_hash:
                raise ValueError(f'it was trained on encoder {message.encoder_hash[:12]}, not {encoder_hash[:12]}')
            actor = unpack(
                bytes(message.weights), message.version, message.sha256, state_size,
                self.method.chunk * self.profile.action_dim,
            )  # fmt: skip
        except ValueError as error:
            self.get_logger().error(f'policy {message.version} refused: {error}')
            return
        with self.lock:
            self.core.actor = actor

    # --- the loop ---

    def run_loop(self) -> None:
        gc.collect()
        gc.freeze()
        gc.disable()
        while self.running and rclpy.ok():
            delay = self.clock.wake_at() - time.monotonic_ns()
            if delay > 0:
                time.sleep(delay * 1e-9)
            tick, error = self.clock.woke(time.monotonic_ns())
            try:
                self.tick(tick, error)
            except rclpy.handle.InvalidHandle:
                return  # shut down under way

    def tick(self, tick: int, error: int) -> None:
        now = time.monotonic()
        with self.lock:
            if not self.core.acting or self.position is None:
                executed = Executed(tick, self.core.filter.command, ExecutedStep.HOLD, 0, 0, -1, 0)
                acting = False
            else:
                fresh = now - self.position_at <= self.profile.max_age
                human = self.human[1] if self.human and now - self.human[0] <= INTERVENTION_TIMEOUT else None
                executed, acting = self.core.tick(tick, self.position, human, hold=not fresh), True
            phase, episode = self.core.phase, self.core.schedule.episode
        if acting:
            self.command_publisher.publish(self.to_command(executed.command, tick))
        step = ExecutedStep(
            tick=tick, episode=episode, phase=phase, source=executed.source, policy_version=executed.policy_version,
            filter_flags=executed.flags, chunk=executed.sequence, chunk_index=executed.index,
            deadline_error=error * 1e-9,
        )  # fmt: skip
        step.header.stamp = ns_to_stamp(self.ticks.due(tick))
        fill_array(step, 'command', executed.command)
        self.step_publisher.publish(step)
        if tick % 500 == 0 and not acting:
            gc.collect()  # never while the arm moves

    def trajectory(self, command: np.ndarray, tick: int) -> JointTrajectory:
        message = JointTrajectory(joint_names=self.profile.joint_names)
        message.header.stamp = ns_to_stamp(self.ticks.due(tick))
        point = JointTrajectoryPoint(positions=command.tolist())
        point.time_from_start.nanosec = round(1e9 / self.profile.control_rate)
        message.points = [point]
        return message

    def close(self) -> None:
        self.running = False
        self.loop.join(timeout=1.0)


def forward(command: np.ndarray, tick: int) -> Float64MultiArray:
    return Float64MultiArray(data=command.tolist())


def set_realtime(priority: int) -> str:
    """Real-time scheduling for the process where it is permitted; says what came of it."""
    sys.setswitchinterval(0.0005)  # the interpreter's lock changes hands in time
    if priority == 0:
        return 'ordinary scheduling'
    try:
        for thread in os.listdir('/proc/self/task'):  # middleware threads exist already
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(priority))
    except (PermissionError, OSError) as error:
        return f'no real-time scheduling ({error.strerror}): deadlines depend on the load'
    return f'SCHED_FIFO {priority}'


def main() -> int:
    return run(ExecutorNode)


if __name__ == '__main__':
    sys.exit(main())
