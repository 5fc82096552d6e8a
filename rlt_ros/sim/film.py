"""Videos of the simulated robot, in lock-step: the audience's view beside what the robot's cameras see."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.errors import UserError
from rlt_ros.monitor import video
from rlt_ros.sim.collect import LONGEST
from rlt_ros.sim.teleoperation import Teleoperation
from rlt_ros.sim.world import World

if TYPE_CHECKING:
    from rlt_ros.bench.learned import Learned

HEIGHT, WIDTH, RATE = 384, 512, 25


class Film:
    """Frames to a video file; for a .gif, to an animated picture."""

    def __init__(self, path: Path):
        """Raises UserError for a file that is neither."""
        if path.suffix not in ('.mp4', '.gif'):
            raise UserError(f'{path} is no name of a video; allowed endings: .mp4, .gif')
        self.path, self.frames = path, []
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, world: World, caption: str) -> None:
        """A frame of the world as it is now."""
        frame = world.render('audience', WIDTH, HEIGHT).copy()
        side = HEIGHT // len(world.profile.cameras) if len(world.profile.cameras) > 2 else HEIGHT // 3
        column = np.zeros((HEIGHT, side, 3), np.uint8)
        for i, image in enumerate(world.images()):
            column[i * side : (i + 1) * side] = cv2.resize(image, (side, side), interpolation=cv2.INTER_NEAREST)
        frame = np.ascontiguousarray(np.hstack([frame, column]))
        video.write(frame, caption, (10, 24), 0.6)
        self.frames.append(frame)

    def close(self) -> None:
        if self.path.suffix == '.gif':
            from PIL import Image

            small = [Image.fromarray(frame).resize((480, 288)).quantize(64) for frame in self.frames[::2]]
            small[0].save(
                self.path, save_all=True, append_images=small[1:], duration=2000 // RATE, loop=0, optimize=True
            )
            return
        height, width = self.frames[0].shape[:2]
        writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter.fourcc(*'mp4v'), RATE, (width, height))
        if not writer.isOpened():
            raise UserError(f'{self.path} cannot be written')
        for frame in self.frames:
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
        writer.release()


def film(
    profile: RobotProfile, task: Task, driver: 'Learned | Literal["operator", "vla"]', episodes: int, seed: int,
    path: Path,
) -> None:  # fmt: skip
    """Record episodes driven by the scripted operator, the VLA, or what a run learned (of this robot and task)."""
    every = round(profile.control_rate / RATE)
    out, play = Film(path), {'operator': 'operator', 'vla': 'VLA'}[driver] if isinstance(driver, str) else 'RLT'

    def watch(world: World, tick: int, last: bool = False) -> None:
        if tick % every == 0 or last:
            state = ' - done' if last and world.success() else ''
            for _ in range(RATE if last else 1):
                out.add(world, f'{play}   {tick / profile.control_rate:4.1f} s{state}')

    if driver == 'operator':
        world, random = World(profile, task, [seed, 3]), np.random.default_rng([seed, 4])
        for _ in range(episodes):
            world.reset()
            operator, tick = Teleoperation(world, random), 0
            while not world.success() and tick < LONGEST[task.setting] * profile.control_rate:
                watch(world, tick)
                world.step(operator.command(), 1 / profile.control_rate)
                tick += 1
            watch(world, tick, last=True)
    else:
        from rlt_ros.bench.lockstep import one_core, open_lockstep

        one_core()
        starts = [seed, 3]
        runner = open_lockstep(profile, task, load(Method, 'rlt'), starts) if driver == 'vla' else driver.runner(starts)
        for _ in range(episodes):
            runner.episode('evaluation' if driver == 'vla' else 'online', noise=False, watch=watch)
    out.close()
