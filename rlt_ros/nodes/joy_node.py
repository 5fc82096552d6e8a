"""A game controller as sensor_msgs/Joy, in place of the `joy` package's game_controller_node where that is missing."""

import math
import sys
import time

from pydantic import Field
from rclpy.node import Node
from sensor_msgs.msg import Joy, JoyFeedback

from rlt_ros.config import Strict
from rlt_ros.ros.node import run
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.qos import RELIABLE
from rlt_ros.teleop.gamepad import Gamepad

PERIOD = 0.02  # s between looks at the controller


class Parameters(Strict):
    """Parameters of joy_node; game_controller_node has the same."""

    device_name: str = Field(default='', description='as SDL names it; "" takes the first game controller')
    deadzone: float = Field(default=0.05, ge=0, le=0.9, description='part of an axis that counts as its middle')
    autorepeat_rate: float = Field(default=50.0, ge=10, le=50, description='Hz of messages while nothing changes')


class JoyNode(Node):
    """Publishes every change it sees, else with the rate; nothing while no controller is plugged in."""

    def __init__(self):
        super().__init__('joy_node')
        parameters = declare(self, Parameters)
        self.gamepad = Gamepad(parameters.device_name, parameters.deadzone)
        self.repeat = 1.0 / parameters.autorepeat_rate
        self.name, self.unknown = '', 0
        self.last: tuple[list[float], list[int]] | None = None
        self.sent_at = -math.inf
        self.publisher = self.create_publisher(Joy, 'joy', RELIABLE(10))
        self.create_subscription(JoyFeedback, 'joy/set_feedback', self.on_feedback, RELIABLE(10))
        self.create_timer(PERIOD, self.look)

    def look(self) -> None:
        state, now = self.gamepad.read(), time.monotonic()
        if self.gamepad.name != self.name:
            self.get_logger().info(f'{self.name or "none"} -> {self.gamepad.name or "none"}')
            self.name = self.gamepad.name
        if state is None:
            self.look_for_unknown()
        elif state != self.last or now - self.sent_at >= self.repeat - PERIOD / 2:
            message = Joy(axes=state[0], buttons=state[1])
            message.header.frame_id = 'joy'
            message.header.stamp = self.get_clock().now().to_msg()
            self.publisher.publish(message)
            self.sent_at = now
        self.last = state

    def look_for_unknown(self) -> None:
        """A joystick without a layout is left alone: its buttons could mean anything."""
        unknown, self.unknown = self.unknown, self.gamepad.unknown()
        if self.unknown > unknown:
            self.get_logger().warning('SDL has no layout for this joystick: use its ROS driver, see config/joy')

    def on_feedback(self, message: JoyFeedback) -> None:
        if message.type == JoyFeedback.TYPE_RUMBLE and 0 <= message.intensity <= 1:
            self.gamepad.rumble(message.intensity)

    def close(self) -> None:
        self.gamepad.close()


def main() -> int:
    return run(JoyNode)


if __name__ == '__main__':
    sys.exit(main())
