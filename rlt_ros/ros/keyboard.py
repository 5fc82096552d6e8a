"""The keyboard of the terminal that shows a run, as Joy messages on the topic `keyboard` of its namespace."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
import os
import sys
import time

from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import Joy

from rlt_ros import security
from rlt_ros.ros.qos import RELIABLE
from rlt_ros.supervisor import environment
from rlt_ros.teleop.keyboard import HELP, Keyboard
from rlt_ros.teleop.terminal import Terminal

PERIOD = 0.04  # s


class LiveKeyboard:
    """Sends what the keys mean until cancelled."""

    def __init__(self, terminal: Terminal, node: Node):
        self.terminal, self.node, self.keyboard = terminal, node, Keyboard()
        self.publisher = node.create_publisher(Joy, 'keyboard', RELIABLE(10))

    async def run(self) -> None:
        while True:
            now = time.monotonic()
            self.keyboard.press(self.terminal.read(), now)
            for buttons in self.keyboard.messages(now):
                message = Joy(buttons=buttons)
                message.header.stamp = self.node.get_clock().now().to_msg()
                self.publisher.publish(message)
            await asyncio.sleep(PERIOD)

    def help(self) -> str:
        """A line for the view; whether anybody listens, too."""
        if not self.publisher.get_subscription_count():
            return 'keyboard: teleop_node is not there'
        return ('TAKEOVER BY KEYBOARD   ' if self.keyboard.takeover else '') + HELP


@contextmanager
def live_keyboard(namespace: str) -> Iterator[LiveKeyboard | None]:
    """The keyboard of standard input; None if that is no terminal. Signals stay with whoever handles them."""
    if not sys.stdin.isatty():
        yield None
        return
    os.environ.update(environment(os.environ))  # it has to find the nodes where they are
    context = Context()
    context.init(args=['--ros-args', *security.arguments(namespace, 'keyboard')], initialize_logging=False)
    node = Node(
        f'keyboard_{os.getpid()}', context=context, namespace=namespace, enable_rosout=False,
        start_parameter_services=False,
    )  # fmt: skip
    try:
        with Terminal(sys.stdin.fileno()) as terminal:
            yield LiveKeyboard(terminal, node)
    finally:
        node.destroy_node()
        context.try_shutdown()
