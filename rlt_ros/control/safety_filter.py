"""The last thing before the robot: whatever comes in, what goes out is finite and within limits."""

import numpy as np

from rlt_ros.config import RobotProfile
from rlt_ros.control.kinematics import Kinematics

# filter flags: what was changed, per step, as bits
NOT_FINITE, POSITION, VELOCITY, ACCELERATION, WORKSPACE, LAG = 1, 2, 4, 8, 16, 32
FLAGS = {
    'not_finite': NOT_FINITE, 'position': POSITION, 'velocity': VELOCITY, 'acceleration': ACCELERATION,
    'workspace': WORKSPACE, 'lag': LAG,
}  # fmt: skip


class SafetyFilter:
    """Position, velocity and acceleration limits, workspace box and largest lag behind the command, in joint space.

    Stateful: it remembers the last command and its speed. Vectors are (D,), rad (grippers: m). A robot that starts
    outside of a limit or the box may come in, and never goes further out.
    """

    def __init__(self, profile: RobotProfile):
        joints = profile.joints
        self.names = profile.joint_names
        self.dt = 1.0 / profile.control_rate
        self.lower = np.array([joint.lower for joint in joints])
        self.upper = np.array([joint.upper for joint in joints])
        self.velocity_limit = np.array([joint.velocity for joint in joints])
        self.acceleration = np.array([joint.acceleration for joint in joints])
        self.max_lag = profile.max_lag
        self.low, self.high = np.array(profile.workspace_low), np.array(profile.workspace_high)
        self.kinematics = Kinematics(profile)
        self.squeeze = np.zeros(len(joints))
        self.squeeze[self.kinematics.grippers] = [arm.squeeze for arm in profile.arms]
        self.command = np.clip(np.zeros(len(joints)), self.lower, self.upper)
        self.velocity = np.zeros(len(joints))

    def restart(self, position: np.ndarray) -> None:
        """Begin from where the robot stands, its grippers squeezing what they are closed around.

        Raises ValueError unless position is (D,), finite, and at most max_lag outside of the limits.
        """
        position = np.asarray(position, float)
        if position.shape != self.lower.shape or not np.isfinite(position).all():
            raise ValueError(f'position must be {len(self.lower)} finite numbers')
        beyond = np.maximum(self.lower - position, position - self.upper)
        if beyond.max() > self.max_lag:
            raise ValueError(f'{self.names[np.argmax(beyond)]} stands {beyond.max():.3g} outside of its limits')
        self.command = np.maximum(position - self.squeeze, np.minimum(position, self.lower))
        self.velocity = np.zeros_like(self.command)

    def __call__(self, target: np.ndarray, measured: np.ndarray) -> tuple[np.ndarray, int]:
        """The command for this tick and what was changed (flags).

        A target or a measured position of another shape or not finite means: stop.
        """
        flags = 0
        target, measured = np.asarray(target, float), np.asarray(measured, float)
        if not all(v.shape == self.command.shape and np.isfinite(v).all() for v in (target, measured)):
            target, measured, flags = self.command, self.command, NOT_FINITE
        lower, upper = np.minimum(self.lower, self.command), np.maximum(self.upper, self.command)
        inside = np.clip(target, lower, upper)
        near = np.clip(inside, measured - self.max_lag, measured + self.max_lag)
        near = np.clip(near, lower, upper)
        wanted = (near - self.command) / self.dt
        reach = self.acceleration * self.dt
        # fast enough to stop before a limit, never faster
        up = np.minimum(self.velocity_limit, _braking(upper - self.command, self.acceleration, self.dt))
        down = np.minimum(self.velocity_limit, _braking(self.command - lower, self.acceleration, self.dt))
        slow = np.clip(wanted, -down, up)
        smooth = np.clip(slow, self.velocity - reach, self.velocity + reach)
        smooth = np.clip(smooth, -down, up)  # changes rounding errors alone
        if self._leaves(smooth):
            smooth = self._slower(self.velocity)  # stays inside: the step before was allowed
            flags |= WORKSPACE
        tolerance = 1e-9
        flags |= POSITION * bool(np.any(np.abs(inside - target) > tolerance))
        flags |= LAG * bool(np.any(np.abs(near - inside) > tolerance))
        flags |= VELOCITY * bool(np.any(np.abs(slow - wanted) > tolerance))
        flags |= ACCELERATION * bool(np.any(np.abs(smooth - slow) > tolerance) and not flags & WORKSPACE)
        self.velocity = smooth
        self.command = np.clip(self.command + smooth * self.dt, lower, upper)
        return self.command.copy(), flags

    def _slower(self, velocity: np.ndarray) -> np.ndarray:
        """Velocity (D,) one tick later when every joint brakes."""
        reach = self.acceleration * self.dt
        return velocity - np.clip(velocity, -reach, reach)

    def _leaves(self, velocity: np.ndarray) -> bool:
        """Whether a tool would leave the box, or go further out than it is, in a step or while stopping after it."""
        command, allowed = self.command, None
        while velocity.any():
            command = command + velocity * self.dt
            beyond = self._beyond(command)
            if beyond.max() > 0:
                if allowed is None:
                    allowed = np.maximum(self._beyond(self.command), 0.0)
                if np.any(beyond > allowed):
                    return True
            velocity = self._slower(velocity)
        return False

    def _beyond(self, command: np.ndarray) -> np.ndarray:
        """(arms, 3) m: how far each tool is outside the box along each axis; negative inside."""
        tools = self.kinematics.tool_positions(command)
        return np.maximum(self.low - tools, tools - self.high)


def _braking(distance: np.ndarray, acceleration: np.ndarray, dt: float) -> np.ndarray:
    """Largest speed from which a joint still stops within `distance` in steps of dt, the first at that speed.

    In units of a dt (speed) and a dt^2 (distance): k, k - 1, ... down to the rest m = floor(k) ticks later take
    (m + 1) k - m (m + 1) / 2.
    """
    d = np.maximum(distance, 0.0) / (acceleration * dt * dt)
    m = np.floor((np.sqrt(1.0 + 8.0 * d) - 1.0) / 2.0)
    return (d / (m + 1.0) + m / 2.0) * acceleration * dt
