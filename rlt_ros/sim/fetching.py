"""The scripted person's way from an empty hand to the part above the socket: a little off, and again if it slips.

Demonstrations have detours: who learns from straight ways alone never sees how to come back to them. They are small
where the hand is near the way's end, and nobody learns to take them (`Teleoperation.straying`). Half of them stay near
the end's height: where no hand is ever low beside the part, "low enough" is learned as "there". Some first grasps
go beside the part, and some of these are noticed before the fingers have closed.
"""

from dataclasses import dataclass

import numpy as np

from rlt_ros.sim.operator import AIM_SHRINK, TREMOR
from rlt_ros.sim.rack import CLOSED, OPEN
from rlt_ros.sim.world import World, down, yaw_of

AIM_ERROR, YAW_ERROR = 1.0e-3, 0.03  # m, rad: standard deviation of the first grasp
BRING_ERROR = 2e-3  # m, standard deviation of where the part is brought above the socket
ABOVE, LIFT = 0.03, 0.05  # m over the part before and after the grasp
STEEP = 3.0  # how much higher than beside the part the hand comes near it
SPEEDS = {'reach': 0.07, 'miss': 0.04, 'close': 0.0, 'raise': 0.05, 'carry': 0.07}  # m/s
SLOW, CREEP = 0.025, 0.12  # m from the end where it slows down; of the speed that is left there
TURNING, GRIPPING = 0.012, 0.0002  # rad, m per tick
WAIT = 20  # ticks for the fingers to close
PATIENCE = 50  # ticks at the end of the way until the part is brought there anew
DETOURS = 3, 8  # of a way, below the second
FARTHEST = 0.06  # m from the way's end that detours begin; most of them are nearer
ACROSS, WIDER = 0.004, 0.2  # m: how far they go aside, and by how much of the distance to the end farther
LEVEL = 0.5  # share of detours that stay near the end's height
UP_OR_DOWN, HIGHER, ASKEW = 1.0, 2.0, 6.0  # of that: how far these go up or down, and the others up, at most; rad per m
PASSED = 0.5  # of that: so near to a detour's point the hand comes back
MISSES, MISSED_BY = 0.4, (0.004, 0.020)  # share of first grasps beside the part, m
OUT_OF_REACH = 0.014  # m: nearer than that a person notices in time; farther, every other time


@dataclass(frozen=True)
class Detour:
    position: np.ndarray  # (3,) m
    yaw: float  # rad
    begin: float  # m from the way's end
    passed: float  # m from the position


class Fetching:
    """Of a world with a rack, from wherever the hand is. Call `command()` per tick until it is above the socket."""

    def __init__(self, world: World, random: np.random.Generator, detours: bool = False):
        self.world, self.random, self.task = world, random, world.task
        self.astray = detours
        self.detours: list[Detour] = []
        self.away = self.missing = False  # on the way to a detour; on the way to a grasp beside the part
        self.dt = 1.0 / world.profile.control_rate
        self.arm = world.kinematics.arms[world.tool_arm]
        self.part = world.kinematics.slices[world.tool_arm]
        self.grip = world.kinematics.grippers[world.tool_arm]
        self.joints = world.command.copy()
        self.position, rotation = self.arm.tool(self.joints[self.part])
        self.yaw = yaw_of(rotation)
        self.tremor, self.tick, self.tries = np.zeros(3), 0, 0
        self.open = self.closed
        self.waiting = 0  # ticks at the end of the way
        self.noticed = 0.0  # m of the gripper where a grasp beside the part is noticed
        self.pace = random.uniform(0.85, 1.15)
        if world.holding:
            self._bring()
        else:
            self._aim()

    def _aim(self) -> None:
        error = AIM_SHRINK**self.tries
        goal = self.world.rack.part + self.random.normal(0, AIM_ERROR * error, 3)
        self.open = OPEN
        self._set_out('reach', goal, self.world.rack.yaw + self.random.normal(0, YAW_ERROR * error))

    @property
    def closed(self) -> float:
        """m to which a closed hand is told to close: a person feels where the part stops the fingers."""
        gripper = self.world.profile.joints[self.grip]
        return gripper.home if self.world.holding else gripper.lower

    @property
    def straying(self) -> bool:
        """Whether the last command led where nobody should go."""
        return self.away or self.missing

    def command(self) -> np.ndarray:
        """The next joint command (D,), rad (grippers: m)."""
        getattr(self, f'_{self.phase}')()
        self.tick += 1
        self.tremor = 0.9 * self.tremor + self.random.normal(0, TREMOR, 3)
        self.joints[self.part] = self.arm.solve(self.position + self.tremor, down(self.yaw), self.joints[self.part])
        self.joints[self.grip] = self.open
        return self.joints.copy()

    def _go(self, goal: np.ndarray, yaw: float, left: float | None = None) -> bool:
        """A step towards a pose; whether it is reached. left: m to the way's end, where that is farther."""
        way = goal - self.position
        distance = float(np.linalg.norm(way))
        ease = min(1.0, self.tick / 15 + 0.1) * min(1.0, (left or distance) / SLOW + CREEP)
        step = SPEEDS[self.phase] * self.pace * self.dt * ease
        self.position = self.position + way / max(distance, 1e-9) * min(distance, step)
        self.yaw += float(np.clip(yaw - self.yaw, -TURNING, TURNING))
        return distance < 5e-4 and abs(yaw - self.yaw) < 1e-3

    def _next(self, phase: str) -> None:
        self.phase, self.tick = phase, 0

    def _set_out(self, phase: str, goal: np.ndarray, yaw: float) -> None:
        """Begin a way to a pose; it may have detours."""
        self._next(phase)
        self.goal, self.goal_yaw, self.detours = goal, yaw, []
        if self.astray:
            draw = self.random
            for begin in np.sort(FARTHEST * draw.random(draw.integers(*DETOURS)) ** 2)[::-1]:
                wide = ACROSS + WIDER * begin
                low, high = (-UP_OR_DOWN, UP_OR_DOWN) if draw.random() < LEVEL else (0.0, HIGHER)
                up = draw.uniform(low * wide, high * wide)
                aside = np.array([*draw.normal(0, wide, 2), up])
                self.detours.append(Detour(goal + aside, yaw + draw.normal(0, ASKEW * wide), begin, PASSED * wide))

    def _travel(self, via: np.ndarray) -> bool:
        """A step of such a way; whether its end is reached. via: where the hand goes meanwhile."""
        left = float(np.linalg.norm(self.goal - self.position))
        if self.detours and left < self.detours[0].begin:
            self.away = True
        if not self.away:
            return self._go(via, self.goal_yaw, left) and left < 5e-4
        detour = self.detours[0]
        self._go(detour.position, detour.yaw)
        if np.linalg.norm(detour.position - self.position) < detour.passed:
            self.detours.pop(0)
            self.away = False
        return False

    def _reach(self) -> None:
        """From above: the nearer beside the part, the lower."""
        across = float(np.linalg.norm((self.goal - self.position)[:2]))
        if not self._travel(self.goal + [0, 0, min(ABOVE, STEEP * across)]):
            return
        self._next('close')
        if self.astray and self.tries == 0 and self.random.random() < MISSES:
            way, far = self.random.uniform(-np.pi, np.pi), self.random.uniform(*MISSED_BY)
            self.goal = self.goal + far * np.array([np.cos(way), np.sin(way), 0])
            self.missing = True
            if far < OUT_OF_REACH or self.random.random() < 0.5:
                self.noticed = self.random.uniform(CLOSED, OPEN)
            self._next('miss')

    def _miss(self) -> None:
        if self._go(self.goal, self.goal_yaw):
            self._next('close')

    def _close(self) -> None:
        self.open = max(self.closed, self.open - GRIPPING)
        if self.missing and self.open < self.noticed:
            self.missing = False
            self._again()
        elif self.open == self.closed and self.tick > WAIT + (OPEN - self.closed) / GRIPPING:
            self.missing = False
            self._next('raise')

    def _raise(self) -> None:
        if not self._go(self.goal + [0, 0, LIFT], self.goal_yaw):
            return
        if self.world.holding:
            self._bring()
        else:
            self._again()

    def _again(self) -> None:
        self.tries += 1
        self._aim()

    def _bring(self) -> None:
        task, world = self.task, self.world
        above, self.waiting = [*self.random.normal(0, BRING_ERROR, 2), task.start_height + task.tip], 0
        self._set_out('carry', world.socket_position + above, world.socket_yaw + self.random.normal(0, YAW_ERROR))

    def _carry(self) -> None:
        self.waiting += self._travel(self.goal)
        if self.waiting > PATIENCE:  # too far off
            self._bring()
