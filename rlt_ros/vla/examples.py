"""Training examples from demonstrations: what the VLA sees, and the chunk and goal that followed."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from rlt_ros.config import RobotProfile
from rlt_ros.control.kinematics import Kinematics, rotation_vector
from rlt_ros.data.dataset import Episode, lengths, read
from rlt_ros.errors import UserError
from rlt_ros.vla.language import tokenize
from rlt_ros.vla.proprioception import Proprioception

GOAL_UNIT = np.array([0.002, 0.002, 0.01, 0.03])  # m, m, m, rad
HELD_OUT = 10  # every tenth episode is for validation


@dataclass
class Examples:
    """T observations of all episodes."""

    images: np.ndarray  # (T, N, S, S, 3) uint8
    words: np.ndarray  # (T, WORDS)
    features: np.ndarray  # (T, P) raw proprioception
    deltas: np.ndarray  # (T, H, D) commands minus measured position, rad or m
    goal: np.ndarray  # (T, 4) pose change of the tool to the end of its demonstration, in GOAL_UNIT
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


def home(profile: RobotProfile) -> np.ndarray:
    return np.array([joint.home for joint in profile.joints])


def from_episode(
    episode: Episode, kinematics: Kinematics, feel: Proprioception, horizon: int, every: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (T, P), deltas (T, H, D) and goals (T, 4) of every so manieth row of one episode.

    Commands after its end repeat the last one.
    """
    position = episode.position[::every]
    states = zip(position, episode.velocity[::every], episode.command[::every], strict=True)
    features = np.array([feel.features(*state) for state in states], np.float32)
    stride = episode.action.shape[1]
    commands = episode.action.reshape(-1, episode.action.shape[2])
    ticks = np.arange(0, len(commands), stride * every)[:, None] + np.arange(horizon)
    deltas = commands[np.minimum(ticks, len(commands) - 1)] - position[:, None]
    arm, part = kinematics.arms[-1], kinematics.slices[-1]
    last_position, last_rotation = arm.tool(episode.position[-1, part])
    poses = [arm.tool(q[part]) for q in position]
    goals = [[*(last_position - p), rotation_vector(last_rotation @ r.T)[2]] for p, r in poses]
    return features, deltas.astype(np.float32), (np.array(goals) / GOAL_UNIT).astype(np.float32)


def load_examples(folders: list[Path], profile: RobotProfile, horizon: int, every: int = 1) -> Examples:
    """Every so manieth observation of data sets; raises UserError when one is of a robot of another shape."""
    kinematics = Kinematics(profile)
    feel = Proprioception(kinematics, home(profile))
    names = ('words', 'features', 'deltas', 'goal', 'tip', 'critical', 'episode')
    columns: dict[str, list] = {name: [] for name in names}
    # Pictures are nearly all of the memory: they go where they stay.
    most = sum(-(-length // every) for folder in folders for length in lengths(folder))
    images, used = np.empty((most, len(profile.cameras), *[profile.image_size] * 2, 3), np.uint8), 0
    instructions: list[str] = []
    episodes = ((folder, episode) for folder in folders for episode in read(folder, every))
    for number, (folder, episode) in enumerate(episodes):
        shape = (episode.images.shape[1], episode.images.shape[2], episode.position.shape[1])
        if shape != (len(profile.cameras), profile.image_size, profile.action_dim):
            raise UserError(
                f'{folder} was recorded with (cameras, image size, joints) = {shape}, which is not robot {profile.name}'
            )
        if episode.instruction not in instructions:
            instructions.append(episode.instruction)
        features, deltas, goal = from_episode(episode, kinematics, feel, horizon, every)
        length = len(features)
        images[used : used + length] = episode.images
        used += length
        columns['words'].append(np.tile(tokenize(episode.instruction), (length, 1)))
        columns['features'].append(features)
        columns['deltas'].append(deltas)
        columns['goal'].append(goal)
        columns['tip'].append(episode.tip_in_socket[::every])
        columns['critical'].append(episode.critical[::every])
        columns['episode'].append(np.full(length, number))
    if len(columns['episode']) < HELD_OUT:
        where = ', '.join(map(str, folders))
        raise UserError(f'{where}: {len(columns["episode"])} episodes; at least {HELD_OUT} are needed')
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return Examples(images=images[:used], tip_in_socket=joined.pop('tip'), instructions=instructions, **joined)
