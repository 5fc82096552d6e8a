"""The robot's schema: arms, cameras, rates and topics."""

import math
from typing import Literal

from pydantic import Field, model_validator

from rlt_ros.config.strict import Strict, UnitVector, Vector3


class Joint(Strict):
    """A joint of a serial arm: where it sits on its parent, about which axis it turns, and its limits."""

    name: str
    origin: Vector3 = Field(default=[0.0, 0.0, 0.0], description='m, in the parent joint frame at zero')
    axis: UnitVector = Field(default=[0.0, 0.0, 1.0], description='unit vector, own frame')
    lower: float = Field(description='rad (gripper: m)')
    upper: float = Field(description='rad (gripper: m)')
    velocity: float = Field(gt=0, description='limit, rad/s (gripper: m/s)')
    acceleration: float = Field(gt=0, description='limit, rad/s2 (gripper: m/s2)')
    home: float = Field(default=0.0, description='rad (gripper: m), where the arm rests')

    @model_validator(mode='after')
    def _ordered(self) -> 'Joint':
        if not self.lower <= self.home <= self.upper:
            raise ValueError(f'{self.name}: home {self.home} is outside [{self.lower}, {self.upper}]')
        return self


class Arm(Strict):
    """Revolute joints in series and a gripper; the simulator knows arms of six joints alone."""

    name: str
    base_position: Vector3 = Field(description='m, world frame')
    base_yaw: float = Field(description='rad, about world z')
    joints: list[Joint] = Field(min_length=1)
    tool_position: Vector3 = Field(description='m, tool centre point in the last joint frame; x points out of the hand')
    gripper: Joint
    squeeze: float = Field(
        default=0.0, ge=0, le=0.05, description='m that an episode begins with its gripper commanded to close beyond '
        'where it is measured: a position-controlled one would let go of what it squeezes'
    )  # fmt: skip


class Mount(Strict):
    """Where a camera is: the simulator puts it there, and camera_node takes it to be there."""

    body: str = Field(description='"world" or an arm name (its hand)')
    position: Vector3 = Field(description='m, in that body')
    look_at: Vector3 = Field(description='m, in that body')
    up: Vector3 = Field(default=[0.0, 0.0, 1.0])
    field_of_view: float = Field(gt=1, lt=150, description='degrees, vertical')

    @model_validator(mode='after')
    def _looks_somewhere(self) -> 'Mount':
        if self.look_at == self.position:
            raise ValueError(f'look_at {self.look_at} must be another point than position')
        ahead = [to - at for to, at in zip(self.look_at, self.position, strict=True)]
        along = sum(a * b for a, b in zip(self.up, ahead, strict=True))
        if abs(along) >= (1 - 5e-7) * math.hypot(*self.up) * math.hypot(*ahead):  # within 1 mrad, or up is nothing
            raise ValueError(f'up {self.up} must be another direction than that from position to look_at')
        return self


class Camera(Strict):
    """One camera: a ROS topic, or a source that OpenCV opens."""

    name: str
    topic: str = Field(
        default='', description='Image topic; one that ends in /compressed carries CompressedImage; "": see source'
    )
    source: str = Field(
        default='', description='"" reads the topic; /dev/video0, rtsp://..., or a video file is opened in its place'
    )
    mount: Mount

    @model_validator(mode='after')
    def _sees(self) -> 'Camera':
        if not self.topic and not self.source:
            raise ValueError(f'{self.name}: a topic or a source must be given')
        return self


class RobotProfile(Strict):
    """A robot: its arms, cameras, rates and topics. Everything that has a size takes it from here."""

    kind = 'robot'
    folder = 'robots'
    name: str
    arms: list[Arm] = Field(min_length=1)
    cameras: list[Camera] = Field(min_length=1)
    image_size: int = Field(
        default=96, ge=32, le=512, multiple_of=16, description='px, square, as the VLA sees it: in tokens of 16 px'
    )
    control_rate: float = Field(default=50.0, ge=10, le=1000, description='Hz, of commands')
    observation_rate: float = Field(default=25.0, ge=1, le=200, description='Hz, of observations')
    max_skew: float = Field(default=0.02, gt=0, description='s, between the parts of an observation')
    max_age: float = Field(default=0.1, gt=0, description='s, of joint states before the robot holds')
    max_lag: float = Field(default=0.2, gt=0, description='rad (gripper: m), commanded minus measured')
    workspace_low: Vector3 = Field(description='m, world frame, where tool centre points may go')
    workspace_high: Vector3 = Field(description='m, world frame')
    command_interface: Literal['joint_trajectory', 'forward'] = 'joint_trajectory'
    command_topic: str = 'joint_command'
    joint_state_topic: str = 'joint_states'

    @property
    def joints(self) -> list[Joint]:
        """All joints in wire order: each arm's joints, then its gripper."""
        return [joint for arm in self.arms for joint in (*arm.joints, arm.gripper)]

    @property
    def joint_names(self) -> list[str]:
        return [joint.name for joint in self.joints]

    @property
    def action_dim(self) -> int:
        """D, the width of an action."""
        return len(self.joints)

    @property
    def stride(self) -> int:
        """Control ticks from one observation to the next."""
        return round(self.control_rate / self.observation_rate)

    @model_validator(mode='after')
    def _consistent(self) -> 'RobotProfile':
        names = [*self.joint_names, *(camera.name for camera in self.cameras)]
        if len(set(names)) != len(names):
            raise ValueError('joint and camera names must be unique')
        if abs(self.control_rate / self.observation_rate - self.stride) > 1e-9:
            raise ValueError('control_rate must be a whole multiple of observation_rate')
        return self

    @model_validator(mode='after')
    def _possible(self) -> 'RobotProfile':
        arms = [arm.name for arm in self.arms]
        if len(set(arms)) != len(arms):
            raise ValueError(f'arm names must be unique: {", ".join(arms)}')
        if 'world' in arms:
            raise ValueError("an arm cannot be named 'world': cameras that stand still are mounted there")
        for camera in self.cameras:
            if camera.mount.body not in ('world', *arms):
                allowed = ', '.join(['world', *arms])
                raise ValueError(
                    f'camera {camera.name}: mount.body = {camera.mount.body!r} is not allowed; allowed: {allowed}'
                )
        for arm in self.arms:
            if arm.squeeze > (most := arm.gripper.velocity / self.control_rate) + 1e-9:  # it is commanded at once
                raise ValueError(
                    f'arm {arm.name}: squeeze = {arm.squeeze} is not allowed: at most {most:.3g}, '
                    'what its gripper moves in a tick'
                )
        for i, (low, high) in enumerate(zip(self.workspace_low, self.workspace_high, strict=True)):
            if low >= high:
                raise ValueError(
                    f'workspace_low[{i}] = {low} is not allowed: it must be less than workspace_high[{i}] = {high}'
                )
        return self
