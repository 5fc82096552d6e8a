"""MJCF of the simulated cell: the profile's arms as low-poly primitives, and a task's part and socket.

Drawing costs triangles, not pixels, so everything is boxes, capsules and cylinders with few faces.
"""

import math

import numpy as np

from rlt_ros.config import Arm, RobotProfile
from rlt_ros.errors import UserError
from rlt_ros.sim.physics import SOFT, Physics
from rlt_ros.sim.rack import rack_body
from rlt_ros.sim.tasks.base import SimTask, numbers
from rlt_ros.sim.tasks.shapes import VISUAL

POSITION_GAINS = (400, 400, 400, 150, 100, 60)  # N m / rad, base to wrist
VELOCITY_GAINS = (40, 40, 40, 10, 7, 4)  # N m s / rad
FORCE_LIMITS = (60, 80, 60, 25, 20, 12)  # N m
DARK, LIGHT = '0.25 0.25 0.28 1', '0.5 0.5 0.55 1'
SOCKET_HEIGHT = 0.05  # m of the mouth above the table


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
            f'range="{arm.gripper.lower} {arm.gripper.upper}" solreflimit="0.004 1" solimplimit="0.99 0.999 0.0001"/>'
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


def held_body(task: SimTask, tool_x: float, physics: Physics) -> str:
    """What the hand holds. Two slides and two hinges are the give of fingers and cable."""
    slide = 'type="slide" stiffness="3000" damping="12" range="-0.004 0.004" armature="0.05"'
    hinge = 'type="hinge" stiffness="3" damping="0.02" range="-0.2 0.2" armature="0.0003" pos="-0.03 0 0"'
    return (
        f'<body gravcomp="1" name="held" pos="{tool_x} 0 0">'
        f'<joint name="held/slide_y" axis="0 1 0" {slide}/><joint name="held/slide_z" axis="0 0 1" {slide}/>'
        f'<joint name="held/hinge_y" axis="0 1 0" {hinge}/><joint name="held/hinge_z" axis="0 0 1" {hinge}/>'
        f'{task.held(physics)}</body>'
    )


def build(profile: RobotProfile, task: SimTask, physics: Physics = SOFT, full: bool = False) -> str:
    """The whole cell as MJCF. The last arm of the profile holds the task's part; full: a rack offers one.

    Raises UserError for an arm whose number of joints it has no motors for.
    """
    for arm in profile.arms:
        if (count := len(arm.joints)) != len(POSITION_GAINS):
            raise UserError(
                f'robot {profile.name}: arm {arm.name} has {count} joints, the simulator knows arms of '
                f'{len(POSITION_GAINS)} alone; others run on the robot itself (simulate:=false)'
            )
    tool = profile.arms[-1]
    held = held_body(task, tool.tool_position[0], physics)
    arms = '\n'.join(arm_body(profile, arm, held if arm is tool else '') for arm in profile.arms)
    equalities = '\n'.join(
        f'<joint joint1="{arm.gripper.name}_mirror" joint2="{arm.gripper.name}" polycoef="0 1 0 0 0"/>'
        for arm in profile.arms
    )
    return f'''<mujoco model="{profile.name}">
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
 <body name="socket" pos="0 0 {SOCKET_HEIGHT}">
  {task.socket(physics)}<site name="socket/mouth" size="0.001" rgba="0 0 0 0"/>
 </body>
 {rack_body(task) if full else ''}
</worldbody>
<equality>{equalities}</equality>
<actuator>{''.join(actuators(arm) for arm in profile.arms)}{task.actuators()}</actuator>
</mujoco>'''
