"""MJCF of the simulated cell: the profile's arms as low-poly primitives, and the Ethernet socket with its plug.

Drawing costs triangles, not pixels, so everything is boxes, capsules and cylinders with few faces.
"""

from dataclasses import dataclass
import math

import numpy as np

from rlt_ros.config import Arm, RobotProfile

POSITION_GAINS = (400, 400, 400, 150, 100, 60)  # N m / rad, base to wrist
VELOCITY_GAINS = (40, 40, 40, 10, 7, 4)  # N m s / rad
FORCE_LIMITS = (60, 80, 60, 25, 20, 12)  # N m
DARK, LIGHT = '0.25 0.25 0.28 1', '0.5 0.5 0.55 1'
VISUAL = 'contype="0" conaffinity="0" group="1"'



@dataclass(frozen=True)
class Physics:
    """How contact is computed. `STIFF` is harder and finer than `SOFT`: a policy must not notice."""

    clearance: float = 0.0003  # m, total, plug to hole
    timestep: float = 0.002  # s
    solref: str = '0.004 1'  # MuJoCo's time constant and damping ratio of a contact
    solimp: str = '0.9 0.99 0.0005'  # and its impedance

    @property
    def contact(self) -> str:
        return f'condim="3" friction="0.25 0.005 0.0001" solref="{self.solref}" solimp="{self.solimp}"'


SOFT = Physics()
STIFF = Physics(timestep=0.001, solref='0.002 1', solimp='0.95 0.995 0.0002')

PLUG = (0.010, 0.00585, 0.0040)  # m, half sizes along the hand's x (length), y and z: an 8P8C plug
SOCKET_DEPTH = 0.014  # m
CHAMFER = 0.0008  # m


def numbers(values) -> str:
    return ' '.join(f'{v:.9g}' for v in values)


def camera(name: str, position, look_at, up, field_of_view: float) -> str:
    """A camera element that looks from position to look_at, both in the parent's frame."""
    back = np.subtract(position, look_at)
    back = back / np.linalg.norm(back)
    right = np.cross(up, back)
    right = right / np.linalg.norm(right)
    axes = numbers([*right, *np.cross(back, right)])
    return f'<camera name="{name}" pos="{numbers(position)}" xyaxes="{axes}" fovy="{field_of_view}"/>'


def cameras_on(profile: RobotProfile, body: str) -> str:
    return ''.join(
        camera(c.name, c.mount.position, c.mount.look_at, c.mount.up, c.mount.field_of_view)
        for c in profile.cameras
        if c.mount.body == body
    )


def arm_body(profile: RobotProfile, arm: Arm, held: str) -> str:
    """One arm: link shapes run from each joint to the next; `held` is what the hand holds."""
    origins = [joint.origin for joint in arm.joints]
    xml = [
        f'<body name="{arm.name}/base" pos="{numbers(arm.base_position)}" euler="0 0 {arm.base_yaw}">',
        f'<geom {VISUAL} type="cylinder" size="0.05 0.04" pos="0 0 0.04" rgba="{DARK}" mass="2"/>',
    ]
    sizes = np.linspace(0.032, 0.020, len(arm.joints))
    for i, joint in enumerate(arm.joints):
        following = origins[i + 1] if i + 1 < len(arm.joints) else None
        xml.append(f'<body gravcomp="1" name="{joint.name}" pos="{numbers(joint.origin)}">')
        xml.append(f'<joint name="{joint.name}" axis="{numbers(joint.axis)}" range="{joint.lower} {joint.upper}"/>')
        if following is None:
            xml.append(f'<geom {VISUAL} type="box" size="0.02 0.04 0.02" pos="0.02 0 0" rgba="{DARK}" mass="0.25"/>')
        elif math.hypot(*following) > 2 * sizes[i]:
            xml.append(
                f'<geom {VISUAL} type="capsule" size="{sizes[i]:.4f}" fromto="0 0 0 {numbers(following)}" '
                f'rgba="{LIGHT if i == 3 else DARK}" mass="0.5"/>'
            )
        else:
            xml.append(f'<geom {VISUAL} type="cylinder" size="{sizes[i] + 0.008:.4f} 0.03" rgba="{DARK}" mass="0.7"/>')
    xml.append(f'<site name="{arm.name}/tool" pos="{numbers(arm.tool_position)}" size="0.002" rgba="1 0 0 0"/>')
    xml.append(cameras_on(profile, arm.name))
    finger = 'contype="2" conaffinity="1" type="box" size="0.03 0.004 0.009" rgba="0.15 0.15 0.15 1" mass="0.03"'
    for side, sign in (('', 1), ('_mirror', -1)):
        xml.append(
            f'<body gravcomp="1" name="{arm.gripper.name}{side}" pos="0.045 0 0">'
            f'<joint name="{arm.gripper.name}{side}" type="slide" axis="0 {sign} 0" damping="20" '
            f'range="{arm.gripper.lower} {arm.gripper.upper}"/>'
            f'<geom {finger} pos="0.03 {0.004 * sign} 0"/></body>'
        )
    xml.append(held)
    xml.append('</body>' * (len(arm.joints) + 1))
    return '\n'.join(xml)


def actuators(arm: Arm) -> str:
    xml = [
        f'<position name="{joint.name}" joint="{joint.name}" kp="{kp}" kv="{kv}" forcerange="-{force} {force}"/>'
        for joint, kp, kv, force in zip(arm.joints, POSITION_GAINS, VELOCITY_GAINS, FORCE_LIMITS, strict=True)
    ]
    grip = arm.gripper
    xml.append(
        f'<position name="{grip.name}" joint="{grip.name}" kp="800" kv="20" '
        f'ctrlrange="{grip.lower} {grip.upper}" forcerange="-30 30"/>'
    )
    return '\n'.join(xml)


def held_plug(tool_x: float, physics: Physics) -> str:
    """The plug in the hand. Two slides and two hinges are the give of fingers and cable."""
    slide = 'type="slide" stiffness="3000" damping="12" range="-0.004 0.004" armature="0.05"'
    hinge = 'type="hinge" stiffness="3" damping="0.02" range="-0.2 0.2" armature="0.0003" pos="-0.03 0 0"'
    return (
        f'<body gravcomp="1" name="plug" pos="{tool_x} 0 0">'
        f'<joint name="plug/slide_y" axis="0 1 0" {slide}/><joint name="plug/slide_z" axis="0 0 1" {slide}/>'
        f'<joint name="plug/hinge_y" axis="0 1 0" {hinge}/><joint name="plug/hinge_z" axis="0 0 1" {hinge}/>'
        f'<geom name="plug" contype="8" conaffinity="4" {physics.contact} type="box" size="{numbers(PLUG)}" '
        f'rgba="0.1 0.35 0.9 1" mass="0.01"/>'
        f'<site name="plug/tip" pos="{PLUG[0]} 0 0" size="0.001" rgba="0 0 0 0"/></body>'
    )


def socket(physics: Physics) -> str:
    """A rectangular hole along -z, mouth at z = 0: four walls, a floor and four 45 degree chamfer slabs."""
    hx, hy, outer = PLUG[2] + physics.clearance / 2, PLUG[1] + physics.clearance / 2, 0.014
    half = SOCKET_DEPTH / 2
    z = -half - CHAMFER
    fixed = f'contype="4" conaffinity="8" {physics.contact} type="box"'
    wall, red = 'rgba="0.55 0.55 0.6 1"', 'rgba="0.75 0.15 0.1 1"'
    thickness = 0.0008
    xml = [
        f'<geom {VISUAL} type="box" size="0.03 0.03 0.012" pos="0 0 -0.035" rgba="0.3 0.3 0.35 1"/>',
        f'<geom {fixed} size="{outer} {outer} 0.002" pos="0 0 {-SOCKET_DEPTH - CHAMFER - 0.002}" '
        'rgba="0.05 0.05 0.05 1"/>',
    ]
    for sign in (1, -1):
        xml += [
            f'<geom {fixed} {wall} size="{(outer - hx) / 2} {outer} {half}" pos="{sign * (outer + hx) / 2} 0 {z}"/>',
            f'<geom {fixed} {wall} size="{hx} {(outer - hy) / 2} {half}" pos="0 {sign * (outer + hy) / 2} {z}"/>',
        ]
        slab = CHAMFER / math.sqrt(2)
        lift = thickness / math.sqrt(2)
        for axis, h, other in ((0, hx, hy), (1, hy, hx)):
            across, height = sign * (h + CHAMFER / 2 + lift), -CHAMFER / 2 - lift
            if axis == 0:
                size, pos, euler = (slab, other + CHAMFER, thickness), (across, 0, height), (0, -sign * math.pi / 4, 0)
            else:
                size, pos, euler = (other + CHAMFER, slab, thickness), (0, across, height), (sign * math.pi / 4, 0, 0)
            xml.append(f'<geom {fixed} {red} size="{numbers(size)}" pos="{numbers(pos)}" euler="{numbers(euler)}"/>')
    xml.append('<site name="socket/mouth" size="0.001" rgba="0 0 0 0"/>')
    return f'<body name="socket" pos="0 0 0.05">{"".join(xml)}</body>'


def build(profile: RobotProfile, physics: Physics = SOFT) -> str:
    """The whole cell as MJCF. The last arm of the profile holds the plug."""
    tool = profile.arms[-1]
    arms = '\n'.join(
        arm_body(profile, arm, held_plug(arm.tool_position[0], physics) if arm is tool else '') for arm in profile.arms
    )
    equalities = '\n'.join(
        f'<joint joint1="{arm.gripper.name}_mirror" joint2="{arm.gripper.name}" polycoef="0 1 0 0 0"/>'
        for arm in profile.arms
    )
    return f'''<mujoco model="{profile.name}_ethernet">
<compiler angle="radian" autolimits="true"/>
<option timestep="{physics.timestep}" integrator="implicitfast" cone="elliptic" iterations="20" ls_iterations="20"/>
<size memory="8M"/>
<visual>
 <global offwidth="640" offheight="480"/>
 <quality shadowsize="0" offsamples="0" numslices="10" numstacks="6" numquads="1"/>
 <headlight ambient="0.4 0.4 0.4" diffuse="0.5 0.5 0.5" specular="0 0 0"/>
 <map znear="0.01" zfar="10"/>
</visual>
<default><joint armature="0.05" damping="1"/></default>
<worldbody>
 <light pos="0 0 1.5" dir="0 0 -1" castshadow="false" diffuse="0.5 0.5 0.5"/>
 <geom name="table" type="box" size="0.6 0.6 0.02" pos="0 0 -0.02" rgba="0.6 0.55 0.5 1" contype="1" conaffinity="2"/>
 {cameras_on(profile, 'world')}
 {camera('audience', (0.22, -0.36, 0.27), (0.0, 0.0, 0.075), (0.0, 0.0, 1.0), 34)}
 {arms}
 {socket(physics)}
</worldbody>
<equality>{equalities}</equality>
<actuator>{''.join(actuators(arm) for arm in profile.arms)}</actuator>
</mujoco>'''
