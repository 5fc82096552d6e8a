"""A scripted teleoperator for tasks of the kind "down into the socket": slow, a little off, and probing as people are.

It aims with an error, waits, descends, notices that it is stuck, lifts and tries again with a smaller error.
It gives 50 Hz joint commands as any teleoperation device would; that its aim starts from the simulator's socket pose
stands in for the person's eyes.
"""

import numpy as np

from rlt_ros.sim.world import World, down, yaw_of

AIM_SHRINK = 0.6  # of the aim's error, per retry
LIFT_SPEED, LIFT_TO = 0.03, 0.004  # m/s, m
TREMOR = 4e-5  # m per tick, filtered


class Operator:
    """One demonstration of the critical phase. Call `command()` once per control tick."""

    def __init__(self, world: World, random: np.random.Generator):
        self.world, self.random, self.person = world, random, world.task.person
        self.dt = 1.0 / world.profile.control_rate
        self.arm = world.kinematics.arms[world.tool_arm]
        self.part = world.kinematics.slices[world.tool_arm]
        self.joints = world.command.copy()
        position, rotation = self.arm.tool(self.joints[self.part])
        # of the tip from the mouth
        self.offset = position + rotation @ world.in_hand - world.socket_position - [0, 0, world.task.tip]
        self.yaw = yaw_of(rotation) - world.socket_yaw
        self.speed = random.uniform(0.025, 0.04)
        self.descent = random.uniform(0.010, 0.018)
        self.phase, self.tick, self.tries, self.stuck = 'approach', 0, 0, 0
        self.tremor = np.zeros(2)
        self._aim(wait=(10, 30))

    def _aim(self, wait: tuple[int, int]) -> None:
        shrink = AIM_SHRINK**self.tries
        self.aim = self.random.normal(0, self.person.aim_error * shrink, 2)
        self.aim_yaw = self.random.normal(0, self.person.yaw_error * shrink)
        self.wait = int(self.random.integers(*wait))

    def command(self) -> np.ndarray:
        """The next joint command (D,), rad (grippers: m)."""
        getattr(self, f'_{self.phase}')()
        self.tick += 1
        self.tremor = 0.9 * self.tremor + self.random.normal(0, TREMOR, 2)
        rotation = down(self.world.socket_yaw + self.yaw)
        tip = self.world.socket_position + self.offset + [*self.tremor, self.world.task.tip]
        self.joints[self.part] = self.arm.solve(tip - rotation @ self.world.in_hand, rotation, self.joints[self.part])
        return self.joints.copy()

    def _approach(self) -> None:
        way = np.array([*self.aim, self.person.hover]) - self.offset
        distance = float(np.linalg.norm(way))
        ease = min(1.0, self.tick / 15 + 0.1) * min(1.0, distance / 0.01 + 0.15)
        self.offset = self.offset + way / max(distance, 1e-9) * min(distance, self.speed * self.dt * ease)
        self.yaw += float(np.clip(self.aim_yaw - self.yaw, -0.008, 0.008))
        if distance < 3e-4:
            self.wait -= 1
            if self.wait <= 0:
                self.phase = 'descend'

    def _descend(self) -> None:
        self.offset = self.offset + [*np.clip(self.aim - self.offset[:2], -2e-4, 2e-4), -self.descent * self.dt]
        lowest = max(self.person.deepest, self.world.tip_in_socket()[2] - self.person.press)
        self.offset[2] = max(self.offset[2], lowest)
        self.stuck = self.stuck + 1 if self.world.task.is_stuck(self.world, self.offset[2]) else 0
        if self.stuck > self.person.stuck_ticks:
            self.phase, self.stuck = 'lift', 0

    def _lift(self) -> None:
        self.offset = self.offset + [0, 0, LIFT_SPEED * self.dt]
        if self.offset[2] > LIFT_TO:
            self.tries += 1
            self._aim(wait=(8, 25))
            self.phase = 'approach'
