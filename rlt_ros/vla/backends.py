"""Which VLA runs."""

from pathlib import Path

from rlt_ros.config import RobotProfile
from rlt_ros.vla.builtin import BuiltinBackend, default_weights


def open_backend(weights: str, profile: RobotProfile, device: str) -> BuiltinBackend:
    """The built-in VLA with given weights, or with the robot's own."""
    return BuiltinBackend(Path(weights) if weights else default_weights(profile.name), profile, device)
