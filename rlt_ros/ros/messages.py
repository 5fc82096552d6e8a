"""Messages to what the core works with, with sizes checked before use, and its commands to messages."""

from collections.abc import Sequence

import numpy as np
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from rlt_ros.msg import RlState
from rlt_ros.rl.transitions import Seen
from rlt_ros.ros.node import ns_to_stamp, read_array


def seen_from_message(message: RlState, action_dim: int) -> Seen:
    """Arrays of an RL state; raises ValueError where a size is wrong or a number is not finite."""
    if message.action_dim != action_dim:
        raise ValueError(f'actions of {message.action_dim} numbers, not {action_dim}')
    seen = Seen(
        token=read_array(message, 'token', (len(message.token),)),
        proprioception=read_array(message, 'proprioception', (len(message.proprioception),)),
        reference=read_array(message, 'reference', (message.horizon, message.action_dim)),
        position=read_array(message, 'position', (message.action_dim,)),
    )
    for name in ('token', 'proprioception', 'reference', 'position'):
        if not np.isfinite(getattr(seen, name)).all():
            raise ValueError(f'{name} is not finite')
    return seen


def trajectory(names: Sequence[str], period: int, command: np.ndarray, due: int) -> JointTrajectory:
    """For a joint_trajectory_controller: one point, to be reached a control period, ns, after `due`, ns."""
    message = JointTrajectory(joint_names=names)
    message.header.stamp = ns_to_stamp(due)
    point = JointTrajectoryPoint(positions=command.tolist())
    point.time_from_start.nanosec = period
    message.points = [point]
    return message


def forward(command: np.ndarray, due: int) -> Float64MultiArray:
    """For a forward_command_controller, whose messages have no time."""
    return Float64MultiArray(data=command.tolist())
