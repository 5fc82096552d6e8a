"""Demonstrations by the scripted teleoperator."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from rlt_ros.config import RobotProfile, Task
from rlt_ros.data.dataset import Episode, Writer
from rlt_ros.data.progress import progress
from rlt_ros.sim.teleoperation import Teleoperation
from rlt_ros.sim.world import World

LONGEST = {'critical': 15.0, 'full': 40.0}  # s, then the person gives up


def demonstrate(world: World, random: np.random.Generator, task: Task) -> Episode:
    """One demonstration from where the world is, observed every `stride` ticks."""
    profile = world.profile
    operator, command = Teleoperation(world, random, detours=True), world.command.copy()
    names = ('images', 'position', 'velocity', 'command', 'action', 'tip', 'critical', 'straying')
    rows: dict[str, list] = {name: [] for name in names}
    success, tick = False, 0
    while not success and tick < LONGEST[task.setting] * profile.control_rate:
        if tick % profile.stride == 0:
            rows['images'].append(world.images())
            rows['position'].append(world.position.copy())
            rows['velocity'].append(world.velocity.copy())
            rows['command'].append(command)
            rows['tip'].append(world.tip_in_socket())
            rows['critical'].append(False)
            rows['straying'].append(False)
            rows['action'].append([])
        command = operator.command()
        rows['critical'][-1] |= operator.critical
        rows['straying'][-1] |= operator.straying
        rows['action'][-1].append(command)
        world.step(command, 1.0 / profile.control_rate)
        tick, success = tick + 1, world.success()
    while len(rows['action'][-1]) < profile.stride:  # the last row ends in mid-stride: it stays where it is
        rows['action'][-1].append(command)
    return Episode(
        images=np.array(rows['images']),
        position=np.array(rows['position']),
        velocity=np.array(rows['velocity']),
        command=np.array(rows['command']),
        action=np.array(rows['action']),
        tip_in_socket=np.array(rows['tip']),
        critical=np.array(rows['critical']),
        straying=np.array(rows['straying']),
        instruction=task.instruction,
        success=success,
    )


def fresh(profile: RobotProfile, task: Task, seed: int | list[int]) -> Iterator[World]:
    """A world at a new start, again and again."""
    world = World(profile, task, seed)
    while True:
        world.reset()
        yield world


def collect(
    profile: RobotProfile, task: Task, worlds: Iterator[World], episodes: int, seed: int, folder: Path,
    source: Mapping[str, object],
) -> float:  # fmt: skip
    """Write `episodes` successful demonstrations; those that fail are left out, as people leave them out.

    Returns the median of their steps.
    worlds: one for each, as it is when the demonstration begins; source: as of `Writer`. Raises UserError where the
    folder is there already or cannot be written.
    """
    random = np.random.default_rng([seed, 1])
    steps: list[int] = []
    with Writer(folder, profile, source) as writer, progress() as bars:
        bar = bars.add_task(f'demonstrations of {task.name}', total=episodes, note='')
        while len(steps) < episodes:
            episode = demonstrate(world := next(worlds), random, task)
            if episode.success:
                writer.add(episode)
                steps.append(len(episode.position) * profile.stride)
                bars.update(bar, advance=1, note=f'median {np.median(steps):.0f} steps')
    world.close()
    return float(np.median(steps))
