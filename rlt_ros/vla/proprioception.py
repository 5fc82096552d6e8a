"""What the robot feels of itself: the paper's s^p, in tool space for some tasks and in joint space for others."""

import numpy as np

from rlt_ros.control.kinematics import Kinematics, rotation_vector

MEASURED_PER_ARM = 7  # tool position 3, rotation 3, gripper 1
POSE_PER_ARM = 13  # these, commanded minus measured position 3 and rotation 3
VELOCITY_PER_ARM = 6
# smallest standard deviations that count: what never moves in the demonstrations must not amplify noise
POSE_FLOOR = [2e-3] * 3 + [1e-2] * 3 + [2e-3] + [5e-4] * 3 + [5e-3] * 3
VELOCITY_FLOOR = [1e-2] * 3 + [5e-2] * 3
JOINTS_FLOOR = (5e-3, 1e-3, 2e-2)  # rad, rad, rad/s; grippers: m
CLIP = 16.0  # the hand is a dozen deviations from the socket where it fetches a part


class Proprioception:
    """Raw features of a robot state: poses of the tools, their velocities, then joints.

    The VLA sees the poses. The actor-critic sees poses and velocities, or joints, as the task says (`of`).
    Commanded minus measured is how a position-controlled arm feels contact; without it stuck and free look alike.
    """

    def __init__(self, kinematics: Kinematics, home: np.ndarray):
        self.kinematics = kinematics
        self._home = [arm.tool(home[s])[1] for arm, s in zip(kinematics.arms, kinematics.slices, strict=True)]
        arms = len(kinematics.arms)
        self.pose_size = POSE_PER_ARM * arms
        tools = self.pose_size + VELOCITY_PER_ARM * arms
        self.size = tools + 3 * len(home)
        self._part = {'pose': slice(0, tools), 'joints': slice(tools, self.size)}
        self.floor = np.concatenate([POSE_FLOOR * arms, VELOCITY_FLOOR * arms, np.repeat(JOINTS_FLOOR, len(home))])

    def of(self, kind: str) -> slice:
        """Where the actor-critic's part is; kind: pose or joints."""
        return self._part[kind]

    def features(self, position: np.ndarray, velocity: np.ndarray, command: np.ndarray) -> np.ndarray:
        """(P,) features in m, rad, m/s and rad/s from joint vectors (D,); rotations relative to home, world frame."""
        pose, speed = [], []
        parts = zip(self.kinematics.arms, self.kinematics.slices, self.kinematics.grippers, self._home, strict=True)
        for arm, part, gripper, home in parts:
            points, axes, rotation = arm.frames(position[part])
            wanted, wanted_rotation = arm.tool(command[part])
            pose += [points[-1], rotation_vector(rotation @ home.T), position[gripper : gripper + 1]]
            pose += [wanted - points[-1], rotation_vector(wanted_rotation @ rotation.T)]
            rates = velocity[part]
            speed += [rates @ np.cross(axes, points[-1] - points[:-1]), rates @ axes]
        behind = (command - position + np.pi) % (2 * np.pi) - np.pi  # a whole turn is none
        return np.concatenate([*pose, *speed, position, behind, velocity])
