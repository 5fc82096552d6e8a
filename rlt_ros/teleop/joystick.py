"""From axes and buttons to a takeover of the arm and to what a person says about the episode."""

from collections.abc import Sequence
from dataclasses import dataclass
import math

import numpy as np

from rlt_ros.config import RobotProfile
from rlt_ros.errors import UserError
from rlt_ros.teleop.mapping import Mapping, Motion

SILENCE = 0.25  # s without a message until the person counts as gone
DEBOUNCE = 0.3  # s between two presses of one button that count


@dataclass(frozen=True)
class Takeover:
    """What a person's hand does to the robot."""

    active: bool
    velocity: np.ndarray  # (D,), rad/s or m/s; zero unless active


@dataclass(frozen=True)
class Inputs:
    """A Joy message; what it does not have is released."""

    axes: Sequence[float]
    buttons: Sequence[int]

    def value(self, name: str) -> float:
        """-1 to 1 of 'axis 3', 0 or 1 of 'button 7'."""
        kind, index = name.split()
        values = self.axes if kind == 'axis' else self.buttons
        if int(index) >= len(values):
            return 0.0
        value = float(values[int(index)])
        return float(value != 0) if kind == 'button' else max(-1.0, min(1.0, value))


class Joystick:
    """State of a controller. Times are seconds of one clock that never goes back."""

    def __init__(self, mapping: Mapping, profile: RobotProfile, arm: str = ''):
        """`arm` is moved first; '' is the profile's last one. Raises UserError if there is no such arm."""
        names = [item.name for item in profile.arms]
        if arm and arm not in names:
            raise UserError(f'arm = "{arm}" is not allowed; allowed: {", ".join(names)}')
        self.mapping = mapping
        self.arms = [[*item.joints, item.gripper] for item in profile.arms]
        self.starts = np.cumsum([0, *(len(joints) for joints in self.arms)])
        self.arm = names.index(arm) if arm else len(names) - 1
        # after a start or silence a held button is no press: nobody knows when it was pressed
        self._before: Inputs | None = None
        self._last = -math.inf
        self._pressed: dict[str, float] = {}

    def update(self, axes: Sequence[float], buttons: Sequence[int], now: float) -> tuple[Takeover, list[str]]:
        """Take a message; the takeover from now on and the events it brought (names of EpisodeEvent, in lower case).

        A message with an axis that is not a number counts as all released. Success and failure at once say nothing.
        """
        inputs = Inputs(axes, buttons) if all(math.isfinite(axis) for axis in axes) else Inputs((), ())
        before = self._before if now - self._last <= SILENCE else None
        self._before, self._last = inputs, now
        pressed = [] if before is None else self._presses(before, inputs, now)
        if self.mapping.next_arm in pressed:
            self.arm = (self.arm + 1) % len(self.arms)
        events = [event for event, button in self.mapping.events.items() if button in pressed]
        if 'success' in events and 'failure' in events:
            events = [event for event in events if event not in ('success', 'failure')]
        return self._takeover(inputs), events

    def check(self, now: float) -> Takeover | None:
        """To be called every now and then: a release, once, when the controller has fallen silent."""
        if self._before is None or now - self._last <= SILENCE:
            return None
        was_held = self._before.value(self.mapping.deadman) > 0
        self._before = None
        return Takeover(False, np.zeros(self.starts[-1])) if was_held else None

    def _presses(self, before: Inputs, inputs: Inputs, now: float) -> list[str]:
        """Buttons that went down and did not bounce."""
        mapping, found = self.mapping, []
        for button in (*mapping.events.values(), *([mapping.next_arm] if mapping.next_arm else [])):
            if inputs.value(button) > before.value(button):
                if now - self._pressed.get(button, -math.inf) >= DEBOUNCE:
                    found.append(button)
                self._pressed[button] = now
        return found

    def _takeover(self, inputs: Inputs) -> Takeover:
        velocity = np.zeros(self.starts[-1])
        if not inputs.value(self.mapping.deadman):
            return Takeover(False, velocity)
        joints, start = self.arms[self.arm], self.starts[self.arm]
        motions = dict(enumerate(self.mapping.joints[: len(joints) - 1]))
        if self.mapping.gripper:
            motions[len(joints) - 1] = self.mapping.gripper
        for i, motion in motions.items():
            velocity[start + i] = self._deflection(inputs, motion) * self.mapping.speed * joints[i].velocity
        return Takeover(True, velocity)

    def _deflection(self, inputs: Inputs, motion: Motion) -> float:
        """-1 to 1; grows from 0 at the edge of the dead zone."""
        value = inputs.value(motion.plus) - (inputs.value(motion.minus) if motion.minus else 0.0)
        dead = self.mapping.deadzone
        return math.copysign(max(0.0, min(1.0, abs(value)) - dead) / (1.0 - dead), value)
