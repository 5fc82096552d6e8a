"""Which VLA runs."""

from rlt_ros.config import RobotProfile
from rlt_ros.vla.builtin import BuiltinBackend
from rlt_ros.weights_files import path_of


def open_backend(weights: str, profile: RobotProfile, device: str) -> BuiltinBackend:
    """The built-in VLA with given weights, or with the robot's own."""
    return BuiltinBackend(path_of('vla', profile.name, weights), profile, device)
