"""Game controllers by SDL, which knows the layout of thousands of makes; the values are those of ROS 2's `joy` package.

No window and no hook: SDL reads the device, and what other programs get of it stays theirs.
"""

import os

# before pygame is imported; its own signal handlers would end the process behind our back
os.environ |= {'SDL_VIDEODRIVER': 'dummy', 'PYGAME_HIDE_SUPPORT_PROMPT': '1', 'SDL_NO_SIGNAL_HANDLERS': '1'}
from pygame import joystick  # noqa: E402
from pygame._sdl2 import controller  # noqa: E402

AXES, TRIGGERS, BUTTONS = 4, 2, 21  # left x, y, right x, y; left, right; as SDL_GameControllerButton counts
RUMBLE = 1000  # ms that a rumble lasts if nothing else is said


class Gamepad:
    """The first game controller that is plugged in, or the one of that name; now or later."""

    def __init__(self, name: str = '', deadzone: float = 0.05):
        """deadzone: part of an axis that counts as its middle, 0 to 1."""
        joystick.init()
        controller.init()
        self.wanted, self.deadzone = name, deadzone
        self.name = ''  # of the one that is open
        self._open: controller.Controller | None = None

    def read(self) -> tuple[list[float], list[int]] | None:
        """Axes, -1 to 1 (left and forth are positive, triggers go from 0 to -1), and buttons, 0 or 1; None without."""
        controller.update()
        if self._open is not None and not self._open.attached():
            self._open.quit()
            self._open, self.name = None, ''
        if self._open is None and not self._find():
            return None
        raw = [self._open.get_axis(i) / 32767 for i in range(AXES + TRIGGERS)]
        return [self._axis(value) for value in raw], [int(self._open.get_button(i)) for i in range(BUTTONS)]

    def rumble(self, intensity: float) -> None:
        """Shake both motors, 0 to 1, where there are any."""
        if self._open is not None:
            self._open.rumble(intensity, intensity, RUMBLE)

    def unknown(self) -> int:
        """How many joysticks are plugged in that SDL has no layout for."""
        return sum(not controller.is_controller(i) for i in range(controller.get_count()))

    def close(self) -> None:
        controller.quit()
        joystick.quit()

    def _find(self) -> bool:
        for i in range(controller.get_count()):
            if controller.is_controller(i) and self.wanted in ('', controller.name_forindex(i)):
                self._open = controller.Controller(i)
                self.name = self._open.name
                return True
        return False

    def _axis(self, value: float) -> float:
        beyond = max(0.0, min(1.0, abs(value)) - self.deadzone) / (1.0 - self.deadzone)
        return -beyond if value > 0 else beyond
