"""The 50 Hz loop: its own process, absolute deadlines, no images, no training, no torch."""

from functools import partial
import gc
import math
import sys
import threading
import time
import traceback

from pydantic import Field
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from rlt_ros.config import Method, RobotProfile, Task, learned_with, load
from rlt_ros.control.executor import Executed, Executor
from rlt_ros.control.guard import Guard
from rlt_ros.control.inputs import Hand, JointStates
from rlt_ros.control.realtime import claim
from rlt_ros.control.ticks import DeadlineClock, Durations, Ticks
from rlt_ros.episode.machine import ACTING
from rlt_ros.errors import UserError
from rlt_ros.msg import (
    ActionChunk,
    EpisodeEvent,
    EpisodeState,
    ExecutedStep,
    ExecutorStatus,
    Intervention,
    Policy,
    RlState,
)
from rlt_ros.rl.policy import unpack
from rlt_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics
from rlt_ros.ros.lifecycle import Managed, ManagedNode
from rlt_ros.ros.messages import forward, seen_from_message, trajectory
from rlt_ros.ros.node import NANOSECONDS, fill_array, ns_to_stamp, run, stamp_to_ns
from rlt_ros.ros.qos import COMMAND, EVERY_CHANGE, LATCHED, RELIABLE, STORED
from rlt_ros.vla import normalisation
from rlt_ros.weights_files import path_of

CLOCK_STEP = 20_000_000  # ns; by so much the wall clock moves against the monotonic one only if somebody sets it
STATUS_PERIOD = 0.1  # s
CHECK_PERIOD = 0.5  # s between looks for other publishers
OVERDUE = 1.0  # s beyond its time after which nobody is left who would end a phase
WAITING_LIMIT = 5.0  # s without an action within an episode, from which on it is an error


class Parameters(Managed):
    robot: str = Field(default='bimanual', description='robot profile, name or path')
    method: str = Field(default='rlt', description='method, name or path')
    task: str = Field(default='ethernet', description='task, name or path: its noise, and how long its phases take')
    vla_weights: str = Field(
        default='', description="the VLA's weights file, for the action units; empty: the robot's own"
    )
    seed: int = Field(default=0, ge=0, description='of the exploration noise')
    realtime_priority: int = Field(default=50, ge=0, le=90, description='SCHED_FIFO priority, 0: none')
    lock_memory: bool = Field(default=True, description='keep the process in memory, so that no tick waits for a disk')
    cpu: int = Field(default=-1, ge=-1, le=1023, description='core the process is bound to, -1: any')


class ExecutorNode(ManagedNode):
    """Commands the robot while it is active, and between episodes not at all."""

    Parameters = Parameters

    def __init__(self):
        super().__init__('executor_node')
        self.pressed = ''  # an E-stop outlives a cleanup

    def configure(self, parameters: Parameters) -> None:
        self.profile = profile = load(RobotProfile, parameters.robot)
        self.task = load(Task, parameters.task)
        self.method = learned_with(load(Method, parameters.method), self.task)
        unit = normalisation.load(path_of('vla', profile.name, parameters.vla_weights), profile)
        self.core = Executor(profile, self.method, unit.scale, parameters.seed)
        try:
            self.joints = JointStates(profile.joint_names, profile.max_age, self.core.dt)
        except ValueError as error:
            raise UserError(f'robot {profile.name}: {error}') from None
        self.hand = Hand(profile.action_dim)
        self.guard = Guard(self.joints, self.hand)
        self.guard.estop = self.pressed
        self.lock = threading.Lock()
        self.policy: Policy | None = None
        self.actor_encoder = ''  # what the actor that drives was trained on
        self.pending_episode: EpisodeState | None = None
        self.not_joined: int | None = None  # episode that began before this node was active
        self.refused = 0
        self.status = ExecutorStatus(phase='idle', state=ExecutorStatus.INACTIVE, joint_state_age=-1.0)
        self.broken: Exception | None = None  # what ended the loop
        self.errors = Durations(round(60 * profile.control_rate))  # of deadlines, the last minute
        self.answers = Durations(200)  # from an observation's tick to the first that its chunk can drive
        self.status_publisher = self.create_publisher(ExecutorStatus, 'executor_status', RELIABLE(10))
        self.diagnostics = Diagnostics(self)
        self.create_subscription(JointState, profile.joint_state_topic, self.on_joints, RELIABLE(10))
        self.create_subscription(RlState, 'rl_state', self.on_state, RELIABLE(10))
        self.create_subscription(EpisodeState, 'episode_state', self.on_episode, EVERY_CHANGE)
        self.create_subscription(EpisodeEvent, 'episode_event', self.on_event, RELIABLE(10))
        self.create_subscription(Intervention, 'intervention', self.on_intervention, RELIABLE(1))
        self.create_subscription(Policy, 'policy', self.on_policy, LATCHED)
        self.create_service(Trigger, 'executor/estop', self.on_estop)
        self.create_service(Trigger, 'executor/rearm', self.on_rearm)
        self.create_timer(CHECK_PERIOD, self.check)
        gc.collect()
        gc.freeze()
        self.granted = claim(parameters.realtime_priority, parameters.lock_memory, parameters.cpu)
        say = self.get_logger().warning if self.granted.refused else self.get_logger().info
        say(f'{profile.control_rate:g} Hz, {self.granted}')

    def activate(self) -> None:
        """Begin the loop. Raises UserError while anybody else publishes what only one may."""
        if others := self.intruders():
            raise UserError(f'the robot is not armed: {others}')
        profile = self.profile
        self.step_publisher = self.create_publisher(ExecutedStep, 'executed_step', STORED)
        self.chunk_publisher = self.create_publisher(ActionChunk, 'executed_chunk', RELIABLE(5))
        period = round(NANOSECONDS / profile.control_rate)
        kind, self.to_command = Float64MultiArray, forward
        if profile.command_interface == 'joint_trajectory':
            kind, self.to_command = JointTrajectory, partial(trajectory, profile.joint_names, period)
        self.command_publisher = self.create_publisher(kind, profile.command_topic, COMMAND)
        gc.collect()
        gc.disable()
        self.armed = time.monotonic_ns()
        self.wall = time.time_ns() - self.armed  # stamps are wall time, deadlines monotonic
        start = self.armed + period
        self.ticks = Ticks(start + self.wall, period)
        self.clock = DeadlineClock(Ticks(start, period))
        self.pending_episode = None
        self.leaving = False
        self.loop = threading.Thread(target=self.run_loop, name='control', daemon=True)
        self.loop.start()

    def deactivate(self) -> None:
        """Take no more chunks, brake, hold, and only then fall silent."""
        with self.lock:
            self.pending_episode = None
            self.core.end(self.clock.next)
            self.leaving = True
        limits = self.core.filter
        self.loop.join(timeout=float((limits.velocity_limit / limits.acceleration).max()) + 1.0)
        if self.loop.is_alive():
            self.get_logger().error('the loop does not come to its end')
        gc.enable()
        self.tell_inactive()

    def release(self) -> None:
        if hasattr(self, 'guard'):
            self.pressed = self.guard.estop
        self.policy = None

    # --- what comes in ---

    def on_joints(self, message: JointState) -> None:
        now, wall = time.monotonic(), time.time_ns()
        try:
            with self.lock:
                self.joints.take(message.name, message.position, stamp_to_ns(message.header.stamp), wall, now)
                if self.pending_episode is not None:
                    self.enter(self.pending_episode)
        except ValueError as error:
            self.refuse('joint states', error)

    def refuse(self, what: str, why: ValueError) -> None:
        self.refused += 1
        self.get_logger().error(f'{what} refused: {why}', throttle_duration_sec=1.0)

    def on_episode(self, message: EpisodeState) -> None:
        if not self.active:
            self.not_joined = message.episode if message.phase in ACTING else None
            return
        with self.lock:
            self.enter(message)

    def enter(self, message: EpisodeState) -> None:
        """Follow the episode; a new one waits until the robot stands and it is known where.

        One that comes before the end of the one that runs ends it: the robot stops first.
        One that began before this node was active is not joined: nobody knows what happened in it.
        """
        self.pending_episode, self.guard.misplaced = None, ''
        if self.core.starts(message.episode, message.phase):
            if self.core.acting:
                running = self.core.schedule.episode
                self.get_logger().error(f'episode {message.episode} begins before the end of episode {running}: stop')
                self.core.end(self.clock.next)
            before = stamp_to_ns(message.header.stamp) < self.armed + self.wall
            if before and message.episode != self.not_joined:
                self.not_joined = message.episode
                self.get_logger().warning(f'episode {message.episode} is not joined: it began before this node was')
            if message.episode == self.not_joined:
                message = EpisodeState(episode=message.episode, phase='idle')
            elif self.core.stopping or self.joints.fault(time.monotonic()):
                self.pending_episode = message
                return
        left = self.core.schedule.episode, self.core.phase
        try:
            self.core.episode(message.episode, message.phase, message.mode, self.clock.next, self.joints.position)
        except ValueError as error:
            self.pending_episode, self.guard.misplaced = message, str(error)
        if self.core.acting and (self.core.schedule.episode, self.core.phase) != left:
            self.guard.due = time.monotonic() + self.task.longest(self.core.phase) + OVERDUE

    def on_intervention(self, message: Intervention) -> None:
        try:
            with self.lock:
                stamp, wall = stamp_to_ns(message.header.stamp), time.time_ns()
                self.hand.take(message.active, message.velocity, message.device, stamp, wall, time.monotonic())
        except ValueError as error:
            self.refuse('intervention', error)

    def on_event(self, message: EpisodeEvent) -> None:
        if message.event == EpisodeEvent.ESTOP:
            self.stop_robot(message.source)

    def on_estop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.stop_robot('service')
        response.success, response.message = True, 'stopped until executor/rearm'
        return response

    def stop_robot(self, who: str) -> None:
        with self.lock:
            self.guard.stop(who)
        self.get_logger().error(f'E-stop: {who}')

    def on_rearm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self.lock:
            wrong = self.guard.rearm(time.monotonic())
        response.success, response.message = not wrong, wrong or 'armed'
        self.get_logger().warning(f'rearm refused: {wrong}' if wrong else 'armed again')
        return response

    def on_policy(self, message: Policy) -> None:
        self.policy = message  # unpacked with the next state, which tells the sizes

    def on_state(self, message: RlState) -> None:
        if not self.active:
            return
        try:
            seen = seen_from_message(message, self.profile.action_dim)
        except ValueError as error:
            self.core.schedule.dropped['invalid'] += 1
            self.get_logger().error(f'state dropped: {error}', throttle_duration_sec=1.0)
            return
        if self.policy is not None:
            self.swap_policy(len(seen.token) + len(seen.proprioception), message.encoder_hash)
        with self.lock:
            observed = self.ticks.at_or_after(stamp_to_ns(message.header.stamp))
            answer = (self.clock.next - observed) * self.core.dt
            late = self.core.schedule.dropped['late']
            chunk = self.core.choose(message.episode, message.sequence, seen, observed, self.clock.next)
            if chunk is not None or self.core.schedule.dropped['late'] > late:
                self.answers.add(answer)
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
        """Take up the newest policy; between chunks, as a chunk is chosen whole. The same one again changes nothing."""
        message, self.policy = self.policy, None
        state_size = size + self.method.delay * self.profile.action_dim
        drives = self.core.actor.version if self.core.actor and self.actor_encoder == encoder_hash else None
        try:
            if message.encoder_hash != encoder_hash:
                raise ValueError(f'it was trained on encoder {message.encoder_hash[:12]}, not {encoder_hash[:12]}')
            if drives is not None and message.version <= drives:
                if message.version == drives:
                    return
                raise ValueError(f'it is older than version {drives}, which drives')
            actor = unpack(
                bytes(message.weights), message.version, message.sha256, state_size,
                self.method.chunk * self.profile.action_dim,
            )  # fmt: skip
        except ValueError as error:
            self.refused += 1
            self.get_logger().error(f'policy {message.version} refused: {error}')
            return
        with self.lock:
            self.core.actor, self.actor_encoder = actor, encoder_hash

    def check(self) -> None:
        """Look for others that command the robot or speak for the VLA, and report."""
        if self.broken is not None:
            raise self.broken
        others = self.intruders()
        if others and self.active and others != self.guard.intruders:
            # What the robot does is no longer what is recorded, and whose command it follows nobody knows.
            self.stop_robot(others)
        with self.lock:
            self.guard.intruders = others
            status, now = self.status, time.monotonic()
            fault, stopped = self.guard.fault(now), self.guard.estop
            waiting = self.core.waiting * self.core.dt
        if not self.active:
            self.tell_inactive()
        slow = ''
        if status.answer_p99 > status.answer_limit:
            slow = f'RL states take {status.answer_p99:.3f} s (p99), more than the delay, {status.answer_limit:.3f} s'
        wrong = stopped or fault or waiting > WAITING_LIMIT
        level = ERROR if wrong else WARN if slow or waiting or not self.active else OK
        values = {name: getattr(status, name) for name in status.get_fields_and_field_types() if name != 'header'}
        text = '; '.join(part for part in (status.reason, slow) if part)
        self.diagnostics.add('', level, text, values | {'scheduling': self.granted})
        self.diagnostics.publish()

    def intruders(self) -> str:
        """Who else publishes what only one may; '' for nobody."""
        found = []
        for topic, allowed in ((self.profile.command_topic, int(self.active)), ('rl_state', 1)):
            names = [f'{p.node_namespace.rstrip("/")}/{p.node_name}' for p in self.get_publishers_info_by_topic(topic)]
            if len(names) > allowed:
                found.append(f'{len(names)} publishers on {topic}: {", ".join(sorted(names))}')
        return '; '.join(found)

    def tell_inactive(self) -> None:
        """An executor that is not active says so, and what else is wrong."""
        with self.lock:
            now = time.monotonic()
            wrong = f'ESTOP: pressed, {self.guard.estop}' if self.guard.estop else self.guard.fault(now)
            age = self.joints.age(now)
        self.status.state, self.status.reason = ExecutorStatus.INACTIVE, f'INACTIVE: {wrong}' if wrong else 'INACTIVE'
        self.status.joint_state_age = age if math.isfinite(age) else -1.0
        self.status.header.stamp = ns_to_stamp(time.time_ns())
        self.status_publisher.publish(self.status)

    # --- the loop ---

    def run_loop(self) -> None:
        try:
            while not (self.leaving and not self.core.stopping):
                delay = self.clock.wake_at() - time.monotonic_ns()
                if delay > 0:
                    time.sleep(delay * 1e-9)
                tick, error = self.clock.woke(time.monotonic_ns())
                self.errors.add(error * 1e-9)
                self.tick(tick, error)
        except Exception as error:  # a robot must not be left without commands by a process that seems to live
            self.get_logger().fatal(traceback.format_exc())
            self.broken = error

    def tick(self, tick: int, error: int) -> None:
        now = time.monotonic()
        with self.lock:
            self.follow_clock()
            executed = None
            if self.core.acting:
                velocity, hold = self.hand.velocity(now), self.guard.holds(now)
                hold = hold or velocity is None and bool(self.guard.overdue(now))
                executed = self.core.tick(tick, self.joints.measured(now), velocity, hold)
            elif self.core.stopping:
                executed = self.core.brake(tick)
            phase, episode = self.core.phase, self.core.schedule.episode
            state, reason = self.guard.describe(executed, self.method.chunk, now, self.core.acting)
            if executed is None and episode == self.not_joined:
                reason += f'; episode {episode} is not joined: it began before this node was active'
        if executed is not None:
            self.command_publisher.publish(self.to_command(executed.command, self.ticks.due(tick)))
        done = executed or Executed(tick, self.core.filter.command, ExecutedStep.HOLD, 0, 0, -1, 0)
        step = ExecutedStep(
            tick=tick, episode=episode, phase=phase, source=done.source, policy_version=done.policy_version,
            filter_flags=done.flags, chunk=done.sequence, chunk_index=done.index, deadline_error=error * 1e-9,
        )  # fmt: skip
        step.header.stamp = ns_to_stamp(self.ticks.due(tick))
        fill_array(step, 'command', done.command)
        self.step_publisher.publish(step)
        if state != self.status.state or tick % max(1, round(STATUS_PERIOD / self.core.dt)) == 0:
            self.publish_status(step, state, reason, now)
        if tick % 500 == 0 and executed is None:
            gc.collect()  # never while the arm moves

    def follow_clock(self) -> None:
        """When somebody sets the wall clock, stamps say nothing until the episode is over."""
        moved = time.time_ns() - time.monotonic_ns() - self.wall
        self.guard.jump = moved * 1e-9 if abs(moved) > CLOCK_STEP else 0.0
        if self.guard.jump and not self.core.acting:
            self.wall += moved
            self.ticks = Ticks(self.clock.ticks.start + self.wall, self.ticks.period)
            self.guard.jump = 0.0

    def publish_status(self, step: ExecutedStep, state: int, reason: str, now: float) -> None:
        core, age, index = self.core, self.joints.age(now), step.chunk_index
        p50, p99, largest = self.errors.percentiles(50, 99, 100)
        status = ExecutorStatus(
            header=step.header, episode=step.episode, phase=step.phase, state=state, reason=reason,
            joint_state_age=age if math.isfinite(age) else -1.0,
            chunk_age=(index + self.method.delay) * core.dt if index >= 0 else -1.0,
            answer_p99=self.answers.percentiles(99)[0], answer_limit=self.method.delay * core.dt,
            ticks=step.tick + 1 - self.clock.missed, missed_ticks=self.clock.missed, held_ticks=core.held,
            rest_ticks=core.rests, refused=self.refused, deadline_p50=p50, deadline_p99=p99, deadline_max=largest,
            realtime=self.granted.priority > 0, memory_locked=self.granted.memory_locked, cpu=self.granted.cpu,
            **{f'chunks_{name}': count for name, count in core.schedule.dropped.items()},
            **{f'clamped_{name}': count for name, count in core.clamped.items()},
        )  # fmt: skip
        self.status_publisher.publish(status)
        self.status = status


def main() -> int:
    return run(ExecutorNode)


if __name__ == '__main__':
    sys.exit(main())
