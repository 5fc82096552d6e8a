"""What the tool did in an episode, tick by tick: for pictures of how policies differ."""

from pathlib import Path

import mujoco
import numpy as np

from rlt_ros.sim.world import World

COLUMNS = ('episode', 'height', 'speed', 'force')


class Trace:
    """Rows (T, 4) of float32: number of the episode, height of the tool centre point (m, world), its speed (m/s) and
    the sum of the normal forces of all contacts (N)."""

    def __init__(self):
        self.rows: list[tuple[float, float, float, float]] = []
        self.episode = 0
        self._before: np.ndarray | None = None
        self._force = np.zeros(6)

    def watch(self, world: World, tick: int, last: bool = False) -> None:
        """To be called before every tick and at the end."""
        if tick == 0:
            self.episode, self._before = self.episode + 1, None
        place, _ = world.tool()
        moved = 0.0 if self._before is None else float(np.linalg.norm(place - self._before))
        self._before = place
        self.rows.append((self.episode, place[2], moved * world.profile.control_rate, self.force(world)))

    def force(self, world: World) -> float:
        total = 0.0
        for i in range(world.data.ncon):
            mujoco.mj_contactForce(world.model, world.data, i, self._force)
            total += abs(self._force[0])
        return total

    def save(self, path: Path) -> None:
        np.save(path, np.array(self.rows, np.float32).reshape(-1, len(COLUMNS)), allow_pickle=False)


def read(path: Path) -> list[np.ndarray]:
    """(T, 3) of every episode: height, speed, force; [] without the file."""
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return []
    return [rows[rows[:, 0] == number, 1:] for number in np.unique(rows[:, 0])]
