"""Single keys from the terminal this process runs in, which is left as it was found."""

import os
import select
import signal
import termios
import tty
from typing import Any


class Terminal:
    """Reads keys without Enter and without echo; Ctrl-C and Ctrl-Z do what they always do.

    In the background it reads nothing: a terminal stops who tries. Use it as a context, in the main thread.
    """

    def __init__(self, file: int):
        """file: a terminal's descriptor."""
        self.file = file
        self._before: list[Any] | None = None  # what the terminal was like; None: it is like that now

    def __enter__(self) -> 'Terminal':
        self._handler = signal.signal(signal.SIGTSTP, self._suspend)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()
        signal.signal(signal.SIGTSTP, self._handler)

    def read(self) -> str:
        """The keys pressed since the last time; does not wait."""
        try:
            if os.tcgetpgrp(self.file) != os.getpgrp():
                return ''
            if self._before is None:
                before = termios.tcgetattr(self.file)
                tty.setcbreak(self.file, termios.TCSANOW)
                self._before = before
            if not select.select([self.file], [], [], 0)[0]:
                return ''
            return os.read(self.file, 1024).decode(errors='replace')
        except (OSError, termios.error):  # the terminal was closed
            return ''

    def _restore(self) -> None:
        if self._before is not None:
            before, self._before = self._before, None
            try:
                termios.tcsetattr(self.file, termios.TCSANOW, before)
            except termios.error:
                pass

    def _suspend(self, number: int, frame: Any) -> None:
        """Ctrl-Z: stop as every program does, but with the terminal as it was; `read` takes it again."""
        self._restore()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._suspend)
