"""From the motion a person wants of the tools to velocities of the joints."""

from typing import Literal

import numpy as np

from rlt_ros.config import RobotProfile
from rlt_ros.control.kinematics import Kinematics
from rlt_ros.teleop.joystick import Takeover

Frame = Literal['tool', 'world']
# Near a singular pose the tool turns first, then moves less; the joints never get faster without bounds.
DAMPING = 1e-4  # m2 (per rad2)
LENGTH = 0.1  # m: a turn of 1 rad that is not wanted is as bad as being so far off


class Cartesian:
    """The arms of a robot as a person moves them: by small steps from wherever they stand."""

    def __init__(self, profile: RobotProfile, frame: Frame):
        """frame: whose axes the motion is along and about, each tool's own or the world's."""
        self.kinematics, self.frame = Kinematics(profile), frame
        self.limits = np.array([joint.velocity for joint in profile.joints])
        self.weights = np.array([1.0, 1.0, 1.0, LENGTH, LENGTH, LENGTH])

    def velocity(self, takeover: Takeover, position: np.ndarray | None) -> np.ndarray:
        """Joint velocities (D,), rad/s and m/s, within the limits; `position` (D,) measured, None: unknown, no motion.

        A motion that one joint cannot follow is slowed down as a whole, so that its direction stays.
        """
        result = np.zeros(len(self.limits))
        if position is None:
            return result
        for number in takeover.arms:
            arm, joints = self.kinematics.arms[number], self.kinematics.slices[number]
            _, rotation = arm.tool(position[joints])
            turn = rotation if self.frame == 'tool' else np.eye(3)
            twist = self.weights * np.concatenate([turn @ takeover.linear, turn @ takeover.angular])
            jacobian = self.weights[:, None] * arm.jacobian(position[joints])
            wanted = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING * np.eye(6), twist)
            result[joints] = wanted / max(1.0, np.max(np.abs(wanted) / self.limits[joints]))
            gripper = self.kinematics.grippers[number]
            result[gripper] = takeover.gripper * self.limits[gripper]
        return result
