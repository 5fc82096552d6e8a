"""What the monitor writes into the run folder, so that it can be read at any moment and after any crash."""

from collections.abc import Mapping
import json
import math
import os
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from rlt_ros.report.records import read_episodes, read_object

OUTCOME = ('success_last_20', 'throughput_per_10min', 'median_steps')
LEARNER = ('updates_per_s', 'critic_loss', 'q_mean', 'target_mean', 'bc_distance', 'transitions', 'policy_version')


class RunFiles:
    """Appends to episodes.jsonl, metrics.jsonl and tensorboard/, replaces status.json. All may raise OSError."""

    def __init__(self, folder: Path):
        """Opens (and makes) the folder; goes on with what is in it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.episodes_before = read_episodes(folder)
        self.status_before = read_object(folder / 'status.json')
        self._streams = {name: open_lines(folder / name) for name in ('episodes.jsonl', 'metrics.jsonl')}
        self._tensorboard = SummaryWriter(str(folder / 'tensorboard'))

    def add_episode(self, record: Mapping[str, Any]) -> None:
        """A line of episodes.jsonl; it is on the disk when this returns."""
        self._append('episodes.jsonl', record)
        os.fsync(self._streams['episodes.jsonl'].fileno())
        for name in ('steps', 'seconds'):
            self._tensorboard.add_scalar(f'episode/{name}', record[name], record['episode'])
        self._tensorboard.add_scalar('episode/success', float(record['outcome'] == 'success'), record['episode'])

    def add_metrics(self, metrics: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl; TensorBoard also gets how it goes."""
        self._append('metrics.jsonl', metrics)
        scalars = {f'learner/{name}': metrics[name] for name in LEARNER}
        scalars |= {f'control/deadline_error_ms_{name}': value for name, value in metrics['deadline_error_ms'].items()}
        scalars |= {f'control/{name}': metrics[name] for name in ('missed_ticks', 'chunk_holds')}
        scalars |= {f'run/{name}': outcome[name] for name in OUTCOME}
        for name, value in scalars.items():
            if value is not None and math.isfinite(value):
                self._tensorboard.add_scalar(name, value, metrics['ticks'])

    def replace_status(self, status: Mapping[str, Any]) -> None:
        """status.json, whole at any moment."""
        temporary = self.folder / '.status.json'
        temporary.write_text(dumps(status) + '\n')
        temporary.replace(self.folder / 'status.json')

    def close(self) -> None:
        for stream in self._streams.values():
            stream.close()
        self._tensorboard.close()

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        self._streams[name].write((dumps(record) + '\n').encode())


def open_lines(path: Path) -> Any:
    """A file to append whole lines to, unbuffered; a line that a crash cut off is ended first."""
    stream = open(path, 'ab+', buffering=0)
    if stream.seek(0, os.SEEK_END) > 0:
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) != b'\n':
            stream.write(b'\n')
    return stream


def dumps(record: Mapping[str, Any]) -> str:
    """JSON in one line; numbers that JSON does not have become null."""

    def clean(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(clean(record), allow_nan=False, ensure_ascii=False)
