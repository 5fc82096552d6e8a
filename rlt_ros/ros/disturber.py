"""A node that listens to a running graph and gets in its way: what a soak does to it by messages."""

import asyncio
from collections.abc import Callable
import math
import os
import threading

import numpy as np
from rclpy.context import Context
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray, Header
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from rlt_ros.config import RobotProfile
from rlt_ros.msg import EpisodeState, ExecutedStep, Intervention, RlState
from rlt_ros.ros.node import fill_array
from rlt_ros.ros.qos import COMMAND, EVERY_CHANGE, RELIABLE, SENSOR, STORED
from rlt_ros.supervisor import environment

PERIOD = 0.02  # s between messages


class Disturber:
    """Context manager. Callbacks come in a thread of its own; every disturbance ends by itself."""

    def __init__(
        self, namespace: str, profile: RobotProfile, on_step: Callable[[ExecutedStep], None],
        on_episode: Callable[[EpisodeState], None],
    ):  # fmt: skip
        os.environ.update(environment(os.environ))  # it has to find the nodes where they are
        self.profile, self.last = profile, ExecutedStep()
        self.on_step = on_step
        self.context = Context()
        self.context.init(args=[], initialize_logging=False)
        self.node = Node(
            'disturber', context=self.context, namespace=namespace, enable_rosout=False, start_parameter_services=False
        )
        self.node.create_subscription(ExecutedStep, 'executed_step', self.take, STORED)
        self.node.create_subscription(EpisodeState, 'episode_state', on_episode, EVERY_CHANGE)
        self.switches = {name: self.node.create_client(Trigger, f'executor/{name}') for name in ('estop', 'rearm')}
        self.executor = EventsExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.running = True
        self.thread = threading.Thread(target=self.spin, name='disturber')

    def __enter__(self) -> 'Disturber':
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.running = False
        self.thread.join()
        self.node.destroy_node()
        self.context.try_shutdown()

    def spin(self) -> None:
        while self.running:
            self.executor.spin_once(timeout_sec=0.1)

    def take(self, message: ExecutedStep) -> None:
        self.last = message
        self.on_step(message)

    def header(self) -> Header:
        return Header(stamp=self.node.get_clock().now().to_msg())

    async def say(self, kind: type, topic: str, qos: QoSProfile, make: Callable[[int], object], seconds: float) -> None:
        """Publish make(0), make(1), ... for a while."""
        publisher = self.node.create_publisher(kind, topic, qos)
        try:
            for number in range(math.ceil(seconds / PERIOD)):
                publisher.publish(make(number))
                await asyncio.sleep(PERIOD)
        finally:
            self.node.destroy_publisher(publisher)

    async def garbage_frames(self, seconds: float = 2.0) -> None:
        """Frames without a stamp, without pixels, of a size that is not theirs, and from the future."""

        def make(number: int) -> Image:
            size = self.profile.image_size
            data = np.random.default_rng(number).integers(0, 256, 3 * size * size, np.uint8).tobytes()
            image = Image(header=self.header(), height=size, width=size, step=3 * size, encoding='rgb8', data=data)
            match number % 4:
                case 0:
                    image.header = Header()
                case 1:
                    image.data = b''
                case 2:
                    image.height = 4_000_000_000
                case 3:
                    image.header.stamp.sec += 3600
            return image

        topics = [camera.topic for camera in self.profile.cameras if camera.topic]
        for topic in topics[-1:]:
            await self.say(Image, topic, SENSOR, make, seconds)

    async def second_commander(self, seconds: float = 1.5) -> None:
        """Somebody else who commands the robot, until a person has looked and re-arms it."""

        def make(number: int) -> object:
            command = list(self.last.command)
            if self.profile.command_interface == 'forward':
                return Float64MultiArray(data=command)
            point = JointTrajectoryPoint(positions=command)
            return JointTrajectory(joint_names=self.profile.joint_names, points=[point])

        kind = Float64MultiArray if self.profile.command_interface == 'forward' else JointTrajectory
        await self.say(kind, self.profile.command_topic, COMMAND, make, seconds)
        await self.rearm()

    async def second_vla(self, seconds: float = 1.5) -> None:
        """Somebody else who speaks for the VLA, and says no numbers, until a person has looked."""

        def make(number: int) -> RlState:
            d = self.profile.action_dim
            state = RlState(header=self.header(), episode=self.last.episode, sequence=10**6, horizon=50, action_dim=d)
            fill_array(state, 'reference', np.full((50, d), np.nan))
            fill_array(state, 'position', np.zeros(d))
            return state

        await self.say(RlState, 'rl_state', RELIABLE(10), make, seconds)
        await self.rearm()

    async def takeover(self, seconds: float = 2.0) -> None:
        """A person who takes the robot, moves it to and fro, and lets go."""

        def make(number: int) -> Intervention:
            message = Intervention(header=self.header(), active=number * PERIOD < seconds, device='soak')
            fill_array(message, 'velocity', np.full(self.profile.action_dim, 0.02 * math.sin(number * PERIOD * 6.0)))
            return message

        await self.say(Intervention, 'intervention', RELIABLE(1), make, seconds + 0.1)

    async def estop(self, seconds: float = 1.0) -> None:
        """The E-stop, and after a while the re-arm."""
        await self.call('estop')
        await asyncio.sleep(seconds)
        await self.rearm()

    async def rearm(self) -> None:
        """Release the E-stop: again and again until it is granted."""
        while not await self.call('rearm'):
            await asyncio.sleep(0.2)

    async def call(self, name: str) -> bool:
        answer = self.switches[name].call_async(Trigger.Request())
        while not answer.done():
            await asyncio.sleep(PERIOD)
        return answer.result().success
