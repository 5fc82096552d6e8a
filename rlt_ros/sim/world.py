"""The simulated cell: physics, cameras, resets and the task's oracle. Knows no ROS and no learning."""

import os

# before mujoco is imported; llvmpipe threads would take the learner's core
os.environ.setdefault('MUJOCO_GL', 'egl')
os.environ.setdefault('LP_NUM_THREADS', '0')

import mujoco  # noqa: E402
import numpy as np  # noqa: E402

from rlt_ros.config import RobotProfile, Task  # noqa: E402
from rlt_ros.control.kinematics import Kinematics, home  # noqa: E402
from rlt_ros.errors import UserError  # noqa: E402
from rlt_ros.sim import scene  # noqa: E402
from rlt_ros.sim.physics import SOFT, Physics  # noqa: E402
from rlt_ros.sim.rack import OPEN, Rack  # noqa: E402
from rlt_ros.sim.tasks import open_task  # noqa: E402

HEADLIGHT = (0.7, 1.2)  # of the headlight's usual brightness, drawn per episode
ABOVE_START = 0.005  # m above the usual start of the critical phase, where it can begin
ARRIVAL_SPEED, ARRIVAL_YAW = 0.06, 0.12  # m/s and rad at most
SETTLED_HEIGHT, SETTLED_SPEED = 0.004, 0.010  # m off the usual start's height and m/s at most
TINT = 0.08  # that each colour of the light may be off


def down(yaw: float) -> np.ndarray:
    """Rotation (3, 3) of a hand that points down; yaw 0 is the right arm's home."""
    x = np.array([0.0, 0.0, -1.0])
    y = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    return np.stack([x, y, np.cross(x, y)], axis=1)


def yaw_of(rotation: np.ndarray) -> float:
    """The yaw of a hand that points down, rad: of `down(yaw)`, yaw."""
    return float(np.arctan2(rotation[0, 1], -rotation[1, 1]))


class World:
    """A task's part in the last arm's hand above its socket; in a full task, in a rack beside it.

    Joint vectors are (D,) in the profile's wire order, rad (grippers: m).
    """

    def __init__(self, profile: RobotProfile, task: Task, seed: int | list[int] = 0, physics: Physics = SOFT):
        """Raises UserError where the task's scene does not exist."""
        self.profile, self.task = profile, open_task(task.scene)
        full = task.setting == 'full'
        self.model = mujoco.MjModel.from_xml_string(scene.build(profile, self.task, physics, full))
        self.data = mujoco.MjData(self.model)
        self.kinematics = Kinematics(profile)
        self.random = np.random.default_rng(seed)
        joints = [self.model.joint(name) for name in profile.joint_names]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._qvel = np.array([joint.dofadr[0] for joint in joints])
        self._ctrl = np.array([self.model.actuator(name).id for name in profile.joint_names])
        self._mirrors = [self.model.joint(f'{arm.gripper.name}_mirror').qposadr[0] for arm in profile.arms]
        self._socket = self.model.body('socket').id
        self._tip, self._mouth = self.model.site('held/tip').id, self.model.site('socket/mouth').id
        names = [self.model.geom(i).name for i in range(self.model.ngeom)]
        self._held = np.flatnonzero([name.startswith('held/') for name in names])
        self._touching = np.flatnonzero([name.startswith(('held/', 'socket/')) for name in names])
        self._sizes, self._headlight = self.model.geom_size.copy(), self.model.vis.headlight.diffuse.copy()
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}
        self.socket_yaw = 0.0
        self.penetration = 0.0
        self.rack = Rack(self) if full else None
        self.reset()

    @property
    def tool_arm(self) -> int:
        return len(self.profile.arms) - 1

    @property
    def position(self) -> np.ndarray:
        return self.data.qpos[self._qpos]

    @property
    def velocity(self) -> np.ndarray:
        return self.data.qvel[self._qvel]

    @property
    def command(self) -> np.ndarray:
        """(D,) what the joints are told."""
        return self.data.ctrl[self._ctrl]

    def tool(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the tool's centre is (3,), m, and its rotation (3, 3), world frame."""
        arm, part = self.kinematics.arms[self.tool_arm], self.kinematics.slices[self.tool_arm]
        return arm.tool(self.position[part])

    @property
    def holding(self) -> bool:
        """Whether the part is in the hand."""
        return self.rack is None or self.rack.holding

    @property
    def in_hand(self) -> np.ndarray:
        """(3,) how far the part is off the middle of the hand, hand's frame, m."""
        return np.zeros(3) if self.rack is None else self.rack.offset

    @property
    def socket_position(self) -> np.ndarray:
        """Centre of the socket's mouth (3,), m, world frame."""
        return self.model.body_pos[self._socket].copy()

    def reset(self) -> None:
        """A new start: where the socket is, the part above it, friction, play and light."""
        task, draw = self.task, self.random.uniform
        mujoco.mj_resetData(self.model, self.data)
        self.model.body_pos[self._socket, :2] = draw(-task.socket_across, task.socket_across, 2)
        self.socket_yaw = draw(-task.socket_yaw, task.socket_yaw)
        self.model.body_quat[self._socket] = [np.cos(self.socket_yaw / 2), 0, 0, np.sin(self.socket_yaw / 2)]
        above = [*draw(-task.start_across, task.start_across, 2), task.start_height + task.tip]
        start, yaw = self.socket_position + above, self.socket_yaw + draw(-task.start_yaw, task.start_yaw)
        self.model.geom_friction[self._touching, 0] = draw(*task.friction)
        self.model.geom_size[self._held] = self._sizes[self._held] - draw(0, task.play / 2)
        self.model.vis.headlight.diffuse[:] = self._headlight * draw(*HEADLIGHT) * draw(1 - TINT, 1 + TINT, 3)
        opening = None
        if self.rack is not None:
            (start, yaw), opening = self.rack.reset(), OPEN
        self.place(start, yaw, opening)
        task.reset(self)

    def place(self, position: np.ndarray, yaw: float, opening: float | None = None) -> None:
        """Put the tool centre point (3,), m, there at once, pointing down, at rest; the other arm goes home.

        opening: of the gripper, m; None: as at home.
        """
        q = home(self.profile)
        arm, part = self.kinematics.arms[self.tool_arm], self.kinematics.slices[self.tool_arm]
        q[part] = arm.solve(position, down(yaw), q[part], iterations=60)
        if opening is not None:
            q[self.kinematics.grippers[self.tool_arm]] = opening
        self.data.qpos[self._qpos] = q
        self.data.qpos[self._mirrors] = q[self.kinematics.grippers]
        self.data.qvel[:] = 0
        self.data.ctrl[self._ctrl] = q
        mujoco.mj_forward(self.model, self.data)
        self.penetration = 0.0

    def step(self, command: np.ndarray | None, seconds: float) -> None:
        """Advance by `seconds`; command (D,) is held, None keeps the last one."""
        if command is not None:
            self.data.ctrl[self._ctrl] = command
        self.task.step(self)
        mujoco.mj_step(self.model, self.data, round(seconds / self.model.opt.timestep))
        if self.rack is not None:
            self.rack.step()
        contact = self.data.contact
        touching = np.isin(contact.geom1, self._held) | np.isin(contact.geom2, self._held)
        if touching.any():
            self.penetration = max(self.penetration, -float(contact.dist[touching].min()))

    def tip_in_socket(self) -> np.ndarray:
        """The part's tip (3,), m, in the socket's frame; z is negative inside. For the oracle and for probes only."""
        rotation = self.data.site_xmat[self._mouth].reshape(3, 3)
        return rotation.T @ (self.data.site_xpos[self._tip] - self.data.site_xpos[self._mouth])

    def success(self) -> bool:
        """The task's oracle."""
        return self.holding and self.task.done(self)

    def critical(self) -> bool:
        """Whether the critical phase can begin: the part is in the hand and above the socket, and not fast.

        So wide that who arrives in motion hands over before it goes down, and not when it gets stuck below.
        """
        low_enough = self.tip_in_socket()[2] < self.task.start_height + ABOVE_START
        return self._above() and low_enough and self._turned() < ARRIVAL_YAW and self.tip_speed() < ARRIVAL_SPEED

    def settled(self) -> bool:
        """Whether the part is where critical phases usually start, and nearly at rest: there a person begins one."""
        off = abs(self.tip_in_socket()[2] - self.task.start_height)
        there = self._above() and off < SETTLED_HEIGHT and self._turned() < self.task.start_yaw
        return there and self.tip_speed() < SETTLED_SPEED

    def _above(self) -> bool:
        """Whether the part is in the hand and across as near to the socket as it usually starts, at any height."""
        return self.holding and float(np.abs(self.tip_in_socket()[:2]).max()) < self.task.start_across

    def _turned(self) -> float:
        """Of the hand from the socket, rad."""
        return abs(yaw_of(self.tool()[1]) - self.socket_yaw)

    def tip_speed(self) -> float:
        """Of the part, m/s."""
        motion = np.empty(6)
        mujoco.mj_objectVelocity(self.model, self.data, mujoco.mjtObj.mjOBJ_SITE, self._tip, motion, 0)
        return float(np.linalg.norm(motion[3:]))

    def render(self, name: str, width: int, height: int, out: np.ndarray | None = None) -> np.ndarray:
        """Picture of a camera, (height, width, 3) uint8."""
        if (width, height) not in self._renderers:
            try:
                renderer = mujoco.Renderer(self.model, height, width)
            except Exception as error:  # MuJoCo raises whatever its GL backend does
                raise UserError(
                    f'cannot draw without a GL library ({error}); on Debian or Ubuntu: '
                    'apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri, or set MUJOCO_GL'
                ) from None
            for flag in ('SHADOW', 'REFLECTION', 'SKYBOX', 'HAZE'):
                renderer.scene.flags[getattr(mujoco.mjtRndFlag, f'mjRND_{flag}')] = 0
            self._renderers[width, height] = renderer
        renderer = self._renderers[width, height]
        renderer.update_scene(self.data, name)
        return renderer.render(out=out)

    def images(self) -> np.ndarray:
        """What the profile's cameras see now, (N, S, S, 3) uint8 rgb."""
        size = self.profile.image_size
        out = np.empty((len(self.profile.cameras), size, size, 3), np.uint8)
        for i, camera in enumerate(self.profile.cameras):
            self.render(camera.name, size, size, out[i])
        return out

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
