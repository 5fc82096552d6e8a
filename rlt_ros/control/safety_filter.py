"""The last thing before the robot: whatever comes in, what goes out is finite and within limits."""

import numpy as np

from rlt_ros.config import RobotProfile
from rlt_ros.control.kinematics import Kinematics

# filter flags: what was changed, per step, as bits
NOT_FINITE, POSITION, VELOCITY, ACCELERATION, WORKSPACE, LAG = 1, 2, 4, 8, 16, 32


class SafetyFilter:
    """Position, velocity and acceleration limits, workspace box and largest lag behind the command, in joint space.

    Stateful: it remembers the last command and its speed. Vectors are (D,), rad (grippers: m).
    """

    def __init__(self, profile: RobotProfile):
        joints = profile.joints
        self.dt = 1.0 / profile.control_rate
        self.lower = np.array([joint.lower for joint in joints])
        self.upper = np.array([joint.upper for joint in joints])
        self.velocity_limit = np.array([joint.velocity for joint in joints])
        self.acceleration = np.array([joint.acceleration for joint in joints])
        self.max_lag = profile.max_lag
        self.low, self.high = np.array(profile.workspace_low), np.array(profile.workspace_high)
        self.kinematics = Kinematics(profile)
        self.command = np.clip(np.zeros(len(joints)), self.lower, self.upper)
        self.velocity = np.zeros(len(joints))

    def restart(self, position: np.ndarray) -> None:
        """Begin from where the robot stands; raises ValueError unless position is (D,) and finite."""
        position = np.asarray(position, float)
        if position.shape != self.lower.shape or not np.isfinite(position).all():
            raise ValueError(f'position must be {len(self.lower)} finite numbers')
        self.command = np.clip(position, self.lower, self.upper)
        self.velocity = np.zeros_like(self.command)

    def __call__(self, target: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, int]:
        """The command for this tick and what was changed (flags). A target that is not finite means: stop."""
        flags = 0
        target = np.asarray(target, float)
        if target.shape != self.command.shape or not np.isfinite(target).all():
            target, flags = self.command, NOT_FINITE
        inside = np.clip(target, self.lower, self.upper)
        if np.isfinite(measured).all():
            near = np.clip(inside, measured - self.max_lag, measured + self.max_lag)
            near = np.clip(near, self.lower, self.upper)
        else:
            near = inside
        wanted = (near - self.command) / self.dt
        reach = self.acceleration * self.dt
        # fast enough to stop before a limit, never faster
        up = np.minimum(self.velocity_limit, _braking(self.upper - self.command, self.acceleration, self.dt))
        down = np.minimum(self.velocity_limit, _braking(self.command - self.lower, self.acceleration, self.dt))
        slow = np.clip(wanted, -down, up)
        smooth = np.clip(slow, self.velocity - reach, self.velocity + reach)
        smooth = np.clip(smooth, -down, up)
        if self._outside(self.command + smooth * self.dt):
            smooth = self.velocity - np.clip(self.velocity, -reach, reach)  # brake
            flags |= WORKSPACE
        tolerance = 1e-9
        flags |= POSITION * bool(np.any(np.abs(inside - target) > tolerance))
        flags |= LAG * bool(np.any(np.abs(near - inside) > tolerance))
        flags |= VELOCITY * bool(np.any(np.abs(slow - wanted) > tolerance))
        flags |= ACCELERATION * bool(np.any(np.abs(smooth - slow) > tolerance) and not flags & WORKSPACE)
        self.velocity = smooth
        self.command = np.clip(self.command + smooth * self.dt, self.lower, self.upper)
        return self.command.copy(), flags

    def _outside(self, command: np.ndarray) -> bool:
        """Whether a tool would leave the box, or go further out than it already is."""
        tools = self.kinematics.tool_positions(command)
        beyond = np.maximum(self.low - tools, tools - self.high)
        if beyond.max() <= 0:
            return False
        now = self.kinematics.tool_positions(self.command)
        return bool(np.any((beyond > 0) & (beyond > np.maximum(self.low - now, now - self.high))))


def _braking(distance: np.ndarray, acceleration: np.ndarray, dt: float) -> np.ndarray:
    """Largest speed from which a joint still stops within `distance` in steps of dt."""
    half = acceleration * dt / 2
    return -half + np.sqrt(half**2 + 2 * acceleration * np.maximum(distance, 0.0))
