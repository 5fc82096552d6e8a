"""Training examples from demonstrations: what the VLA sees, and the chunk and goal that followed."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from rlt_ros.config import RobotProfile
from rlt_ros.control.kinematics import Kinematics, home, rotation_vector
from rlt_ros.data.dataset import INFO, Episode, check_robot, lengths, read
from rlt_ros.errors import UserError
from rlt_ros.vla.language import tokenize
from rlt_ros.vla.proprioception import Proprioception

GOAL_UNIT = np.array([0.002, 0.002, 0.01, 0.03])  # m, m, m, rad
CLOSING = 0.004  # m that a hand has to close by, for a grasp
APPROACH_UNITS = 5.0  # by so much the units of goals on the way to the critical phase are larger
HELD_OUT = 10  # every tenth episode is for validation


@dataclass
class Examples:
    """T observations of all episodes."""

    images: np.ndarray  # (T, N, S, S, 3) uint8
    words: np.ndarray  # (T, WORDS)
    features: np.ndarray  # (T, P) raw proprioception
    deltas: np.ndarray  # (T, H, D) commands minus measured position, rad or m
    known: np.ndarray  # (T, H) bool: which of these are to be learned: those before the person strays
    goal: np.ndarray  # (T, 4) pose change of the tool to its goal (see `goal_rows`), in GOAL_UNIT
    tip_in_socket: np.ndarray  # (T, 3) m, for probes
    critical: np.ndarray  # (T,) bool: of the critical phase, and not of the way to it
    episode: np.ndarray  # (T,)
    instructions: list[str]

    @property
    def held_out(self) -> np.ndarray:
        """(T,) bool: validation episodes."""
        return self.episode % HELD_OUT == HELD_OUT - 1

    def chosen(self, rows: np.ndarray | slice) -> 'Examples':
        """Some of the observations: their numbers, a mask (T,), or a slice."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != 'instructions'})

    def thinned(self, every: int) -> 'Examples':
        """Every so manieth observation."""
        return self.chosen(slice(None, None, every))


def from_episode(
    episode: Episode, kinematics: Kinematics, feel: Proprioception, horizon: int, every: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features (T, P), deltas (T, H, D), which of them are known (T, H), goals (T, 4) of every so manieth row.

    Commands after the episode's end repeat the last one.
    """
    position = episode.position[::every]
    states = zip(position, episode.velocity[::every], episode.command[::every], strict=True)
    features = np.array([feel.features(*state) for state in states], np.float32)
    stride = episode.action.shape[1]
    commands = episode.action.reshape(-1, episode.action.shape[2])
    ticks = np.arange(0, len(commands), stride * every)[:, None] + np.arange(horizon)
    ticks = np.minimum(ticks, len(commands) - 1)
    deltas = commands[ticks] - position[:, None]
    known = ~np.logical_or.accumulate(episode.straying[ticks // stride], axis=1)
    arm, part = kinematics.arms[-1], kinematics.slices[-1]
    rows = goal_rows(episode, kinematics)
    there = {row: arm.tool(episode.position[row, part]) for row in np.unique(rows)}
    goals = []
    for t in range(0, len(rows), every):
        (to, turned), (at, rotation) = there[rows[t]], arm.tool(episode.position[t, part])
        unit = GOAL_UNIT if episode.critical[t] else GOAL_UNIT * APPROACH_UNITS
        goals.append([*(to - at), rotation_vector(turned @ rotation.T)[2]] / unit)
    return features, deltas.astype(np.float32), known, np.array(goals, np.float32)


def goal_rows(episode: Episode, kinematics: Kinematics) -> np.ndarray:
    """(T,) row whose pose is the goal of each: the last one; on the way to the critical phase, where the hand next
    closes (half way of what it does in the episode) where it should, or where the way ends.
    """
    goals = np.full(len(episode.position), len(episode.position) - 1)
    length = int((~episode.critical).sum())
    if length:
        opening = episode.position[:length, kinematics.grippers[-1]]
        is_open = opening > max((opening.max() + opening.min()) / 2, opening.min() + CLOSING / 2)
        closes = is_open[:-1] & ~is_open[1:] & ~episode.straying[: length - 1]
        goals_there = np.append(np.flatnonzero(closes), length - 1)
        goals[:length] = goals_there[np.searchsorted(goals_there, np.arange(length))]
    return goals


def check_different(folders: list[Path]) -> None:
    """Raises UserError for a data set given twice: what is held out of one is trained on in the other."""
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise UserError(f'data set {folder} is given {places.count(place)} times; allowed: once')


def load_examples(
    folders: list[Path], profile: RobotProfile, horizon: int, every: int = 1, approach: bool = True
) -> Examples:  # fmt: skip
    """Every so manieth observation of data sets, but those where the person strays; episodes without any do not count.

    approach: also those before the critical phase. Raises UserError when a data set is given twice or is of another
    robot (see `check_robot`), or when there are too few episodes.
    """
    check_different(folders)
    for folder in folders:
        check_robot(folder, profile)
    kinematics = Kinematics(profile)
    feel = Proprioception(kinematics, home(profile))
    names = ('words', 'features', 'deltas', 'known', 'goal', 'tip', 'critical', 'episode')
    columns: dict[str, list] = {name: [] for name in names}
    # Pictures are nearly all of the memory: they go where they stay.
    most = sum(-(-length // every) for folder in folders for length in lengths(folder))
    images, used = np.empty((most, len(profile.cameras), *[profile.image_size] * 2, 3), np.uint8), 0
    instructions: list[str] = []
    episodes = ((folder, episode) for folder in folders for episode in read(folder, every))
    for folder, episode in episodes:
        size, shape = profile.image_size, (*episode.images.shape[1:], *episode.action.shape[1:])
        if shape != (len(profile.cameras), size, size, 3, profile.stride, profile.action_dim):
            raise UserError(f'{folder} is damaged: its rows are not as {INFO} says')
        critical = episode.critical[::every]
        features, deltas, known, goal = from_episode(episode, kinematics, feel, horizon, every)
        kept = (critical | approach) & known[:, 0]
        length = int(kept.sum())
        if not length:
            continue
        if episode.instruction not in instructions:
            instructions.append(episode.instruction)
        images[used : used + length] = episode.images[kept]
        used += length
        columns['words'].append(np.tile(tokenize(episode.instruction), (length, 1)))
        columns['features'].append(features[kept])
        columns['deltas'].append(deltas[kept])
        columns['known'].append(known[kept])
        columns['goal'].append(goal[kept])
        columns['tip'].append(episode.tip_in_socket[::every][kept])
        columns['critical'].append(critical[kept])
        columns['episode'].append(np.full(length, len(columns['episode'])))
    if (count := len(columns['episode'])) < HELD_OUT:
        where, phase = ', '.join(map(str, folders)), 'any phase' if approach else 'the critical phase'
        raise UserError(f'{where}: {count} episodes with observations of {phase}; at least {HELD_OUT} are needed')
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return Examples(images=images[:used], tip_in_socket=joined.pop('tip'), instructions=instructions, **joined)
