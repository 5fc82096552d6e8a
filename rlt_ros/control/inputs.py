"""What the robot and a person say, and how long it counts.

Freshness is counted from when something was made, in s of a clock that never goes back: from its arrival, less what its
stamp, ns of wall time, says that it was on its way. Old joint states stop the robot at the last tick before their
limit.
"""

from collections.abc import Sequence
import math

import numpy as np

from rlt_ros.camera.joints import in_order

# s without a word from the person who has the robot, after which the next tick brakes: at 50 Hz it stands 0.1 s after
# that word. No less, whatever the rate: keyboards and joysticks speak every 20 to 50 ms.
QUIET = 0.06


def made(stamp: int, wall: int, now: float) -> float:
    """When a message was made that has come `now` (wall: the same moment); one from the future was made now."""
    return now - max(0, wall - stamp) * 1e-9


class JointStates:
    """The measured position, and whether it may still be believed."""

    def __init__(self, names: Sequence[str], max_age: float, period: float):
        """max_age: s from the last joint states to the hold; period: s of a tick, ValueError unless it is shorter."""
        if max_age <= period:
            raise ValueError(f'max_age {max_age} s must be more than the period of the commands, {period} s')
        self.names, self.max_age, self.period = names, max_age, period
        self.position: np.ndarray | None = None  # (D,) rad (grippers: m)
        self.made, self.stamp = -math.inf, 0

    def take(self, names: Sequence[str], position: Sequence[float], stamp: int, wall: int, now: float) -> None:
        """Believe a message that came `now` (wall: the same moment, ns). Raises ValueError if it is to be refused.

        Joints are found by name; those that the profile does not have are left aside.
        """
        here = in_order(self.names, names, position)
        ahead = (stamp - wall) * 1e-9
        if abs(ahead) > self.max_age:
            raise ValueError('no stamp' if stamp == 0 else f'stamp {abs(ahead):.3g} s in the '
                             + ('future' if ahead > 0 else 'past'))  # fmt: skip
        # one that was itself ahead was made before the clock was put back
        if stamp <= self.stamp <= wall + self.max_age * 1e9:
            raise ValueError('stamp not newer than the last')
        self.position, self.stamp, self.made = here, stamp, made(stamp, wall, now)

    def age(self, now: float) -> float:
        """s since the last ones were made; inf before the first."""
        return now - self.made

    def fault(self, now: float) -> str:
        """Why the robot must hold, '' if it need not."""
        if self.position is None:
            return 'no joint states yet'
        age = self.age(now)
        return '' if age <= self.max_age - self.period else f'joint states {age * 1e3:.0f} ms old'

    def measured(self, now: float) -> np.ndarray | None:
        """The position (D,), None where it may not be believed: then the robot must hold."""
        return None if self.fault(now) else self.position


class Hand:
    """A person's hand on the robot. Silence is no release: the robot holds until the silence is explained.

    That is: until the same device is heard again, any device takes over, or a person says so (`forget`).
    """

    def __init__(self, size: int):
        """size: D."""
        self.size = size
        self.device = ''
        self._active, self._velocity, self._heard = False, np.zeros(size), -math.inf

    def take(
        self, active: bool, velocity: Sequence[float], device: str, stamp: int, wall: int, now: float
    ) -> None:  # fmt: skip
        """velocity: (D,) rad/s (m/s). Raises ValueError for one that is unusable: then the hand rests on the robot.

        A message that was under way for long is silence; without a stamp it was made now. A device that does not have
        the robot cannot let go of it.
        """
        if self._active and not active and device != self.device:
            return
        self._active, self._heard, self.device = active, made(stamp or wall, wall, now), device
        self._velocity = np.zeros(self.size)
        wanted = np.array(velocity, float)
        if active and (wanted.shape != (self.size,) or not np.isfinite(wanted).all()):
            raise ValueError(f'velocity must be {self.size} finite numbers')
        if active:
            self._velocity = wanted

    def velocity(self, now: float) -> np.ndarray | None:
        """(D,) how the person moves the robot now, None without a person."""
        return self._velocity if self._active and not self._silent(now) else None

    def fault(self, now: float) -> str:
        """Why the robot must hold, '' if it need not."""
        return f'{self.device} fell silent during a takeover' if self._active and self._silent(now) else ''

    def forget(self) -> None:
        """Nobody has the robot."""
        self._active = False

    def _silent(self, now: float) -> bool:
        return now - self._heard > QUIET
