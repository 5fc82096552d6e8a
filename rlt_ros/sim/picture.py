"""One picture of several tasks: an audience's view, and what the cameras see, as the part is about to go in."""

from pathlib import Path

import cv2
import numpy as np

from rlt_ros.config import RobotProfile, Task
from rlt_ros.errors import UserError
from rlt_ros.monitor import video
from rlt_ros.sim.teleoperation import Teleoperation
from rlt_ros.sim.world import World

SIDE, GAP = 240, 4  # px
ABOVE = 0.004  # m of the tip above the mouth


def picture(profile: RobotProfile, tasks: list[Task], seed: int, path: Path) -> None:
    """Write it; raises UserError where the file cannot be written."""
    rows = []
    for task in tasks:
        world = World(profile, task, seed)
        operator = Teleoperation(world, np.random.default_rng(seed))
        while not world.holding or world.tip_in_socket()[2] > ABOVE:
            world.step(operator.command(), 1 / profile.control_rate)
        views = [world.render('audience', SIDE, SIDE).copy()]
        views += [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) for image in world.images()]
        video.write(views[0], task.name, (8, 22), 0.6)
        edge = np.full((SIDE, GAP, 3), 255, np.uint8)
        rows += [np.hstack([part for view in views for part in (view, edge)][:-1])]
        rows += [np.full((GAP, rows[-1].shape[1], 3), 255, np.uint8)]
        world.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.vstack(rows[:-1])[..., ::-1]):
        raise UserError(f'{path} cannot be written as a picture; allowed endings: .png, .jpg')
