"""From the keys of a terminal to the buttons of a Joy message; config/joy/keyboard.yaml says what they do.

A terminal tells when a key is pressed and that it repeats, never when it is let go. So a motion key counts as held for
a short while after each time it came, the takeover is switched on and off, and all else is pressed and let go at once.
"""

import math
import re

MOVES = 'wsadrfikjluocv'
PRESSES = '\tynhbz\r\x1bR'  # Tab, y, n, h, b, z, Enter, Esc, R
TAKEOVER = ' '
KEYS = TAKEOVER + MOVES + PRESSES  # a key's place is its button
HELD = 0.2  # s that a motion key counts as held; keys repeat about 30 times a second
REPEAT = 0.7  # s in which a key that comes again is one that is held; the first repetition comes after up to 0.66 s
PAUSE = 0.25  # s without being asked: the process was stopped, and the person has let go
AWAKE = 1.0  # s after the last key in which messages are sent without a takeover

HELP = (
    'space takeover   w s a d r f move   i k j l u o turn   c v grip   Tab arm   y success   n failure   '
    'h handover   b abort   z undo   Enter start   Esc E-STOP   R re-arm'
)


class Keyboard:
    """Times are seconds of one clock that never goes back."""

    def __init__(self):
        self.takeover = False
        self._came: dict[str, float] = {}  # keys and when they last came
        self._presses: list[int] = []
        self._asked = math.inf

    def press(self, text: str, now: float) -> None:
        """Take what was read from the terminal; what are no keys of ours, arrows say, is left out."""
        text = re.sub(r'\x1b[\[O][0-9;]*.', '', text).replace('\n', '\r')
        for key in text:
            if key not in KEYS:
                continue
            repeated = now - self._came.get(key, -REPEAT) < REPEAT
            self._came[key] = now
            if key == TAKEOVER:
                # in doubt it is off, so that a key that is held down cannot switch it on again
                self.takeover = not self.takeover and not repeated
            elif key in PRESSES and not repeated:
                self._presses.append(KEYS.index(key))

    def messages(self, now: float) -> list[list[int]]:
        """Buttons, 0 or 1, of the messages to be sent now, in order; to be called 20 times a second or more."""
        self.takeover &= now - self._asked <= PAUSE
        self._asked = now
        presses, self._presses = self._presses, []
        if not (self.takeover or presses or any(now - came < AWAKE for came in self._came.values())):
            return []
        held = {KEYS.index(key) for key in MOVES if now - self._came.get(key, -HELD) < HELD}
        if self.takeover:
            held.add(KEYS.index(TAKEOVER))
        down = [held, *(state for button in presses for state in (held | {button}, held))]
        return [[int(button in state) for button in range(len(KEYS))] for state in down]
