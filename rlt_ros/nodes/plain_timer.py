"""The executor's work on an ordinary rclpy timer: what `rlt bench control` compares with. No node of the graph.

Every tick's number, due time on the monotonic clock and error, s, are written to a file at the end.
"""

from pathlib import Path
import time

import numpy as np
from pydantic import Field
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from rlt_ros.config import Method, RobotProfile, Strict, load
from rlt_ros.control.executor import Executor
from rlt_ros.control.kinematics import home
from rlt_ros.control.ticks import DeadlineClock, Ticks
from rlt_ros.msg import ExecutedStep
from rlt_ros.ros.node import NANOSECONDS, fill_array
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.qos import COMMAND, STORED


class Parameters(Strict):
    robot: str = Field(default='bimanual', description='robot profile, name or path')
    method: str = Field(default='rlt', description='method, name or path')
    out: str = Field(default='plain_timer.npy', description='file for the numbers')


class PlainTimer(Node):
    """Topics of its own names: nobody acts on them."""

    def __init__(self):
        super().__init__('plain_timer')
        parameters = declare(self, Parameters)
        profile, self.out = load(RobotProfile, parameters.robot), Path(parameters.out)
        self.core = Executor(profile, load(Method, parameters.method), np.full(profile.action_dim, 1e-3))
        self.core.episode(1, 'critical', 'evaluation', 0, home(profile))
        self.names = profile.joint_names
        self.commands = self.create_publisher(JointTrajectory, 'plain_timer/command', COMMAND)
        self.steps = self.create_publisher(ExecutedStep, 'plain_timer/executed_step', STORED)
        self.errors: list[tuple[int, float, float]] = []
        period = round(NANOSECONDS / profile.control_rate)
        timer = self.create_timer(period * 1e-9, self.tick)
        self.clock = DeadlineClock(Ticks(time.monotonic_ns() + timer.time_until_next_call(), period))

    def tick(self) -> None:
        now = time.monotonic_ns()
        # Where the process stood still between the timer's look at the clock and ours, that tick seemed missed, and its
        # call comes now; counted as the next one it would put all later ones a period ahead.
        if now < self.clock.wake_at() - self.clock.ticks.period // 2:
            self.clock.next -= 1
        tick, error = self.clock.woke(now)
        self.errors.append((tick, self.clock.ticks.due(tick) * 1e-9, error * 1e-9))
        push = 0.1 * np.sin(tick / self.core.dt / 1e4) * np.ones(len(self.names))  # rad/s, a person's: to and fro
        executed = self.core.tick(tick, self.core.filter.command, push)
        message = JointTrajectory(joint_names=self.names)
        message.points = [JointTrajectoryPoint(positions=executed.command.tolist())]
        self.commands.publish(message)
        step = ExecutedStep(tick=tick, source=executed.source, filter_flags=executed.flags, deadline_error=error * 1e-9)
        fill_array(step, 'command', executed.command)
        self.steps.publish(step)


def main() -> None:
    """As the tutorials do it: rclpy.spin()."""
    rclpy.init()
    node = PlainTimer()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    np.save(node.out, np.array(node.errors))


if __name__ == '__main__':
    main()
