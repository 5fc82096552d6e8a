"""The scripted person's way from an empty hand to the part above the socket: a little off, and again if it slips.

Demonstrations have detours: who learns from straight ways alone never sees how to come back to them.
"""

import numpy as np

from rlt_ros.sim.world import World, down, yaw_of

AIM_ERROR, YAW_ERROR = 1.8e-3, 0.04  # m, rad: standard deviation of the first grasp
AIM_SHRINK = 0.6  # per retry
ABOVE, LIFT = 0.03, 0.05  # m over the part before and after the grasp
SPEEDS = {'reach': 0.07, 'lower': 0.04, 'close': 0.0, 'raise': 0.05, 'carry': 0.07}  # m/s
TURNING, GRIPPING = 0.012, 0.0002  # rad, m per tick
WAIT = 20  # ticks for the fingers to close
DETOURS, DETOUR_ACROSS, DETOUR_UP, DETOUR_YAW = 2, 0.012, 0.03, 0.1  # at most on each way; m, m, rad off its end
PASSED = 0.006  # m from a detour's point, from where on the way goes on
TREMOR = 4e-5  # m per tick, filtered


class Fetching:
    """Of a world with a rack. Call `command()` once per control tick until the world says `critical()`."""

    def __init__(self, world: World, random: np.random.Generator, detours: bool = False):
        self.world, self.random, self.task = world, random, world.task
        self.most_detours = DETOURS if detours else 0
        self.detours: list[tuple[np.ndarray, float]] = []  # on the way to the goal, and the yaw there
        self.dt = 1.0 / world.profile.control_rate
        self.arm = world.kinematics.arms[world.tool_arm]
        self.part = world.kinematics.slices[world.tool_arm]
        self.grip = world.kinematics.grippers[world.tool_arm]
        self.joints = world.command.copy()
        self.closed = world.profile.joints[self.grip].home
        self.position, rotation = self.arm.tool(self.joints[self.part])
        self.yaw = yaw_of(rotation)
        self.tremor, self.tick, self.tries = np.zeros(3), 0, 0
        self.opening = self.joints[self.grip]
        self.pace = random.uniform(0.85, 1.15)
        self._aim()

    def _aim(self) -> None:
        error = AIM_SHRINK**self.tries
        self.goal = self.world.rack.part + self.random.normal(0, AIM_ERROR * error, 3)
        self.goal_yaw = self.world.rack.yaw + self.random.normal(0, YAW_ERROR * error)
        self.open = self.opening
        self._set_out('reach', self.goal + [0, 0, ABOVE], self.goal_yaw)

    def command(self) -> np.ndarray:
        """The next joint command (D,), rad (grippers: m)."""
        getattr(self, f'_{self.phase}')()
        self.tick += 1
        self.tremor = 0.9 * self.tremor + self.random.normal(0, TREMOR, 3)
        self.joints[self.part] = self.arm.solve(self.position + self.tremor, down(self.yaw), self.joints[self.part])
        self.joints[self.grip] = self.open
        return self.joints.copy()

    def _go(self, goal: np.ndarray, yaw: float) -> bool:
        """A step towards a pose; whether it is reached."""
        way = goal - self.position
        distance = float(np.linalg.norm(way))
        ease = min(1.0, self.tick / 15 + 0.1) * min(1.0, distance / 0.015 + 0.12)
        step = SPEEDS[self.phase] * self.pace * self.dt * ease
        self.position = self.position + way / max(distance, 1e-9) * min(distance, step)
        self.yaw += float(np.clip(yaw - self.yaw, -TURNING, TURNING))
        return distance < 5e-4 and abs(yaw - self.yaw) < 1e-3

    def _next(self, phase: str) -> None:
        self.phase, self.tick = phase, 0

    def _set_out(self, phase: str, goal: np.ndarray, yaw: float) -> None:
        """Begin a long way, which may have detours."""
        self._next(phase)
        draw, count = self.random, self.random.integers(self.most_detours + 1)
        self.detours = [
            (goal + [*draw.normal(0, DETOUR_ACROSS, 2), draw.uniform(0, DETOUR_UP)], yaw + draw.normal(0, DETOUR_YAW))
            for _ in range(count)
        ]

    def _travel(self, goal: np.ndarray, yaw: float) -> bool:
        """A step of a long way; whether its end is reached."""
        if not self.detours:
            return self._go(goal, yaw)
        self._go(*self.detours[0])
        if np.linalg.norm(self.detours[0][0] - self.position) < PASSED:
            self.detours.pop(0)
        return False

    def _reach(self) -> None:
        if self._travel(self.goal + [0, 0, ABOVE], self.goal_yaw):
            self._next('lower')

    def _lower(self) -> None:
        if self._go(self.goal, self.goal_yaw):
            self._next('close')

    def _close(self) -> None:
        self.open = max(self.closed, self.open - GRIPPING)
        if self.open == self.closed and self.tick > WAIT + (self.opening - self.closed) / GRIPPING:
            self._next('raise')

    def _raise(self) -> None:
        if not self._go(self.goal + [0, 0, LIFT], self.goal_yaw):
            return
        if not self.world.holding:
            self.tries += 1
            self._aim()
            return
        draw, task, world = self.random.uniform, self.task, self.world
        above = [*draw(-task.start_across, task.start_across, 2), task.start_height + task.tip]
        self.goal = world.socket_position + above
        self.goal_yaw = world.socket_yaw + draw(-task.start_yaw, task.start_yaw)
        self._set_out('carry', self.goal, self.goal_yaw)

    def _carry(self) -> None:
        self._travel(self.goal, self.goal_yaw)
