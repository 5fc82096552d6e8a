"""How a full task starts: the part stands in a rack on the table, and the hand has to fetch it.

Grasping is decided, not simulated: where the fingers close around the part it is in the hand from then on.
Their pads are 60 x 18 mm and 40 mm apart: the part has to be between them, its middle no less than 3 mm inside of
their edges (`REACH`). Parallel fingers centre it between them, the notch in their tips does so across, and a stop along
them, nearly (`SEATED`). The part stops them at the gripper's home: a hand that closes farther is empty,
and can feel it. Where the hand opens, the part is lost, and the rack offers the next one.
"""

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import mujoco
import numpy as np

from rlt_ros.control.kinematics import rotation_vector
from rlt_ros.sim.physics import SOFT
from rlt_ros.sim.tasks.base import SimTask, numbers
from rlt_ros.sim.tasks.shapes import visual

if TYPE_CHECKING:
    from rlt_ros.sim.world import World

PLACE, ACROSS, YAW = (0.12, 0.09), 0.010, 0.15  # m, m, rad: where the rack is, and how far off
FOOT = 0.03  # m of the part's tip above the table
START, START_ACROSS, START_YAW = (0.07, 0.05, 0.17), 0.02, 0.1  # m, m, rad: the hand's start
OPEN, CLOSED, LOST = 0.02, 0.0085, 0.012  # m of the gripper: at the start, closes around the part, dropped
REACH, TURN = np.array([0.006, 0.010, 0.006]), 0.2  # m along the hand's axes, rad that a grasp may be off
SEATED = np.array([0.0, 0.1])  # of how far it was off along the hand's y and z: what remains in the fingers


def rack_body(task: SimTask) -> str:
    """MJCF of the rack with a part that touches nothing."""
    part = ElementTree.fromstring(f'<body name="rack/part">{task.held(SOFT)}</body>')
    for parent in list(part.iter()):
        for child in [c for c in parent if c.tag in ('joint', 'site')]:
            parent.remove(child)
    for element in part.iter():
        if element is not part:
            element.attrib.pop('name', None)
        if element.tag == 'geom':
            element.attrib |= {'contype': '0', 'conaffinity': '0', 'group': '1'}
    part.set('pos', numbers((0, 0, FOOT + task.tip)))
    part.set('xyaxes', '0 0 -1 0 -1 0')  # it stands as the hand holds it
    stand = visual('box', (0.02, 0.02, FOOT / 2 - 0.001), (0, 0, FOOT / 2 - 0.001), '0.35 0.25 0.45 1')
    return f'<body name="rack">{stand}{ElementTree.tostring(part, encoding="unicode")}</body>'


class Rack:
    """Of a world that was built with one."""

    def __init__(self, world: 'World'):
        self.world, model = world, world.model
        self._body, self._part = model.body('rack').id, model.body('rack/part').id
        self._hand = self._geoms(model.body('held').id)
        self._stock = self._geoms(self._part)
        self._bits = model.geom_contype.copy(), model.geom_conaffinity.copy()
        self._slides = [model.joint(f'held/slide_{axis}') for axis in 'yz']
        self._gripper = world.profile.arms[-1].gripper
        self._fingers = [model.joint(f'{self._gripper.name}{side}').id for side in ('', '_mirror')]
        self.yaw, self.holding = 0.0, False
        self._open = True  # the hand, until its fingers have closed around something or nothing

    def _geoms(self, body: int) -> np.ndarray:
        """Geoms of a body and of what hangs on it."""
        model = self.world.model
        inside = [body]
        for other in range(body + 1, model.nbody):  # children come after their parents
            if model.body_parentid[other] in inside:
                inside.append(other)
        return np.flatnonzero(np.isin(model.geom_bodyid, inside))

    @property
    def part(self) -> np.ndarray:
        """Where the tool's centre has to be for a perfect grasp (3,), m."""
        return self.world.model.body_pos[self._body] + [0, 0, FOOT + self.world.task.tip]

    def reset(self) -> tuple[np.ndarray, float]:
        """The hand is empty and the rack somewhere else; returns where the hand starts, m and rad."""
        world, draw = self.world, self.world.random.uniform
        world.model.body_pos[self._body, :2] = np.add(PLACE, draw(-ACROSS, ACROSS, 2))
        self.yaw = draw(-YAW, YAW)
        world.model.body_quat[self._body] = [np.cos(self.yaw / 2), 0, 0, np.sin(self.yaw / 2)]
        self._show(holding=False)
        self._open = True
        return np.add(START, draw(-START_ACROSS, START_ACROSS, 3)), draw(-START_YAW, START_YAW)

    def _show(self, holding: bool) -> None:
        model, self.holding = self.world.model, holding
        model.geom_rgba[self._hand, 3], model.geom_rgba[self._stock, 3] = float(holding), float(not holding)
        contype, conaffinity = self._bits
        model.geom_contype[self._hand] = contype[self._hand] * holding
        model.geom_conaffinity[self._hand] = conaffinity[self._hand] * holding
        model.jnt_range[self._fingers, 0] = self._gripper.home if holding else self._gripper.lower
        if not holding:
            self._shift(np.zeros(2))

    def _shift(self, offset: np.ndarray) -> None:
        """Where in the hand the part rests: (2,) along the hand's y and z, m."""
        for joint, value in zip(self._slides, offset, strict=True):
            self.world.model.qpos_spring[joint.qposadr[0]] = value
            self.world.data.qpos[joint.qposadr[0]] = value

    @property
    def offset(self) -> np.ndarray:
        """(3,) of the part from the middle of the hand, hand's frame, m."""
        return np.array([0.0, *(self.world.model.qpos_spring[joint.qposadr[0]] for joint in self._slides)])

    def step(self) -> None:
        """Grasp or lose the part."""
        world = self.world
        opening = world.position[world.kinematics.grippers[world.tool_arm]]
        closes, self._open = self._open and opening < CLOSED, opening >= CLOSED
        if self.holding:
            if opening > LOST:
                self._show(holding=False)
        elif closes:
            position, rotation = world.tool()
            data = world.data
            off = rotation.T @ (data.xpos[self._part] - position)
            turned = rotation_vector(data.xmat[self._part].reshape(3, 3) @ rotation.T)
            if (np.abs(off) < REACH).all() and np.linalg.norm(turned) < TURN:
                self._show(holding=True)
                self._shift(SEATED * off[1:])
                mujoco.mj_forward(world.model, data)
