"""A person with a game controller, as far as the graph can tell: Joy messages out, executed steps in."""

from collections.abc import Callable
import math
import threading
import time

import numpy as np
from rclpy.context import Context
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from std_srvs.srv import Trigger

from rlt_ros.bench.takeover import JOY_PERIOD, Step
from rlt_ros.config import RobotProfile, load
from rlt_ros.episode.machine import ACTING
from rlt_ros.errors import UserError
from rlt_ros.msg import EpisodeEvent, ExecutedStep
from rlt_ros.ros.node import ns_to_stamp, stamp_to_seconds
from rlt_ros.ros.qos import RELIABLE, STORED
from rlt_ros.teleop.mapping import Mapping


class Operator:
    """Used by one thread, which also delivers what comes in: every method that takes time does.

    Times are s of the wall clock, as in stamps. UserError wherever the graph has ended meanwhile.
    """

    def __init__(self, profile: RobotProfile, namespace: str, ended: threading.Event):
        self.ended = ended
        self.steps: list[Step] = []  # since forget(), in order
        self.joints_stamp = self.joy_stamp = 0.0  # of the newest joint states, and of the newest Joy message sent
        self.context = Context()
        self.context.init(args=[], initialize_logging=False)
        self.node = node = Node('operator', context=self.context, namespace=namespace, enable_rosout=False)
        self.executor = EventsExecutor(context=self.context)
        self.executor.add_node(node)
        mapping = load(Mapping, 'gamecontroller')
        self.axes, self.buttons = mapping.needs
        self.deadman = int(mapping.deadman.split()[1])
        self.joy = node.create_publisher(Joy, 'joy', RELIABLE(10))
        self.events = node.create_publisher(EpisodeEvent, 'episode_event', RELIABLE(10))
        self.services = {name: node.create_client(Trigger, f'executor/{name}') for name in ('estop', 'rearm')}
        node.create_subscription(ExecutedStep, 'executed_step', self._on_step, STORED)
        node.create_subscription(JointState, profile.joint_state_topic, self._on_joints, RELIABLE(10))

    def __enter__(self) -> 'Operator':
        return self

    def __exit__(self, *_: object) -> None:
        self.node.destroy_node()
        self.context.try_shutdown()

    def _on_step(self, message: ExecutedStep) -> None:
        at = stamp_to_seconds(message.header.stamp) + message.deadline_error
        self.steps.append(Step(message.tick, at, message.episode, message.phase in ACTING, message.source,
                               np.array(message.command)))  # fmt: skip

    def _on_joints(self, message: JointState) -> None:
        self.joints_stamp = stamp_to_seconds(message.header.stamp)

    def forget(self) -> None:
        """Begin a new record of steps; the newest few stay, to tell motion from."""
        del self.steps[:-10]

    def wait(self, seconds: float, condition: Callable[[], object] = lambda: False) -> None:
        """Let time pass, at most until a condition holds."""
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0 and not condition():
            if self.ended.is_set():
                raise UserError('the graph ended before it was measured')
            self.executor.spin_once(timeout_sec=min(rest, 0.02))

    def hold(self, seconds: float, deflection: np.ndarray) -> float:
        """Hold the deadman and deflect the sticks, (4,) -1 to 1; the stamp of the first message."""
        return self._send(seconds, True, deflection)

    def idle(self, seconds: float) -> float:
        """Hold nothing; the stamp of the first message."""
        return self._send(seconds, False, np.zeros(4))

    def _send(self, seconds: float, deadman: bool, deflection: np.ndarray) -> float:
        buttons = [int(deadman and i == self.deadman) for i in range(self.buttons)]
        message = Joy(axes=[*deflection.tolist(), *[0.0] * (self.axes - 4)], buttons=buttons)
        first = math.nan
        begin = time.monotonic()
        for i in range(max(1, round(seconds / JOY_PERIOD))):
            self.wait(begin + i * JOY_PERIOD - time.monotonic())
            now = time.time_ns()
            message.header.stamp = ns_to_stamp(now)
            self.joy.publish(message)
            self.joy_stamp = now * 1e-9
            first = self.joy_stamp if i == 0 else first
        self.wait(begin + seconds - time.monotonic())
        return first

    def estop_event(self) -> float:
        """Press the E-stop as an operator's event; its stamp."""
        now = time.time_ns()
        event = EpisodeEvent(event=EpisodeEvent.ESTOP, source='bench')
        event.header.stamp = ns_to_stamp(now)
        self.events.publish(event)
        return now * 1e-9

    def estop_service(self) -> float:
        """Press the E-stop by its service; when it was called."""
        now = time.time()
        self.services['estop'].call_async(Trigger.Request())
        return now

    def rearm(self) -> None:
        """Release the E-stop; asked again while it is refused, for at most 10 s."""
        end = time.monotonic() + 10.0
        while time.monotonic() < end:
            answer = self.services['rearm'].call_async(Trigger.Request())
            self.wait(1.0, answer.done)
            if answer.done() and answer.result().success:
                return
            self.idle(0.2)
        raise UserError('the executor refuses to be re-armed')
