"""A simulated robot that looks like a driver with cameras: joint states and images out, joint commands in."""

import math
import sys
import time

import numpy as np
from pydantic import Field
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from rlt_ros.config import RobotProfile, Strict, Task, load
from rlt_ros.msg import EpisodeEvent
from rlt_ros.ros.node import ns_to_stamp, run
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.qos import COMMAND, RELIABLE, SENSOR
from rlt_ros.sim.world import World

LONGEST_BEHIND = 0.2  # s; a simulation that falls further behind pauses instead of racing to catch up


class Parameters(Strict):
    robot: str = Field(default='bimanual', description='robot profile, name or path')
    task: str = Field(default='ethernet', description='task, name or path')
    seed: int = Field(default=0, ge=0, description='of the random starts')
    cycle_rate: float = Field(default=100.0, ge=50, le=500, description='Hz, how often commands are taken up')
    command_timeout: float = Field(default=0.1, gt=0, le=5, description='s without a command until the robot stops')


class SimRobotNode(Node):
    def __init__(self):
        super().__init__('sim_robot_node')
        parameters = declare(self, Parameters)
        self.profile = profile = load(RobotProfile, parameters.robot)
        self.task = load(Task, parameters.task)
        self.world = World(profile, self.task, [parameters.seed, 1])
        self.world.images()  # the first picture takes long
        self.sensor = np.random.default_rng(parameters.seed)
        self.command_timeout = parameters.command_timeout
        self.command: np.ndarray | None = None
        self.commanded_at = 0.0
        self.reported, self.handed_over = False, self.world.rack is None
        self.joint_publisher = self.create_publisher(JointState, profile.joint_state_topic, RELIABLE(10))
        self.event_publisher = self.create_publisher(EpisodeEvent, 'episode_event', RELIABLE(10))
        self.cameras = {i: camera for i, camera in enumerate(profile.cameras) if camera.topic}  # others have a source
        cameras = self.cameras.values()
        self.image_publishers = [self.create_publisher(Image, camera.topic, SENSOR) for camera in cameras]
        self.info_publishers = [
            self.create_publisher(CameraInfo, f'{camera.topic.rsplit("/", 1)[0]}/camera_info', SENSOR)
            for camera in cameras
        ]
        self.infos = [camera_info(c.name, profile.image_size, c.mount.field_of_view) for c in cameras]
        if profile.command_interface == 'joint_trajectory':
            self.create_subscription(JointTrajectory, profile.command_topic, self.on_trajectory, COMMAND)
        else:
            self.create_subscription(Float64MultiArray, profile.command_topic, self.on_forward, COMMAND)
        self.create_service(Trigger, 'reset_robot', self.on_reset)
        self.period = round(1e9 / parameters.cycle_rate)
        self.cycles_per_state = max(1, round(parameters.cycle_rate / profile.control_rate))
        self.cycles_per_image = max(1, round(parameters.cycle_rate / profile.observation_rate))
        self.cycle, self.start = 0, time.time_ns()
        self.create_timer(self.period * 1e-9, self.on_timer)
        self.get_logger().info(f'{profile.name} at {parameters.cycle_rate:g} Hz, task {self.task.name}')

    def on_trajectory(self, message: JointTrajectory) -> None:
        if list(message.joint_names) != self.profile.joint_names or len(message.points) != 1:
            self.get_logger().error('command refused: wrong joint names or not one point', throttle_duration_sec=1.0)
            return
        self.take(message.points[0].positions)

    def on_forward(self, message: Float64MultiArray) -> None:
        self.take(message.data)

    def take(self, positions) -> None:
        command = np.array(positions, float)
        if command.shape != (self.profile.action_dim,) or not np.isfinite(command).all():
            self.get_logger().error('command refused: wrong size or not finite', throttle_duration_sec=1.0)
            return
        self.command, self.commanded_at = command, time.monotonic()

    def on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.world.reset()
        self.command, self.reported = None, False
        self.handed_over = self.world.rack is None  # nothing to fetch, nothing to hand over
        response.success, response.message = True, 'new start'
        return response

    def on_timer(self) -> None:
        """Advance to now, in whole cycles."""
        behind = (time.time_ns() - self.start) // self.period - self.cycle
        if behind < 0 or behind * self.period > LONGEST_BEHIND * 1e9:  # the clock jumped, or the machine stood still
            self.start = time.time_ns() - self.cycle * self.period
            return
        for _ in range(behind):
            self.advance()

    def advance(self) -> None:
        if self.command is not None and time.monotonic() - self.commanded_at > self.command_timeout:
            self.command = self.world.position.copy()  # as drivers do: stop where it is
            self.commanded_at = math.inf
        self.world.step(self.command, self.period * 1e-9)
        self.cycle += 1
        now = self.start + self.cycle * self.period
        if self.cycle % self.cycles_per_state == 0:
            self.publish_joints(now)
        if self.cycle % self.cycles_per_image == 0:
            self.publish_images(now)
        if not self.handed_over and self.world.critical():
            self.handed_over = True
            self.say(EpisodeEvent.HANDOVER, now)
        if not self.reported and self.world.success():
            self.reported = True
            self.say(EpisodeEvent.SUCCESS, now)

    def say(self, kind: int, now: int) -> None:
        """Tell what the task's oracle sees."""
        event = EpisodeEvent(event=kind, source='oracle')
        event.header.stamp = ns_to_stamp(now)
        self.event_publisher.publish(event)

    def publish_joints(self, now: int) -> None:
        message = JointState(name=self.profile.joint_names)
        message.header.stamp = ns_to_stamp(now)
        message.position = self.world.position.tolist()
        message.velocity = self.world.velocity.tolist()
        self.joint_publisher.publish(message)

    def publish_images(self, now: int) -> None:
        size = self.profile.image_size
        images = self.world.images()[list(self.cameras)]
        # As little noise as can be, in one row: pictures of a real sensor never repeat. Rendered ones do, over bare
        # table, and would look like those of a camera that is frozen.
        images[:, 0] ^= self.sensor.integers(0, 2, images[:, 0].shape, np.uint8)
        for camera, image, publisher, info, info_publisher in zip(
            self.cameras.values(), images, self.image_publishers, self.infos, self.info_publishers, strict=True
        ):
            message = Image(height=size, width=size, encoding='rgb8', step=3 * size, data=image.tobytes())
            message.header.stamp = info.header.stamp = ns_to_stamp(now)
            message.header.frame_id = camera.name
            publisher.publish(message)
            info_publisher.publish(info)

    def close(self) -> None:
        self.world.close()


def camera_info(name: str, size: int, field_of_view: float) -> CameraInfo:
    """Pinhole camera without distortion."""
    focal, centre = size / 2 / math.tan(math.radians(field_of_view) / 2), size / 2
    info = CameraInfo(height=size, width=size, distortion_model='plumb_bob', d=[0.0] * 5)
    info.header.frame_id = name
    info.k = [focal, 0.0, centre, 0.0, focal, centre, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, centre, 0.0, 0.0, focal, centre, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def main() -> int:
    return run(SimRobotNode)


if __name__ == '__main__':
    sys.exit(main())
