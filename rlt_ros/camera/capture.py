"""A camera, stream or video file that OpenCV opens, read in a thread of its own."""

from collections.abc import Callable
import threading
import time

import cv2
import numpy as np

RETRY_FIRST, RETRY_LONGEST = 0.2, 5.0  # s
OPEN_TIMEOUT, READ_TIMEOUT = 5000, 2000  # ms, of network streams


class Capture:
    """Hands frames over as they come and opens the source again, with growing pauses, when it vanishes.

    `on_frame(stamp, rgb)` is called from the thread; the stamp is `clock()` in ns, taken as soon as the frame is there
    and before it is decoded. `state` is for people: 'open', 'ended' or what is wrong. A video file plays at its own
    speed and, with `loop`, again and again.
    """

    def __init__(
        self, source: str, on_frame: Callable[[int, np.ndarray], None], clock: Callable[[], int], loop: bool = False
    ):
        self.source, self.on_frame, self.clock, self.loop = source, on_frame, clock, loop
        self.state = 'not opened yet'
        self.is_file = '://' not in source and not source.startswith('/dev/')
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f'capture {source}', daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; waits for it, but not for a source that hangs."""
        self._stop.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        pause = RETRY_FIRST
        while not self._stop.is_set():
            frames = self._read_all()
            if frames and self.is_file and not self.loop:
                self.state = 'ended'
                return
            if frames:
                pause = RETRY_FIRST
                if self.is_file:
                    continue  # the next round
            self._stop.wait(pause)
            pause = min(2 * pause, RETRY_LONGEST)

    def _read_all(self) -> int:
        """Read until the source ends or fails; returns the number of frames."""
        capture = self._open()
        frames, rate = 0, capture.get(cv2.CAP_PROP_FPS) if self.is_file else 0.0
        start = time.monotonic()
        try:
            while not self._stop.is_set() and capture.isOpened() and capture.grab():
                stamp = self.clock()
                ok, bgr = capture.retrieve()
                if self._stop.is_set() or not ok or bgr is None or bgr.ndim != 3:
                    break
                self.state = 'open'
                self.on_frame(stamp, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
                frames += 1
                if 0 < rate < 1000:
                    self._stop.wait(max(0.0, start + frames / rate - time.monotonic()))
        except cv2.error as error:
            self.state = f'cannot be read: {" ".join(str(error).split())[:200]}'
            return frames
        finally:
            capture.release()
        self.state = 'vanished' if frames else 'cannot be opened'
        return frames

    def _open(self) -> cv2.VideoCapture:
        """OpenCV's capture, which may have failed to open."""
        if self.source.startswith('/dev/'):
            capture = cv2.VideoCapture(self.source, cv2.CAP_V4L2)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not one from a queue
            return capture
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT]
        return cv2.VideoCapture(self.source, cv2.CAP_FFMPEG, timeouts)
