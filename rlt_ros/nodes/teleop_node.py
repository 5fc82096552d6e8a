"""Controllers in, takeovers and operator events out."""

import sys
import time

import numpy as np
from pydantic import Field
from rclpy.task import Future
from sensor_msgs.msg import JointState, Joy, JoyFeedback
from std_srvs.srv import Trigger

from rlt_ros.camera.joints import in_order
from rlt_ros.config import RobotProfile, load
from rlt_ros.control.inputs import QUIET
from rlt_ros.msg import EpisodeEvent, Intervention
from rlt_ros.ros.diagnostics import OK, WARN, Diagnostics
from rlt_ros.ros.lifecycle import Managed, ManagedNode
from rlt_ros.ros.node import fill_array, ns_to_stamp, run, stamp_to_ns
from rlt_ros.ros.qos import COMMAND, RELIABLE
from rlt_ros.teleop.cartesian import Cartesian, Frame
from rlt_ros.teleop.joystick import Holder, Joystick, Takeover
from rlt_ros.teleop.mapping import Mapping

PULSE, STRENGTH = 0.2, 0.7  # s, 0 to 1: of the rumble at takeover and hand-back


class Parameters(Managed):
    """Parameters of teleop_node."""

    robot: str = Field(default='bimanual', description='name or path of the robot profile')
    joy: str = Field(default='gamecontroller', description='name or path of the meaning of axes and buttons')
    arm: str = Field(default='', description='arm that is moved first, or all; "" is the last one of the robot profile')
    frame: Frame = Field(default='tool', description="of motions: each tool's own (x out of the hand) or the world's")


class TeleopNode(ManagedNode):
    """Publishes an Intervention per message of the controller that has the robot, and none when it falls silent.

    The executor holds the robot then; it is not to believe that a person let go. Two controllers: `joy`, and the
    `keyboard` of the terminal that shows the run, which sends Joy messages as well.
    """

    Parameters = Parameters

    def __init__(self):
        super().__init__('teleop_node')

    def configure(self, parameters: Parameters) -> None:
        self.profile = profile = load(RobotProfile, parameters.robot)
        self.controllers = self.new_controllers()
        self.holder, self.cartesian = Holder(), Cartesian(profile, parameters.frame)
        self.joints: tuple[float, JointState] | None = None
        self.messages = dict.fromkeys(self.controllers, 0)
        self.pulse_ends: float | None = None
        self.switches = {name: self.create_client(Trigger, f'executor/{name}') for name in ('estop', 'rearm')}
        self.diagnostics = Diagnostics(self)
        self.create_subscription(JointState, profile.joint_state_topic, self.on_joints, RELIABLE(1))
        for device in self.controllers:
            self.create_subscription(
                Joy, device, lambda message, device=device: self.on_joy(device, message), RELIABLE(10)
            )

    def activate(self) -> None:
        self.holder, self.controllers = Holder(), self.new_controllers()
        self.interventions = self.create_publisher(Intervention, 'intervention', COMMAND)
        self.events = self.create_publisher(EpisodeEvent, 'episode_event', RELIABLE(10))
        self.feedback = self.create_publisher(JoyFeedback, 'joy/set_feedback', RELIABLE(10))
        self.create_timer(0.05, self.check)
        self.create_timer(1.0, self.report)

    def deactivate(self) -> None:
        """Who has the robot keeps it: that this node ends is no word of theirs, and the robot holds."""
        if self.pulse_ends is not None:
            self.rumble(0.0)

    def new_controllers(self) -> dict[str, Joystick]:
        """Controllers of which nothing has been heard, by device; raises UserError for a wrong mapping or arm."""
        arms = [arm.name for arm in self.profile.arms]
        mappings = {'joy': self.parameters.joy, 'keyboard': 'keyboard'}
        return {device: Joystick(load(Mapping, name), arms, self.parameters.arm) for device, name in mappings.items()}

    def on_joints(self, message: JointState) -> None:
        self.joints = (time.monotonic(), message)

    def on_joy(self, device: str, message: Joy) -> None:
        self.messages[device] += 1
        controller = self.controllers[device]
        takeover, events = controller.update(message.axes, message.buttons, time.monotonic())
        if controller.complaint:
            self.get_logger().error(f'{device} ignored: {controller.complaint}', throttle_duration_sec=1.0)
            self.lose(device)
            return
        if not self.active:  # the E-stop alone is passed on
            if 'estop' in events:
                self.switch('estop', device)
            return
        now = time.time_ns()
        stamp = min(stamp_to_ns(message.header.stamp) or now, now)
        if (now - stamp) * 1e-9 > QUIET:
            self.get_logger().error(
                f'{device} comes {(now - stamp) * 1e-9:.2f} s late: the robot holds', throttle_duration_sec=1.0
            )
        self.take(device, takeover, stamp)
        for event in events:
            self.get_logger().info(f'{device}: {event}')
            if event != 'rearm':
                self.tell(event, device)
            if event in self.switches:
                self.switch(event, device)

    def check(self) -> None:
        now = time.monotonic()
        for device, controller in self.controllers.items():
            if (takeover := controller.check(now)) is not None:
                self.take(device, takeover)
            if controller.silent(now):
                self.lose(device)
        if self.pulse_ends is not None and now >= self.pulse_ends:
            self.rumble(0.0)

    def lose(self, device: str) -> None:
        """Of a controller that has the robot nothing is known any more: another one may take over."""
        if self.holder.device == device:
            self.holder.admits(device, False)
            self.get_logger().error(f'{device} is lost during a takeover: the robot holds')

    def take(self, device: str, takeover: Takeover, stamp: int = 0) -> None:
        """Pass on what a controller does to the robot, unless another one has it. stamp: ns, of it; 0: now."""
        had = self.holder.device
        if not self.holder.admits(device, takeover.active):
            return
        message = Intervention(active=takeover.active, device=device)
        message.header.stamp = ns_to_stamp(stamp or time.time_ns())
        position = self.position() if takeover.active else None
        fill_array(message, 'velocity', self.cartesian.velocity(takeover, position))
        self.interventions.publish(message)
        if self.holder.device != had:
            self.get_logger().info(f'{device} {"takes over" if takeover.active else "hands back"}')
            if device == 'joy':
                self.rumble(STRENGTH)

    def position(self) -> np.ndarray | None:
        """Measured joint positions (D,); None, and said, without fresh ones."""
        try:
            if self.joints is None or time.monotonic() - self.joints[0] > self.profile.max_age:
                raise ValueError('none in time')
            return in_order(self.profile.joint_names, self.joints[1].name, self.joints[1].position)
        except ValueError as error:
            self.get_logger().error(f'no motion, joint states: {error}', throttle_duration_sec=1.0)
            return None

    def tell(self, event: str, device: str) -> None:
        message = EpisodeEvent(event=getattr(EpisodeEvent, event.upper()), source=device)
        message.header.stamp = self.get_clock().now().to_msg()
        self.events.publish(message)

    def switch(self, name: str, device: str) -> None:
        """Stop or re-arm the executor."""
        client = self.switches[name]
        if client.service_is_ready():
            client.call_async(Trigger.Request()).add_done_callback(lambda answer: self.switched(name, device, answer))
        else:
            self.get_logger().error(f'{name}: there is no service executor/{name}')

    def switched(self, name: str, device: str, answer: Future) -> None:
        response = answer.result()
        self.get_logger().warning(f'{name}: {"done" if response.success else "refused"} {response.message}')
        if name == 'rearm' and response.success:
            self.tell(name, device)

    def rumble(self, intensity: float) -> None:
        self.pulse_ends = time.monotonic() + PULSE if intensity else None
        self.feedback.publish(JoyFeedback(type=JoyFeedback.TYPE_RUMBLE, id=0, intensity=intensity))

    def report(self) -> None:
        """No controller is no fault: many robots have pedals, buttons or scripts instead."""
        for device, controller in self.controllers.items():
            count, wrong = self.messages[device], controller.complaint
            state = 'no controller' if not count else wrong or ('takeover' if self.holder.device == device else 'OK')
            values = {'rate_hz': count, 'arm': controller.arm}
            self.diagnostics.add(device, WARN if count and wrong else OK, state, values)
        self.diagnostics.publish()
        self.messages = dict.fromkeys(self.messages, 0)


def main() -> int:
    return run(TeleopNode)


if __name__ == '__main__':
    sys.exit(main())
