"""Cameras and joint states in, one time-aligned Observation out."""

from dataclasses import replace
import sys
import threading

import cv2
import numpy as np
from pydantic import Field
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray, Header
from trajectory_msgs.msg import JointTrajectory

from rlt_ros.camera.capture import Capture
from rlt_ros.camera.frozen import FrozenCheck
from rlt_ros.camera.health import Health
from rlt_ros.camera.joints import CommandLog, JointReader, in_order
from rlt_ros.camera.pixels import to_square
from rlt_ros.camera.sync import Aligned, ObservationSync, Sample
from rlt_ros.config import Camera, RobotProfile, Task, load
from rlt_ros.msg import Observation
from rlt_ros.ros.diagnostics import ERROR, OK, STALE, WARN, Diagnostics
from rlt_ros.ros.images import compressed_to_rgb, image_to_rgb, numpy_to_image
from rlt_ros.ros.lifecycle import Managed, ManagedNode
from rlt_ros.ros.node import NANOSECONDS, fill_array, ns_to_stamp, run, stamp_to_ns
from rlt_ros.ros.qos import COMMAND, RELIABLE, SENSOR

JOINTS = 'joint_states'  # name of the joint states among the sources


class Parameters(Managed):
    """Parameters of camera_node."""

    robot: str = Field(default='bimanual', description='name or path of the robot profile')
    task: str = Field(default='ethernet', description='name or path of the task, for the instruction')
    max_delay: float = Field(
        default=0.2, gt=0, le=10, description='s from capture until the frame is here, beyond which it is stale'
    )
    frozen_after: float = Field(
        default=0.005, gt=0, le=1,
        description='m that a tool may move in view of a camera whose picture stays exactly the same',
    )  # fmt: skip
    loop_video: bool = Field(default=True, description='play video files again and again')


class CameraNode(ManagedNode):
    """Everything is stamped by its driver; what has no stamp is dropped, what does not fit is marked stale."""

    Parameters = Parameters

    def __init__(self):
        super().__init__('camera_node')

    def configure(self, parameters: Parameters) -> None:
        self.profile = profile = load(RobotProfile, parameters.robot)
        self.instruction = load(Task, parameters.task).instruction
        cv2.setNumThreads(1)  # pictures are small, and the cores belong to control and learning
        self.joints, self.commands = JointReader(profile.joint_names), CommandLog()
        self.captures: dict[str, Capture] = {}
        self.lock = threading.Lock()  # captures deliver from their own threads
        self.diagnostics = Diagnostics(self)
        self.create_subscription(JointState, profile.joint_state_topic, self.on_joint_state, RELIABLE(10))
        if profile.command_interface == 'joint_trajectory':
            self.create_subscription(JointTrajectory, profile.command_topic, self.on_trajectory, COMMAND)
        else:
            self.create_subscription(Float64MultiArray, profile.command_topic, self.on_forward_command, COMMAND)
        for camera in profile.cameras:
            if not camera.source:
                self.subscribe(camera)

    def activate(self) -> None:
        """Begin with nothing that was seen before."""
        profile = self.profile
        names = [camera.name for camera in profile.cameras]
        self.sync = ObservationSync(
            [*names, JOINTS],
            period=round(NANOSECONDS / profile.observation_rate),
            max_skew=round(profile.max_skew * NANOSECONDS),
            max_delay=round(self.parameters.max_delay * NANOSECONDS),
        )
        self.frozen = FrozenCheck(profile, self.parameters.frozen_after)
        self.frozen_cameras: dict[str, str] = {}  # and what is to be said of them
        self.health = {name: Health() for name in [*names, JOINTS, 'command']}
        self.skew = dict.fromkeys([*names, JOINTS], 0.0)  # s, largest since the last report
        self.problem, self.sent, self.stale = '', 0, 0
        self.publisher = self.create_publisher(Observation, 'observation', RELIABLE(10))
        self.create_timer(0.25 / profile.observation_rate, self.poll)
        self.create_timer(1.0, self.report)
        for camera in profile.cameras:
            if camera.source:
                self.open(camera)

    def deactivate(self) -> None:
        for capture in self.captures.values():
            capture.stop()
        self.captures.clear()

    def open(self, camera: Camera) -> None:
        """Begin to read a camera's source."""
        def on_frame(stamp: int, rgb: np.ndarray) -> None:
            self.take(camera.name, stamp, self.as_message(rgb, stamp, camera.name))

        capture = Capture(camera.source, on_frame, self.now, self.parameters.loop_video)
        self.captures[camera.name] = capture
        capture.start()

    def subscribe(self, camera: Camera) -> None:
        """Subscribe to a camera's topic."""
        if camera.topic.endswith('/compressed'):
            kind, take = CompressedImage, self.on_compressed
        else:
            kind, take = Image, self.on_image
        self.create_subscription(kind, camera.topic, lambda message: self.active and take(camera.name, message), SENSOR)

    def now(self) -> int:
        """ns of the clock that drivers stamp with."""
        return self.get_clock().now().nanoseconds

    def on_image(self, camera: str, message: Image) -> None:
        size = self.profile.image_size
        is_ready = (message.encoding, message.width, message.height, message.step) == ('rgb8', size, size, 3 * size)
        try:
            if not is_ready or len(message.data) != 3 * size * size:
                message = self.as_message(image_to_rgb(message), stamp_to_ns(message.header.stamp), camera)
        except ValueError as error:
            self.refuse(camera, str(error))
            return
        self.take(camera, stamp_to_ns(message.header.stamp), message)

    def on_compressed(self, camera: str, message: CompressedImage) -> None:
        stamp = stamp_to_ns(message.header.stamp)
        try:
            picture = self.as_message(compressed_to_rgb(message), stamp, camera)
        except ValueError as error:
            self.refuse(camera, str(error))
            return
        self.take(camera, stamp, picture)

    def on_joint_state(self, message: JointState) -> None:
        if not self.active:
            return
        stamp = stamp_to_ns(message.header.stamp)
        try:
            state = self.joints.read(stamp, message.name, message.position, message.velocity)
        except ValueError as error:
            self.refuse(JOINTS, str(error))
            return
        self.take(JOINTS, stamp, state)

    def on_trajectory(self, message: JointTrajectory) -> None:
        try:
            if not message.points:
                raise ValueError('no point')
            command = in_order(self.profile.joint_names, message.joint_names, message.points[0].positions)
        except ValueError as error:
            self.refuse('command', str(error))
            return
        self.remember(command)

    def on_forward_command(self, message: Float64MultiArray) -> None:
        names = self.profile.joint_names
        try:
            command = in_order(names, names, message.data)
        except ValueError as error:
            self.refuse('command', str(error))
            return
        self.remember(command)

    def remember(self, command: np.ndarray) -> None:
        if not self.active:
            return
        now = self.now()
        with self.lock:
            self.commands.add(now, command)
            self.health['command'].received(now / NANOSECONDS)

    def as_message(self, rgb: np.ndarray, stamp: int, camera: str) -> Image:
        """A picture as it goes into the Observation."""
        header = Header(stamp=ns_to_stamp(stamp), frame_id=camera)
        return numpy_to_image(to_square(rgb, self.profile.image_size), header)

    def take(self, source: str, stamp: int, value: object) -> None:
        """A sample of a source; publishes what it completes."""
        now = self.now()
        with self.lock:
            problem = self.sync.add(source, stamp, value, now)
            if not problem:
                self.health[source].received(now / NANOSECONDS)
        if problem:
            self.refuse(source, problem)
        else:
            self.poll()

    def refuse(self, source: str, reason: str) -> None:
        """Count a sample that cannot be used; the first of a kind is logged, all are in the diagnostics."""
        with self.lock:
            is_new = self.health[source].drop(reason)
        if is_new:
            self.get_logger().warning(f'{source}: sample dropped: {reason}')

    def poll(self) -> None:
        with self.lock:
            while aligned := self.sync.poll(self.now()):
                self.publish(aligned)

    def checked(self, aligned: Aligned) -> Aligned:
        """With what is wrong if a camera is frozen; only parts that belong together can tell."""
        self.frozen_cameras = {}
        if aligned.stale:
            return aligned
        position, _ = aligned.parts[JOINTS].value
        for camera in self.profile.cameras:
            picture = aligned.parts[camera.name]
            if problem := self.frozen.check(camera.name, picture.stamp, picture.value.data, position):
                self.frozen_cameras[camera.name] = problem
        told = [f'{name}: {problem}' for name, problem in self.frozen_cameras.items()]
        return replace(aligned, problem='; '.join(told))

    def publish(self, aligned: Aligned) -> None:
        """Send an alignment; a part that is missing is an empty image or empty arrays."""
        aligned = self.checked(aligned)
        names = [camera.name for camera in self.profile.cameras]
        message = Observation(
            header=Header(stamp=ns_to_stamp(aligned.stamp)),
            camera_names=names,
            images=[picture.value if (picture := aligned.parts[name]) else Image() for name in names],
            joint_names=self.profile.joint_names,
            instruction=self.instruction,
            max_skew=aligned.max_skew,
            stale=aligned.stale,
        )
        state: Sample | None = aligned.parts[JOINTS]
        if state:
            position, velocity = state.value
            command = self.commands.at(aligned.stamp)
            fill_array(message, 'position', position)
            fill_array(message, 'velocity', velocity)
            fill_array(message, 'command', position if command is None else command)
        self.publisher.publish(message)
        self.sent += 1
        self.stale += aligned.stale
        for name in aligned.parts:
            self.skew[name] = max(self.skew[name], abs(aligned.skew(name)))
        if aligned.problem != self.problem:
            if not aligned.problem:
                self.get_logger().info('observations are good again')
            elif not self.problem:
                self.get_logger().warning(f'observations are stale: {aligned.problem}')
            self.problem = aligned.problem

    def report(self) -> None:
        """One status per source and one for the observations."""
        with self.lock:
            now = self.now() / NANOSECONDS
            for name, skew in self.skew.items():
                problem, values = self.health[name].report(now)
                capture = self.captures.get(name)
                if capture and capture.state != 'open':
                    problem = f'{capture.source}: {capture.state}'
                problem = self.frozen_cameras.get(name) or problem
                level = OK if not problem else WARN if 'refused' in problem else ERROR
                self.diagnostics.add(name, level, problem or 'OK', {**values, 'max_skew_s': f'{skew:.4f}'})
                self.skew[name] = 0.0
            # No command is no fault here: whoever should send one reports that.
            self.diagnostics.add('command', OK, 'OK', self.health['command'].report(now)[1])
            values = {'sent': self.sent, 'stale': self.stale}
            self.diagnostics.add('observation', STALE if self.problem else OK, self.problem or 'OK', values)
            self.sent = self.stale = 0
            self.diagnostics.publish()


def main() -> int:
    return run(CameraNode)


if __name__ == '__main__':
    sys.exit(main())
