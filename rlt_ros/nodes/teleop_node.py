"""A game controller in, takeovers and operator events out."""

import sys
import time

from pydantic import Field
from rclpy.node import Node
from sensor_msgs.msg import Joy

from rlt_ros.config import RobotProfile, Strict, load
from rlt_ros.msg import EpisodeEvent, Intervention
from rlt_ros.ros.diagnostics import OK, Diagnostics
from rlt_ros.ros.node import fill_array, run
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.qos import COMMAND, RELIABLE
from rlt_ros.teleop.joystick import Joystick, Takeover
from rlt_ros.teleop.mapping import load_mapping

DEVICE = 'joy'


class Parameters(Strict):
    """Parameters of teleop_node."""

    robot: str = Field(default='bimanual', description='name or path of the robot profile')
    joy: str = Field(default='gamecontroller', description='name or path of the meaning of axes and buttons')
    arm: str = Field(default='', description='arm that is moved first; "" is the last one of the robot profile')


class TeleopNode(Node):
    """Publishes an Intervention per Joy message, and one more when the controller falls silent."""

    def __init__(self):
        super().__init__('teleop_node')
        parameters = declare(self, Parameters)
        profile = load(RobotProfile, parameters.robot)
        self.joystick = Joystick(load_mapping(parameters.joy), profile, parameters.arm)
        self.takeover: Takeover | None = None
        self.messages = 0
        self.interventions = self.create_publisher(Intervention, 'intervention', COMMAND)
        self.events = self.create_publisher(EpisodeEvent, 'episode_event', RELIABLE(10))
        self.diagnostics = Diagnostics(self)
        self.create_subscription(Joy, 'joy', self.on_joy, RELIABLE(10))
        self.create_timer(0.05, self.check)
        self.create_timer(1.0, self.report)

    def on_joy(self, message: Joy) -> None:
        self.messages += 1
        takeover, events = self.joystick.update(message.axes, message.buttons, time.monotonic())
        self.publish(takeover)
        for event in events:
            self.get_logger().info(f'operator: {event}')
            message = EpisodeEvent(event=getattr(EpisodeEvent, event.upper()), source=DEVICE)
            message.header.stamp = self.get_clock().now().to_msg()
            self.events.publish(message)

    def check(self) -> None:
        takeover = self.joystick.check(time.monotonic())
        if takeover is not None:
            self.get_logger().warning('the controller fell silent during a takeover: released')
            self.publish(takeover)

    def publish(self, takeover: Takeover) -> None:
        self.takeover = takeover
        message = Intervention(active=takeover.active, device=DEVICE)
        message.header.stamp = self.get_clock().now().to_msg()
        fill_array(message, 'velocity', takeover.velocity)
        self.interventions.publish(message)

    def report(self) -> None:
        """No controller is no fault: many robots have pedals, buttons or scripts instead."""
        state = 'no controller' if not self.messages else 'takeover' if self.takeover.active else 'OK'
        self.diagnostics.add('', OK, state, {'joy_rate_hz': self.messages, 'arm': self.joystick.arm})
        self.diagnostics.publish()
        self.messages = 0


def main() -> int:
    return run(TeleopNode)


if __name__ == '__main__':
    sys.exit(main())
