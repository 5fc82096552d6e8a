"""The tail of a zip tie through the window of its head. The tail bends when it is pushed against anything."""

from rlt_ros.sim.physics import Physics
from rlt_ros.sim.tasks.base import Person, SimTask, numbers
from rlt_ros.sim.tasks.shapes import Boxes, visual

LINKS, LINK = 4, 0.006  # number and length, m
HALF = (0.0024, 0.0006)  # m, half width (hand's y) and thickness (z) of the tail
CLEARANCE = 0.0004  # m, total
HEAD, CHAMFER, OUTER = 0.004, 0.0004, 0.006  # m: thickness, rim, half width
STIFFNESS = 0.15  # N m / rad between links
SETTLED = 0.012  # m of tail through the mouth: the ratchet has it


class ZipTie(SimTask):
    tip = LINKS * LINK
    success_depth = SETTLED
    person = Person(aim_error=8e-4, hover=0.006, deepest=-0.018, stuck_lag=0.0025)

    def held(self, physics: Physics) -> str:
        xml, ends = [], ''
        for i in range(LINKS):
            width = HALF[0] * (1.0 if i < LINKS - 1 else 0.75)
            hinge = (
                f'<joint name="tail/{i}" axis="0 1 0" stiffness="{STIFFNESS}" damping="0.004" armature="0.00002" '
                'range="-1 1"/>' if i else ''
            )  # fmt: skip
            xml.append(
                f'<body gravcomp="1" pos="{numbers((LINK if i else 0, 0, 0))}">{hinge}'
                f'<geom name="held/link{i}" {physics.part} type="box" size="{numbers((LINK / 2, width, HALF[1]))}" '
                f'pos="{LINK / 2} 0 0" rgba="0.95 0.95 0.9 1" mass="0.0005"/>'
            )
            ends += '</body>'
        return f'{"".join(xml)}<site name="held/tip" pos="{LINK} 0 0" size="0.001" rgba="0 0 0 0"/>{ends}'

    def socket(self, physics: Physics) -> str:
        half, boxes = (HALF[1] + CLEARANCE / 2, HALF[0] + CLEARANCE / 2), Boxes(physics)
        boxes.walls(half, HEAD, CHAMFER, OUTER, '0.2 0.5 0.25 1')
        boxes.rim(half, CHAMFER)
        legs = ''.join(visual('box', (0.005, 0.002, 0.02), (0, s * 0.008, -0.022), '0.3 0.3 0.35 1') for s in (1, -1))
        return f'{boxes}{legs}{visual("box", (0.03, 0.03, 0.003), (0, 0, -0.045), "0.3 0.3 0.35 1")}'
