"""Made-up demonstrations of a robot with one small picture, for tests that train on some."""

from pathlib import Path

import numpy as np

from rlt_ros.config import RobotProfile, load
from rlt_ros.control.kinematics import home
from rlt_ros.data.dataset import Episode, Writer

ROBOT = load(RobotProfile, 'single_arm').model_copy(update={'image_size': 32})


def write(folder: Path, critical: list[int], rows: int) -> Path:
    """A data set; critical: how many rows at the end of each episode are of the critical phase."""
    random, writer = np.random.default_rng(0), Writer(folder, ROBOT)
    for length in critical:
        position = home(ROBOT) + random.normal(0, 1e-3, (rows, ROBOT.action_dim))
        writer.add(Episode(
            images=random.integers(0, 256, (rows, 1, 32, 32, 3), np.uint8), position=position, velocity=0 * position,
            command=position, action=np.repeat(position[:, None], 2, 1), tip_in_socket=np.zeros((rows, 3)),
            critical=np.arange(rows) >= rows - length, straying=np.zeros(rows, bool), instruction='plug it in',
            success=True,
        ))  # fmt: skip
    writer.close()
    return folder
