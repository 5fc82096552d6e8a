"""A camera that sends the same picture again and again although the robot moves before its eyes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlt_ros.config import Camera, RobotProfile
from rlt_ros.control.kinematics import Kinematics


@dataclass
class Repeated:
    """A picture, and since when it is the same."""

    pixels: Any
    stamp: int  # ns, of its latest frame
    position: np.ndarray  # (D,) rad (m), joints at its first frame
    frames: int = 1
    moved: float = 0.0  # m, farthest that a tool in view was from where this picture first saw it
    first: dict[int, np.ndarray] = field(default_factory=dict)  # tool (3,), m, world frame, by arm


class FrozenCheck:
    """Per camera, how far the robot moved in front of it while its picture stayed the same.

    Only motion that the camera can see counts, by its mount in the profile: of the hand it sits on, and of the others
    while their tool centre point is in its view. Distances, no paths: joints that tremble do not add up to a motion.
    """

    def __init__(self, profile: RobotProfile, limit: float):
        """limit: m of motion beyond which a picture that stays the same is a fault."""
        self.limit, self.kinematics = limit, Kinematics(profile)
        self.cameras = {camera.name: camera for camera in profile.cameras}
        self.bodies = {arm.name: i for i, arm in enumerate(profile.arms)}
        self.last: dict[str, Repeated] = {}

    def check(self, name: str, stamp: int, pixels: Any, position: np.ndarray) -> str:
        """What is wrong with a camera's frame, '' if nothing; position (D,) of the joints when it was taken.

        pixels: anything whose == compares the whole picture, such as bytes or an array.array.
        """
        last = self.last.get(name)
        if last is None or stamp != last.stamp and pixels != last.pixels:
            self.last[name] = Repeated(pixels, stamp, position)
            return ''
        if stamp != last.stamp:  # a camera slower than the observations gives the same frame to several
            if last.frames == 1:
                self._follow(last, self.cameras[name], last.position)
            last.stamp, last.frames = stamp, last.frames + 1
            self._follow(last, self.cameras[name], position)
        if last.moved <= self.limit:
            return ''
        return f'frozen: same picture for {last.frames} frames while the tool moved {last.moved * 1e3:.0f} mm'

    def _follow(self, seen: Repeated, camera: Camera, position: np.ndarray) -> None:
        """Take note of where the tools in view are."""
        mount, own = camera.mount, self.bodies.get(camera.mount.body)
        frames = [arm.frames(position[part]) for arm, part in
                  zip(self.kinematics.arms, self.kinematics.slices, strict=True)]  # fmt: skip
        eye, ahead = np.array(mount.position), np.subtract(mount.look_at, mount.position)
        if own is not None:
            points, _, rotation = frames[own]
            eye, ahead = points[-2] + rotation @ eye, rotation @ ahead
        narrow = np.cos(np.radians(mount.field_of_view / 2)) * np.linalg.norm(ahead)
        for arm, (points, _, _) in enumerate(frames):
            sight = points[-1] - eye
            if arm == own or sight @ ahead > narrow * np.linalg.norm(sight):
                start = seen.first.setdefault(arm, points[-1])
                seen.moved = max(seen.moved, float(np.linalg.norm(points[-1] - start)))
