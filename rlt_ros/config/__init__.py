"""The one schema of every configuration file, with ranges and descriptions.

Files are YAML: `config/robots/*.yaml` (RobotProfile), `config/tasks/*.yaml` (Task), `config/methods/*.yaml` (Method).
A name means a file of that folder; anything with a slash or ending in .yaml is a path.
"""

from rlt_ros.config.files import config_hash, load, names, validate
from rlt_ros.config.method import Method, Shares, check_fit, learned_with
from rlt_ros.config.robot import Arm, Camera, RobotProfile
from rlt_ros.config.strict import Strict
from rlt_ros.config.task import Task

__all__ = [
    'Arm', 'Camera', 'Method', 'RobotProfile', 'Shares', 'Strict', 'Task',
    'check_fit', 'config_hash', 'learned_with', 'load', 'names', 'validate',
]  # fmt: skip
