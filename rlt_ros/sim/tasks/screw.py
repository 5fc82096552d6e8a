"""An M3 screw with a push-to-start electric driver: the bit has to find the recess, and stay in it for seven turns.

Torque goes through contact alone: the bit is a square bar on a motor with limited torque, the recess is four walls of a
screw that turns. A thread as a constraint would be soft, and a push would strip it; so the screw's height is set from
its turns at every step.
"""

from typing import TYPE_CHECKING

import numpy as np

from rlt_ros.sim.physics import Physics
from rlt_ros.sim.tasks.base import Person, SimTask, numbers
from rlt_ros.sim.tasks.shapes import VISUAL, visual

if TYPE_CHECKING:
    from rlt_ros.sim.world import World

BIT, LENGTH = 0.0012, 0.012  # m: half width of the square bit, its length
CLEARANCE = 0.0005  # m, total, in the recess
HEAD, RECESS = 0.00275, 0.002  # m: half width of the head, depth of the recess
PITCH, TURNS, LAST = 0.0005, 7.0, 8.0  # m per turn; turns that are enough; turns until it sits
SPEED, TORQUE = 35.0, 0.06  # rad/s, N m
PUSH = 0.0008  # m the bit gives way until the motor starts


class Screw(SimTask):
    tip = 0.014
    inside = 0.003  # it sinks with its turns
    person = Person(aim_error=4.5e-4, yaw_error=0.03, deepest=-0.012, press=0.0026, stuck_ticks=25)

    def held(self, physics: Physics) -> str:
        return (
            f'<geom {VISUAL} type="capsule" size="0.006" fromto="-0.03 0 0 {self.tip - LENGTH - 0.004} 0 0" '
            'rgba="0.9 0.55 0.1 1" mass="0.05"/>'
            f'<body gravcomp="1" name="bit" pos="{self.tip - LENGTH / 2} 0 0">'
            '<joint name="bit/push" type="slide" axis="1 0 0" stiffness="1500" damping="8" range="-0.004 0" '
            'armature="0.02"/>'
            '<joint name="bit/spin" axis="1 0 0" armature="0.0001" damping="0.0001"/>'
            f'<geom name="held/bit" {physics.part} type="box" size="{numbers((LENGTH / 2, BIT, BIT))}" mass="0.01" '
            'rgba="0.15 0.15 0.2 1"/>'
            f'<site name="held/tip" pos="{LENGTH / 2} 0 0" size="0.001" rgba="0 0 0 0"/></body>'
        )

    def socket(self, physics: Physics) -> str:
        half, walls = BIT + CLEARANCE / 2, []
        colour = 'rgba="0.75 0.75 0.78 1"'
        for number, sign in enumerate((1, -1)):
            walls += [
                f'<geom name="socket/x{number}" {physics.fixed} type="box" {colour} mass="0.0005" '
                f'size="{numbers(((HEAD - half) / 2, HEAD, RECESS / 2))}" '
                f'pos="{numbers((sign * (HEAD + half) / 2, 0, -RECESS / 2))}"/>',
                f'<geom name="socket/y{number}" {physics.fixed} type="box" {colour} mass="0.0005" '
                f'size="{numbers((half, (HEAD - half) / 2, RECESS / 2))}" '
                f'pos="{numbers((0, sign * (HEAD + half) / 2, -RECESS / 2))}"/>',
            ]
        return (
            '<body name="screw" gravcomp="1"><joint name="screw" axis="0 0 1" armature="0.00001" damping="0.0002" '
            f'frictionloss="0.002"/>{"".join(walls)}'
            f'<geom name="socket/floor" {physics.fixed} type="box" size="{HEAD} {HEAD} 0.0005" '
            f'pos="0 0 {-RECESS - 0.0005}" rgba="0.1 0.1 0.1 1" mass="0.0005"/>'
            f'<geom {VISUAL} type="cylinder" size="0.0015 0.003" pos="0 0 -0.006" rgba="0.6 0.6 0.65 1" mass="0.001"/>'
            f'</body><geom name="socket/plate" {physics.fixed} type="box" size="0.02 0.02 0.002" pos="0 0 -0.0085" '
            f'rgba="0.25 0.3 0.4 1"/>{visual("box", (0.03, 0.03, 0.012), (0, 0, -0.035), "0.3 0.3 0.35 1")}'
        )

    def actuators(self) -> str:
        return f'<velocity name="bit/spin" joint="bit/spin" kv="0.02" forcerange="-{TORQUE} {TORQUE}"/>'

    def turns(self, world: 'World') -> float:
        """Clockwise turns of the screw since the start."""
        return float(-world.data.joint('screw').qpos[0] / (2 * np.pi))

    def pushed(self, world: 'World') -> float:
        """m that the bit has given way."""
        return float(-world.data.joint('bit/push').qpos[0])

    def reset(self, world: 'World') -> None:
        # Nobody knows how the screw and the bit stand.
        world.data.joint('bit/spin').qpos[0] = world.random.uniform(-np.pi / 4, np.pi / 4)
        self.step(world)

    def step(self, world: 'World') -> None:
        turns = float(np.clip(self.turns(world), 0.0, LAST))
        world.model.body('screw').pos[2] = -PITCH * turns
        world.data.actuator('bit/spin').ctrl[0] = SPEED if self.pushed(world) > PUSH and turns < LAST else 0.0

    def done(self, world: 'World') -> bool:
        return self.turns(world) >= TURNS

    def is_stuck(self, world: 'World', commanded: float) -> bool:
        """It presses, the motor runs, and the screw stands still."""
        return self.pushed(world) > PUSH and abs(float(world.data.joint('screw').qvel[0])) < 1.0
