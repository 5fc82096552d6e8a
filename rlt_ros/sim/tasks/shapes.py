"""Holes made of boxes: contact between boxes is fast and exact where meshes are neither."""

import math

from rlt_ros.sim.physics import Physics
from rlt_ros.sim.tasks.base import numbers

WALL, RIM, FLOOR = '0.55 0.55 0.6 1', '0.75 0.15 0.1 1', '0.05 0.05 0.05 1'
THICKNESS = 0.0008  # m, half, of the slabs of a rim


class Boxes:
    """Numbered boxes of a socket."""

    def __init__(self, physics: Physics):
        self.physics, self.xml = physics, []

    def add(self, size, position, colour: str, euler=(0.0, 0.0, 0.0)) -> None:
        """A box by its half sizes (3,) and position (3,), m."""
        self.xml.append(
            f'<geom name="socket/{len(self.xml)}" {self.physics.fixed} type="box" size="{numbers(size)}" '
            f'pos="{numbers(position)}" euler="{numbers(euler)}" rgba="{colour}"/>'
        )

    def walls(self, half, depth: float, chamfer: float, outer: float, colour: str = WALL) -> None:
        """Four walls around a hole of half sizes (x, y) from the rim down to `depth` below it."""
        hx, hy = half
        low = -depth / 2 - chamfer
        for sign in (1, -1):
            self.add(((outer - hx) / 2, outer, depth / 2), (sign * (outer + hx) / 2, 0, low), colour)
            self.add((hx, (outer - hy) / 2, depth / 2), (0, sign * (outer + hy) / 2, low), colour)

    def slab(self, axis: int, sign: int, half, centre, chamfer: float, colour: str = RIM) -> None:
        """One 45 degree slab of a rim, on the side `sign` of axis 0 (x) or 1 (y) of a hole of half sizes (x, y)."""
        width, lift, across = chamfer / math.sqrt(2), THICKNESS / math.sqrt(2), half[axis]
        size, position, euler = [0.0, 0.0, THICKNESS], [*centre, -chamfer / 2 - lift], [0.0, 0.0, 0.0]
        size[axis], size[1 - axis] = width, half[1 - axis] + chamfer
        position[axis] += sign * (across + chamfer / 2 + lift)
        euler[1 - axis] = (-sign if axis == 0 else sign) * math.pi / 4
        self.add(size, position, colour, euler)

    def rim(self, half, chamfer: float) -> None:
        """Four slabs around a hole at the origin."""
        for sign in (1, -1):
            self.slab(0, sign, half, (0.0, 0.0), chamfer)
            self.slab(1, sign, half, (0.0, 0.0), chamfer)

    def __str__(self) -> str:
        return ''.join(self.xml)


VISUAL = 'contype="0" conaffinity="0" group="1"'


def visual(kind: str, size, position, colour: str) -> str:
    """A shape that is seen and touches nothing."""
    return f'<geom {VISUAL} type="{kind}" size="{numbers(size)}" pos="{numbers(position)}" rgba="{colour}"/>'
