"""Forward and inverse kinematics of the profile's serial arms, in numpy."""

import numpy as np

from rlt_ros.config import Arm, RobotProfile

IDENTITY = np.eye(3)
DAMPING = 1e-4  # of inverse kinematics


def home(profile: RobotProfile) -> np.ndarray:
    """(D,) where the robot waits: rad, grippers m."""
    return np.array([joint.home for joint in profile.joints])


def skew(v: np.ndarray) -> np.ndarray:
    """Cross product matrix of a 3-vector."""
    x, y, z = v
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def rotation_vector(r: np.ndarray) -> np.ndarray:
    """Axis times angle of a rotation matrix (3, 3); rad, angle in [0, pi]."""
    v = 0.5 * np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    sine = np.sqrt(v @ v)
    cosine = 0.5 * (np.trace(r) - 1.0)
    if sine > 1e-9:
        return v * (np.arctan2(sine, cosine) / sine)
    if cosine > 0:
        return v
    # half a turn: the axis is the column of r + 1 that is longest
    columns = r + IDENTITY
    axis = columns[:, np.argmax(np.linalg.norm(columns, axis=0))]
    return np.pi * axis / np.linalg.norm(axis)


class ArmKinematics:
    """One serial arm without its gripper."""

    def __init__(self, arm: Arm):
        self.size = len(arm.joints)
        self.lower = np.array([joint.lower for joint in arm.joints])
        self.upper = np.array([joint.upper for joint in arm.joints])
        c, s = np.cos(arm.base_yaw), np.sin(arm.base_yaw)
        self._base_rotation = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        self._base_position = np.array(arm.base_position)
        self._origins = np.array([joint.origin for joint in arm.joints])
        self._skews = [skew(np.array(joint.axis)) for joint in arm.joints]
        self._squares = [k @ k for k in self._skews]
        self._axes = np.array([joint.axis for joint in arm.joints])
        self._tool = np.array(arm.tool_position)

    def frames(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Joint positions and the tool's (n + 1, 3), joint axes (n, 3), the tool's rotation (3, 3); world frame."""
        rotation, position = self._base_rotation, self._base_position
        points, axes = np.empty((self.size + 1, 3)), np.empty((self.size, 3))
        sines, cosines = np.sin(q), np.cos(q)
        for i in range(self.size):
            position = position + rotation @ self._origins[i]
            points[i] = position
            axes[i] = rotation @ self._axes[i]
            rotation = rotation @ (IDENTITY + sines[i] * self._skews[i] + (1.0 - cosines[i]) * self._squares[i])
        points[-1] = position + rotation @ self._tool
        return points, axes, rotation

    def tool(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tool centre point (3,), m, and its rotation (3, 3), world frame, for joint angles q (n,), rad."""
        points, _, rotation = self.frames(q)
        return points[-1], rotation

    def jacobian(self, q: np.ndarray) -> np.ndarray:
        """(6, n): tool velocity and angular velocity, world frame, per joint velocity."""
        points, axes, _ = self.frames(q)
        return np.concatenate([np.cross(axes, points[-1] - points[:-1]).T, axes.T])

    def solve(
        self, position: np.ndarray, rotation: np.ndarray, start: np.ndarray, iterations: int = 2
    ) -> np.ndarray:
        """Joint angles (n,) within limits that bring the tool towards a pose, by damped least squares from `start`."""
        q = np.array(start, float)
        for _ in range(iterations):
            points, axes, current = self.frames(q)
            error = np.concatenate([position - points[-1], rotation_vector(rotation @ current.T)])
            jacobian = np.concatenate([np.cross(axes, points[-1] - points[:-1]).T, axes.T])
            step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING * np.eye(6), error)
            q = np.clip(q + step, self.lower, self.upper)
        return q


class Kinematics:
    """All arms of a robot; joint vectors are in wire order (each arm's joints, then its gripper)."""

    def __init__(self, profile: RobotProfile):
        self.arms = [ArmKinematics(arm) for arm in profile.arms]
        self.slices: list[slice] = []
        start = 0
        for arm in self.arms:
            self.slices.append(slice(start, start + arm.size))
            start += arm.size + 1
        self.grippers = [s.stop for s in self.slices]

    def tool_positions(self, q: np.ndarray) -> np.ndarray:
        """Tool centre points (arms, 3), m, world frame, for a joint vector (D,)."""
        return np.stack([arm.tool(q[s])[0] for arm, s in zip(self.arms, self.slices, strict=True)])
