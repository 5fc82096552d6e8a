"""An 8P8C plug into its socket: 0.3 mm of play."""

from rlt_ros.sim.physics import Physics
from rlt_ros.sim.tasks.base import SimTask, numbers
from rlt_ros.sim.tasks.shapes import FLOOR, Boxes, visual

PLUG = (0.010, 0.00585, 0.0040)  # m, half sizes along the hand's x, y and z
CLEARANCE = 0.0003  # m, total
DEPTH, CHAMFER, OUTER = 0.014, 0.0008, 0.014  # m


class Ethernet(SimTask):
    tip = PLUG[0]

    def held(self, physics: Physics) -> str:
        return (
            f'<geom name="held/plug" {physics.part} type="box" size="{numbers(PLUG)}" rgba="0.1 0.35 0.9 1" '
            f'mass="0.01"/><site name="held/tip" pos="{PLUG[0]} 0 0" size="0.001" rgba="0 0 0 0"/>'
        )

    def socket(self, physics: Physics) -> str:
        half = (PLUG[2] + CLEARANCE / 2, PLUG[1] + CLEARANCE / 2)
        boxes = Boxes(physics)
        boxes.add((OUTER, OUTER, 0.002), (0, 0, -DEPTH - CHAMFER - 0.002), FLOOR)
        boxes.walls(half, DEPTH, CHAMFER, OUTER)
        boxes.rim(half, CHAMFER)
        return f'{boxes}{visual("box", (0.03, 0.03, 0.012), (0, 0, -0.035), "0.3 0.3 0.35 1")}'
