"""From axes and buttons to what a person's hand wants of the robot and says about the episode."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
import math

import numpy as np

from rlt_ros.errors import UserError
from rlt_ros.teleop.mapping import Directions, Mapping, Motion

SILENCE = 0.25  # s without a message until nobody knows what the person does
DEBOUNCE = 0.3  # s between two presses of one button that count
RAMP = 0.3  # s from the takeover until a deflection has its full speed
SHORTEST = 0.06  # s that a takeover lasts at least: three ticks at 50 Hz, so that none is missed


@dataclass(frozen=True)
class Takeover:
    """What a person's hand does to the robot."""

    active: bool
    arms: tuple[int, ...] = ()  # which are moved
    linear: np.ndarray = field(default_factory=lambda: np.zeros(3))  # m/s
    angular: np.ndarray = field(default_factory=lambda: np.zeros(3))  # rad/s
    gripper: float = 0.0  # -1 (close) to 1 (open), of its velocity limit


RELEASED = Takeover(False)


@dataclass(frozen=True)
class Inputs:
    """A Joy message that is long enough and finite."""

    axes: Sequence[float]
    buttons: Sequence[int]

    def value(self, name: str) -> float:
        """-1 to 1 of 'axis 3', 0 to 1 of 'trigger 4', 0 or 1 of 'button 7'."""
        kind, index = name.split()
        if kind == 'button':
            return float(self.buttons[int(index)] != 0)
        value = max(-1.0, min(1.0, float(self.axes[int(index)])))
        return value if kind == 'axis' else max(0.0, -value)


class Joystick:
    """State of a controller. Times are seconds of one clock that never goes back."""

    def __init__(self, mapping: Mapping, arms: Sequence[str], arm: str = ''):
        """`arm` of `arms` (or 'all') is moved first; '' is the last one. Raises UserError if there is no such arm."""
        self.mapping = mapping
        self.choices = {name: (i,) for i, name in enumerate(arms)}
        if len(arms) > 1:
            self.choices['all'] = tuple(range(len(arms)))
        if arm and arm not in self.choices:
            raise UserError(f'arm = "{arm}" is not allowed; allowed: {", ".join(self.choices)}')
        self.arm = arm or arms[-1]
        self.complaint = ''  # what was wrong with the last message
        # after a start or silence a held button is no press: nobody knows when it was pressed
        self._before: Inputs | None = None
        self._last = -math.inf
        self._since: float | None = None  # when the takeover began
        self._pressed: dict[str, float] = {}

    def update(self, axes: Sequence[float], buttons: Sequence[int], now: float) -> tuple[Takeover, list[str]]:
        """Take a message; the takeover from now on and the events it brought (names of EpisodeEvent, in lower case).

        A message that is too short or has an axis that is not a number is no message: the person counts as gone, and
        `complaint` says why. Success and failure at once say nothing.
        """
        needed = self.mapping.needs
        self.complaint = ''
        if len(axes) < needed[0] or len(buttons) < needed[1]:
            self.complaint = f'{len(axes)} axes and {len(buttons)} buttons, not at least {needed[0]} and {needed[1]}'
        elif not all(math.isfinite(axis) for axis in axes):
            self.complaint = 'an axis is not finite'
        if self.complaint:
            self._before = self._since = None
            return RELEASED, []
        inputs = Inputs(axes, buttons)
        if now - self._last > SILENCE:
            self._before = self._since = None
        before, self._before, self._last = self._before, inputs, now
        pressed = self._presses(before, inputs, now)
        if self.mapping.next_arm in pressed:
            names = list(self.choices)
            self.arm = names[(names.index(self.arm) + 1) % len(names)]
            if self._since is not None:
                self._since = now  # it starts as smoothly
        events = [event for event, button in self.mapping.events.items() if button in pressed]
        if 'success' in events and 'failure' in events:
            events = [event for event in events if event not in ('success', 'failure')]
        if inputs.value(self.mapping.deadman) and not (before and before.value(self.mapping.deadman)):
            self._since = now
        return self._takeover(inputs, now), events

    def check(self, now: float) -> Takeover | None:
        """To be called every now and then: the end, once, of a press shorter than a takeover may be.

        For a controller that speaks only when something changes; of all else its messages tell the end.
        """
        if self._since is None or self._before.value(self.mapping.deadman) or now - self._since < SHORTEST:
            return None
        self._since = None
        return RELEASED

    def silent(self, now: float) -> bool:
        """To be called every now and then: whether, told once, the controller fell silent during a takeover."""
        if self._since is None or now - self._last <= SILENCE:
            return False
        self._before = self._since = None
        return True

    def _presses(self, before: Inputs | None, inputs: Inputs, now: float) -> list[str]:
        """Buttons that went down and did not bounce."""
        mapping, found = self.mapping, []
        for button in mapping.buttons:
            # an E-stop found pressed is one, whenever that was
            unknown = 0.0 if button == mapping.events.get('estop') else 1.0
            if inputs.value(button) > (before.value(button) if before else unknown):
                if now - self._pressed.get(button, -math.inf) >= DEBOUNCE:
                    found.append(button)
                self._pressed[button] = now
        return found

    def _takeover(self, inputs: Inputs, now: float) -> Takeover:
        if self._since is None:
            return RELEASED
        mapping, takeover = self.mapping, Takeover(True, self.choices[self.arm])
        if not inputs.value(mapping.deadman):
            if now - self._since < SHORTEST:
                return takeover
            self._since = None
            return RELEASED
        ramp = min(1.0, (now - self._since) / RAMP)
        return replace(
            takeover,
            linear=ramp * mapping.linear_speed * self._vector(inputs, mapping.linear),
            angular=ramp * mapping.angular_speed * self._vector(inputs, mapping.angular),
            gripper=ramp * mapping.gripper_speed * self._deflection(inputs, mapping.gripper),
        )

    def _vector(self, inputs: Inputs, directions: Directions) -> np.ndarray:
        return np.array([self._deflection(inputs, getattr(directions, name)) for name in ('x', 'y', 'z')])

    def _deflection(self, inputs: Inputs, motion: Motion) -> float:
        """-1 to 1; grows from 0 at the edge of the dead zone."""
        value = sum(sign * inputs.value(name) for sign, name in ((1, motion.plus), (-1, motion.minus)) if name)
        dead = self.mapping.deadzone
        return math.copysign(max(0.0, min(1.0, abs(value)) - dead) / (1.0 - dead), value)


class Holder:
    """Which of several controllers has the robot: who took it first, until the release."""

    def __init__(self):
        self.device = ''

    def admits(self, device: str, active: bool) -> bool:
        """Whether what a controller says about the takeover counts."""
        if self.device not in ('', device):
            return False
        self.device = device if active else ''
        return True
