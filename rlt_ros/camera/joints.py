"""Joint states and commands of any order and company, brought into the robot profile's order."""

from collections import deque
from collections.abc import Sequence

import numpy as np

COMMANDS = 512  # kept: at 1000 Hz half a second, longer than an observation is on its way


def in_order(wanted: Sequence[str], names: Sequence[str], values: Sequence[float]) -> np.ndarray:
    """Values (D,) float64 of the wanted joints.

    Raises ValueError for missing joints, unequal lengths and values that are not finite.
    """
    result = _found(wanted, names, values)
    if not np.isfinite(result).all():
        raise ValueError(f'{wanted[int(np.argmin(np.isfinite(result)))]} is not finite')
    return result


def _found(wanted: Sequence[str], names: Sequence[str], values: Sequence[float]) -> np.ndarray:
    """The same, and values may be anything."""
    if len(names) != len(values):
        raise ValueError(f'{len(names)} names but {len(values)} values')
    index = {name: i for i, name in enumerate(names)}
    if missing := [name for name in wanted if name not in index]:
        raise ValueError(f'no joint {", ".join(missing)}')
    return np.array([values[index[name]] for name in wanted], np.float64)


class JointReader:
    """Positions and velocities from joint states."""

    def __init__(self, wanted: Sequence[str]):
        self.wanted = list(wanted)
        self._last: tuple[int, np.ndarray] | None = None

    def read(
        self, stamp: int, names: Sequence[str], position: Sequence[float], velocity: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Position and velocity (D,), rad (m) and rad/s (m/s). Raises ValueError, see in_order.

        Velocities the driver leaves out, all or single ones (NaN, as joint_state_broadcaster says it), are computed
        from its last two positions; 0 at first and after 0.5 s gaps.
        """
        here = in_order(self.wanted, names, position)
        before, self._last = self._last, (stamp, here)
        seconds = (stamp - before[0]) * 1e-9 if before else 0.0
        computed = (here - before[1]) / seconds if 0 < seconds < 0.5 else np.zeros(len(here))
        if not len(velocity):
            return here, computed
        told = _found(self.wanted, names, velocity)
        if np.isinf(told).any():
            raise ValueError(f'velocity of joint {self.wanted[int(np.argmax(np.isinf(told)))]} is not finite')
        return here, np.where(np.isnan(told), computed, told)


class CommandLog:
    """Which command the robot was following at a time."""

    def __init__(self):
        self._commands: deque[tuple[int, np.ndarray]] = deque(maxlen=COMMANDS)

    def add(self, received: int, command: np.ndarray) -> None:
        """Remember a command (D,) that came at a time, ns."""
        self._commands.append((received, command))

    def at(self, stamp: int) -> np.ndarray | None:
        """The last command (D,) that came before a time, ns; None if there was none."""
        return next((command for received, command in reversed(self._commands) if received < stamp), None)
