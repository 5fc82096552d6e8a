"""The two blades of a charger into an outlet: 0.4 mm of play in each slot, and both have to find theirs."""

from rlt_ros.sim.physics import Physics
from rlt_ros.sim.tasks.base import Person, SimTask, numbers
from rlt_ros.sim.tasks.shapes import Boxes, visual

BLADE = (0.0070, 0.00315, 0.00075)  # m, half sizes along the hand's x, y and z
BODY = (0.009, 0.008, 0.0120)
PITCH = 0.0127  # m between the blades
CLEARANCE = 0.0004  # m, total
DEPTH, CHAMFER, OUTER = 0.014, 0.0006, 0.018
FACE, MOUTH = '0.85 0.85 0.8 1', '0.15 0.15 0.15 1'


class Charger(SimTask):
    tip = 2 * BLADE[0] + 0.004
    person = Person(aim_error=8e-4)

    def held(self, physics: Physics) -> str:
        blades = ''.join(
            f'<geom name="held/blade{i}" {physics.part} type="box" size="{numbers(BLADE)}" mass="0.003" '
            f'pos="{numbers((self.tip - BLADE[0], 0, z))}" rgba="0.8 0.7 0.3 1"/>'
            for i, z in enumerate((PITCH / 2, -PITCH / 2))
        )
        return (
            f'{blades}<geom name="held/body" {physics.part} type="box" size="{numbers(BODY)}" mass="0.03" '
            f'pos="{numbers((self.tip - 2 * BLADE[0] - BODY[0], 0, 0))}" rgba="0.93 0.93 0.95 1"/>'
            f'<site name="held/tip" pos="{self.tip} 0 0" size="0.001" rgba="0 0 0 0"/>'
        )

    def socket(self, physics: Physics) -> str:
        x, half = PITCH / 2, (BLADE[2] + CLEARANCE / 2, BLADE[1] + CLEARANCE / 2)
        low, boxes = -DEPTH / 2 - CHAMFER, Boxes(physics)
        for sign in (1, -1):
            edge = x + half[0]
            boxes.add(((OUTER - edge) / 2, OUTER, DEPTH / 2), (sign * (OUTER + edge) / 2, 0, low), FACE)
            boxes.add((edge, (OUTER - half[1]) / 2, DEPTH / 2), (0, sign * (OUTER + half[1]) / 2, low), FACE)
        boxes.add((x - half[0], half[1], DEPTH / 2), (0, 0, low), FACE)
        for sign in (1, -1):
            for centre in (x, -x):
                boxes.slab(0, sign, half, (centre, 0.0), CHAMFER, MOUTH)
            boxes.slab(1, sign, (edge, half[1]), (0.0, 0.0), CHAMFER, MOUTH)
        # the face between the slots' rims is level with them
        boxes.add((x - half[0] - CHAMFER, half[1] + CHAMFER, CHAMFER / 2), (0, 0, -CHAMFER / 2), FACE)
        for sign in (1, -1):
            inner, side = half[1] + CHAMFER, edge + CHAMFER
            boxes.add((OUTER, (OUTER - inner) / 2, CHAMFER / 2), (0, sign * (OUTER + inner) / 2, -CHAMFER / 2), FACE)
            boxes.add(((OUTER - side) / 2, inner, CHAMFER / 2), (sign * (OUTER + side) / 2, 0, -CHAMFER / 2), FACE)
        return f'{boxes}{visual("box", (0.03, 0.03, 0.012), (0, 0, -0.035), "0.3 0.3 0.35 1")}'
