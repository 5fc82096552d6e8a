"""Which VLA runs."""

from rlt_ros.config import RobotProfile, Task
from rlt_ros.vla.builtin import BuiltinBackend
from rlt_ros.weights_files import path_of


def open_backend(weights: str, profile: RobotProfile, task: Task, device: str = 'cpu') -> BuiltinBackend:
    """The built-in VLA with given weights, or with the robot's own, for a task."""
    return BuiltinBackend(
        path_of('vla', profile.name, weights), profile, device, proprioception=task.proprioception
    )  # fmt: skip
