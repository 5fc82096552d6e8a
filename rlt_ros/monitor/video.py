"""The cameras side by side as a video, with the state of the episode above them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

SIDE = 288  # px, of a camera in the video, at least
BAR = 32  # px, of the text
FILE_SECONDS = 300  # per file: an MP4 that a crash did not let close cannot be played


class Video:
    """Writes cameras-1.mp4, cameras-2.mp4, ... into a folder, five minutes each; those that are there are kept."""

    def __init__(self, folder: Path, cameras: Sequence[str], size: int, rate: float):
        """`size` px of the square pictures, `rate` Hz. Raises OSError if the video cannot be opened."""
        self.folder, self.cameras, self.rate = folder, list(cameras), rate
        self.side = size * max(1, -(-SIDE // size))
        shape = (len(self.cameras) * self.side, self.side + BAR)
        self._shape = tuple(length + length % 2 for length in shape)  # encoders need even numbers
        self._open()

    def _open(self) -> None:
        number = 1
        while (path := self.folder / f'cameras-{number}.mp4').exists():
            number += 1
        self._frames = 0
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), self.rate, self._shape)
        if not self._writer.isOpened():
            raise OSError(f'{path} cannot be written as a video')

    def add(self, pictures: Sequence[np.ndarray | None], text: str) -> None:
        """A frame of pictures (size, size, 3) rgb in the order of the cameras; None is black. May raise OSError."""
        if self._frames >= FILE_SECONDS * self.rate:
            self._writer.release()
            self._open()
        self._frames += 1
        width, height = self._shape
        frame = np.zeros((height, width, 3), np.uint8)
        for i, (name, picture) in enumerate(zip(self.cameras, pictures, strict=True)):
            left = i * self.side
            if picture is not None:
                large = cv2.resize(picture, (self.side, self.side), interpolation=cv2.INTER_NEAREST)
                frame[BAR : BAR + self.side, left : left + self.side] = large[..., ::-1]
            write(frame, name, (left + 6, BAR + 16), 0.45)
        write(frame, text, (6, 22), 0.6)
        self._writer.write(frame)

    def close(self) -> None:
        self._writer.release()


def write(frame: np.ndarray, text: str, corner: tuple[int, int], scale: float) -> None:
    """White text into a picture, px of its lower left corner."""
    cv2.putText(frame, text, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
