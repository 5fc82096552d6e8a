"""Our messages to what the core works with; sizes are checked before use."""

import numpy as np

from rlt_ros.msg import RlState
from rlt_ros.rl.transitions import Seen
from rlt_ros.ros.node import read_array


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
