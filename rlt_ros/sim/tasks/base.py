"""What a task adds to the cell: the part in the hand, the socket that receives it, and when it is done.

"Socket" is whatever receives the part: a jack, an outlet, the head of a zip tie, the recess of a screw. Its mouth is
the task's origin, z up. The hand points down along its own x; at yaw 0 its y is the socket's -y and its z the socket's
-x.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import numpy as np

from rlt_ros.sim.physics import Physics

if TYPE_CHECKING:
    from rlt_ros.sim.world import World


@dataclass(frozen=True)
class Person:
    """How the scripted person does a task (see `rlt_ros/sim/operator.py`)."""

    aim_error: float = 9e-4  # m, standard deviation of the first try, each axis
    yaw_error: float = 0.023  # rad
    hover: float = 0.007  # m of the tip above the mouth before it goes down
    deepest: float = -0.0125  # m of the tip that is commanded at most
    press: float = math.inf  # m that the command may run ahead of the tip
    stuck_lag: float = 0.003  # m that the tip stays behind the command when it is stuck
    stuck_ticks: int = 12


class SimTask(ABC):
    """One task. Lengths in m, angles in rad."""

    tip = 0.010  # of the held part's tip below the tool's centre
    success_depth = 0.009  # of the tip below the mouth
    success_across = 0.002
    inside = 0.006  # of the tip below the mouth: no attempt that jams ends there
    start_height = 0.035  # of the tip above the mouth
    start_across = 0.008
    start_yaw = 0.08
    socket_across = 0.015
    socket_yaw = 0.1
    friction = (0.18, 0.32)  # of part and socket, drawn per episode
    play = 5e-5  # the part is up to so much thinner, each dimension, drawn per episode
    person = Person()

    @abstractmethod
    def held(self, physics: Physics) -> str:
        """MJCF inside of the held body, whose origin is the tool's centre.

        Geoms that touch are named `held/...`; contype 8, conaffinity 4. It holds a site `held/tip`.
        """

    @abstractmethod
    def socket(self, physics: Physics) -> str:
        """MJCF inside of the socket's body. Geoms that touch are named `socket/...`; contype 4, conaffinity 8."""

    def actuators(self) -> str:
        """MJCF of motors that the part has of itself."""
        return ''

    def reset(self, world: 'World') -> None:  # noqa: B027
        """Called after the arms and the socket have got their start."""

    def step(self, world: 'World') -> None:  # noqa: B027
        """Called before every step of the world."""

    def done(self, world: 'World') -> bool:
        """The oracle: is it in?"""
        x, y, z = world.tip_in_socket()
        return bool(z < -self.success_depth and abs(x) < self.success_across and abs(y) < self.success_across)

    def is_stuck(self, world: 'World', commanded: float) -> bool:
        """Whether a person would see that it does not go in; commanded: m of the tip above the mouth."""
        depth = world.tip_in_socket()[2]
        return commanded < depth - self.person.stuck_lag and depth > 1e-3 - self.success_depth


def numbers(values) -> str:
    """Numbers as MJCF wants them."""
    return ' '.join(f'{v:.9g}' for v in np.atleast_1d(values))
