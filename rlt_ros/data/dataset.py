"""Demonstrations on disk, in the layout of LeRobotDataset v3.0: parquet and JSON, images as embedded PNG, no pickle.

One row is one observation (25 a second). `action` holds the commands of the control ticks until the next row,
shape (stride, D), so that nothing of the 50 Hz commands is lost.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
import json
from pathlib import Path
import shutil

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rlt_ros.config import RobotProfile
from rlt_ros.errors import UserError
from rlt_ros.paths import LOCK, check_writable, lock

DATA = 'data/chunk-000/file-{:03d}.parquet'
EPISODES = 'meta/episodes/chunk-000/file-{:03d}.parquet'
INFO = 'meta/info.json'
TASKS = 'meta/tasks.parquet'
IMAGES = 'observation.images.'  # and a camera's name
EPISODES_PER_FILE = 20
# LeRobot looks for a task's text in the index of the table's data frame; pandas is told of it by the file's metadata
INDEXED_BY_TASK = {'pandas': json.dumps({
    'index_columns': ['task'], 'column_indexes': [], 'pandas_version': '2.0.0', 'columns': [
        {'name': name, 'field_name': name, 'pandas_type': kind, 'numpy_type': kept, 'metadata': None}
        for name, kind, kept in (('task_index', 'int64', 'int64'), ('task', 'unicode', 'object'))
    ],
})}  # fmt: skip
UNNAMED_INDEX = '__index_level_0__'  # the text's column in data sets of older LeRobot
MAKE = 'make one with: rlt collect --task TASK --out'
SCALARS = {
    'timestamp': 'float32', 'frame_index': 'int64', 'episode_index': 'int64', 'index': 'int64', 'task_index': 'int64',
    'critical': 'bool', 'straying': 'bool', 'next.done': 'bool', 'next.success': 'bool',
}  # fmt: skip


@dataclass
class Episode:
    """T observations of one demonstration."""

    images: np.ndarray  # (T, N, S, S, 3) uint8 rgb
    position: np.ndarray  # (T, D) rad or m
    velocity: np.ndarray  # (T, D)
    command: np.ndarray  # (T, D) last command before the observation
    action: np.ndarray  # (T, stride, D) commands of the ticks that follow
    tip_in_socket: np.ndarray  # (T, 3) m; ground truth for probes, never an input
    critical: np.ndarray  # (T,) bool: whether the critical phase has begun; before it the part is fetched
    straying: np.ndarray  # (T,) bool: the person is somewhere to come back from, and not to go to
    instruction: str
    success: bool


def encode(image: np.ndarray) -> bytes:
    return cv2.imencode('.png', image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def is_dataset(folder: Path) -> bool:
    """Whether a whole data set is there: its metadata is written last."""
    return (folder / INFO).is_file()


class Writer:
    """Appends episodes; `close()` writes the metadata and gives the folder its name.

    Until then it is called <folder>.part, so that an interrupted recording is never taken for a data set, and nothing
    of it gets into the next one.
    """

    def __init__(self, folder: Path, profile: RobotProfile, source: Mapping[str, object] | None = None):
        """source: what the recording depends on, as JSON takes it (see `check_source`).

        Raises UserError where the folder is there already, is being recorded, or cannot be written.
        """
        if folder.exists():
            held = 'already holds a data set' if is_dataset(folder) else 'is there already, and holds no whole data set'
            raise UserError(f'{folder} {held}; choose another folder or remove it')
        self.folder, self.profile, self.source = folder, profile, dict(source or {})
        self._unfinished = folder.with_name(f'{folder.name}.part')
        busy = f'{self._unfinished} is being recorded by another process'
        if self._unfinished.is_dir():
            lock(self._unfinished, busy).close()
            shutil.rmtree(self._unfinished, ignore_errors=True)
        check_writable(self._unfinished / INFO)
        self._lock = lock(self._unfinished, busy)
        self._rows: list[dict] = []
        self._episodes: list[dict] = []
        self._tasks: dict[str, int] = {}
        self._frames = self._files = 0

    def __enter__(self) -> 'Writer':
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        """The end of a recording, or of an attempt at one."""
        if kind is None:
            self.close()
        else:
            self._lock.close()

    def add(self, episode: Episode) -> None:
        task = self._tasks.setdefault(episode.instruction, len(self._tasks))
        length, number = len(episode.position), len(self._episodes)
        for t in range(length):
            row = {
                'observation.state': episode.position[t],
                'observation.velocity': episode.velocity[t],
                'observation.command': episode.command[t],
                'action': episode.action[t].ravel(),
                'privileged.tip_in_socket': episode.tip_in_socket[t],
                'critical': bool(episode.critical[t]),
                'straying': bool(episode.straying[t]),
                'timestamp': t / self.profile.observation_rate,
                'frame_index': t,
                'episode_index': number,
                'index': self._frames + t,
                'task_index': task,
                'next.done': t + 1 == length,
                'next.success': episode.success and t + 1 == length,
            }
            for camera, image in zip(self.profile.cameras, episode.images[t], strict=True):
                row[IMAGES + camera.name] = {'bytes': encode(image), 'path': None}
            self._rows.append(row)
        self._episodes.append(
            {
                'episode_index': number,
                'tasks': [episode.instruction],
                'length': length,
                'success': episode.success,
                'data/chunk_index': 0,
                'data/file_index': self._files,
                'dataset_from_index': self._frames,
                'dataset_to_index': self._frames + length,
            }
        )
        self._frames += length
        if len(self._episodes) % EPISODES_PER_FILE == 0:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._write(DATA.format(self._files), pa.Table.from_pylist(self._rows, schema=self._schema()))
            self._rows, self._files = [], self._files + 1

    def _write(self, name: str, table: pa.Table) -> None:
        path = self._unfinished / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)

    def _schema(self) -> pa.Schema:
        vector, image = pa.list_(pa.float32()), pa.struct([('bytes', pa.binary()), ('path', pa.string())])
        fields = [(IMAGES + camera.name, image) for camera in self.profile.cameras]
        fields += [(f'observation.{name}', vector) for name in ('state', 'velocity', 'command')]
        fields += [('action', vector), ('privileged.tip_in_socket', vector)]
        fields += [(name, pa.type_for_alias(kind)) for name, kind in SCALARS.items()]
        return pa.schema(fields)

    def close(self) -> None:
        self._flush()
        self._write(EPISODES.format(0), pa.Table.from_pylist(self._episodes))
        tasks = [{'task_index': index, 'task': text} for text, index in self._tasks.items()]
        self._write(TASKS, pa.Table.from_pylist(tasks).replace_schema_metadata(INDEXED_BY_TASK))
        profile, size = self.profile, self.profile.image_size
        joints = profile.joint_names
        features = {
            IMAGES + camera.name: {
                'dtype': 'image', 'shape': [size, size, 3], 'names': ['height', 'width', 'channels'],
            }
            for camera in profile.cameras
        }  # fmt: skip
        for name in ('state', 'velocity', 'command'):
            features[f'observation.{name}'] = {'dtype': 'float32', 'shape': [len(joints)], 'names': joints}
        features['action'] = {
            'dtype': 'float32', 'shape': [profile.stride * len(joints)],
            'names': [f'{name}+{k}' for k in range(profile.stride) for name in joints],
        }  # fmt: skip
        features['privileged.tip_in_socket'] = {'dtype': 'float32', 'shape': [3], 'names': ['x', 'y', 'z']}
        features |= {name: {'dtype': kind, 'shape': [1], 'names': None} for name, kind in SCALARS.items()}
        info = {
            'codebase_version': 'v3.0',
            'robot_type': profile.name,
            'fps': profile.observation_rate,
            'control_rate': profile.control_rate,
            'total_episodes': len(self._episodes),
            'total_frames': self._frames,
            'total_tasks': len(self._tasks),
            'splits': {'train': f'0:{len(self._episodes)}'},
            'data_path': 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet',
            'video_path': None,
            'source': self.source,
            'features': features,
        }
        (self._unfinished / INFO).write_text(json.dumps(info, indent=1))
        self._unfinished.rename(self.folder)
        (self.folder / LOCK).unlink()
        self._lock.close()


def check_source(folder: Path, source: Mapping[str, object]) -> None:
    """Raises UserError unless a data set was recorded with what `source` says (see `Writer`)."""
    with _whole(folder):
        found = json.loads((folder / INFO).read_text()).get('source') or {}
    other = [name for name in source if found.get(name) != source[name]]
    if other:
        raise UserError(
            f'{folder} is there already, recorded with '
            + ', '.join(f'{name} {found.get(name, "unknown")} in place of {source[name]}' for name in other)
            + '; remove it, or choose another folder with --out'
        )


def lengths(folder: Path) -> list[int]:
    """Observations of each episode of a data set, as its metadata says; raises UserError."""
    try:
        return pq.read_table(folder / EPISODES.format(0))['length'].to_pylist()
    except (OSError, KeyError, pa.ArrowException):
        raise UserError(f'{folder} holds no data set (no {EPISODES.format(0)}); {MAKE} {folder}') from None


@contextmanager
def _whole(folder: Path) -> Iterator[None]:
    """What goes wrong in here is a data set that is missing or damaged: a UserError."""
    if not is_dataset(folder):
        raise UserError(f'{folder} holds no data set (no {INFO}); {MAKE} {folder}')
    try:
        yield
    except (KeyError, ValueError, TypeError, AttributeError, pa.ArrowException, OSError, cv2.error) as error:
        reason = ' '.join(str(error).split())[:200]
        raise UserError(f'{folder} is damaged or of another format: {type(error).__name__}: {reason}') from None


def check_robot(folder: Path, profile: RobotProfile) -> None:
    """Raises UserError unless a data set has the profile's cameras, joints and rates, in the profile's order."""
    with _whole(folder):
        info = json.loads((folder / INFO).read_text())
        features = info['features']
        cameras = [name for name in features if name.startswith(IMAGES)]
        found = {
            'cameras': [name.removeprefix(IMAGES) for name in cameras],
            'pictures': [features[name]['shape'] for name in cameras],
            'joints': features['observation.state']['names'],
            'Hz of observations': info['fps'],
            'Hz of commands': info['control_rate'],
            'commands a row': features['action']['shape'][0] / profile.action_dim,
        }
    size = profile.image_size
    wanted = {
        'cameras': [camera.name for camera in profile.cameras],
        'pictures': [[size, size, 3]] * len(profile.cameras),
        'joints': profile.joint_names,
        'Hz of observations': profile.observation_rate,
        'Hz of commands': profile.control_rate,
        'commands a row': profile.stride,
    }
    for what, value in wanted.items():
        if found[what] != value:
            raise UserError(f'{folder} was recorded with {what} {found[what]}, robot {profile.name} has {value}')


def read(folder: Path, every: int = 1) -> Iterator[Episode]:
    """The episodes of a data set in order. Raises UserError for a missing or damaged one.

    every: pictures of every so manieth row alone are decoded, which is what takes time; all else has T rows.
    """
    with _whole(folder):
        info = json.loads((folder / INFO).read_text())
        cameras = [key for key in info['features'] if key.startswith(IMAGES)]
        width = info['features']['observation.state']['shape'][0]
        tasks = {row['task_index']: row['task'] if 'task' in row else row[UNNAMED_INDEX]
                 for row in pq.read_table(folder / TASKS).to_pylist()}  # fmt: skip
        files = sorted((folder / 'data').rglob('*.parquet'))
        # before any is read: files of another recording among them are noticed in time
        count, total = sum(_episodes_in(file) for file in files), info['total_episodes']
        if count != total:
            raise ValueError(f'{count} episodes where {INFO} says {total}')
        for file in files:
            table = pq.read_table(file)
            numbers = table['episode_index'].to_numpy()
            for number in np.unique(numbers):
                rows = table.filter(numbers == number)
                column = lambda name, rows=rows: np.array(rows[name].to_pylist(), np.float32)  # noqa: E731
                some = np.arange(0, len(rows), every)
                pictures = [[decode(cell['bytes']) for cell in rows[key].take(some).to_pylist()] for key in cameras]
                yield Episode(
                    images=np.stack([np.stack(one) for one in pictures], axis=1),
                    position=column('observation.state'),
                    velocity=column('observation.velocity'),
                    command=column('observation.command'),
                    action=column('action').reshape(len(rows), -1, width),
                    tip_in_socket=column('privileged.tip_in_socket'),
                    critical=np.array(rows['critical'].to_pylist(), bool),
                    straying=np.array(rows['straying'].to_pylist(), bool),
                    instruction=tasks[rows['task_index'][0].as_py()],
                    success=any(rows['next.success'].to_pylist()),
                )


def _episodes_in(file: Path) -> int:
    return len(pq.read_table(file, columns=['episode_index'])['episode_index'].unique())
