"""Everything the robot learned from, on disk: append-only, one record per transition, crash-safe, no pickle.

A record is a header (magic, payload length, CRC-32) and a msgpack payload. An episode's records are written together
and synced. A torn tail, as a killed process or a full disk leaves it, is cut off when the journal is opened; damage in
the middle costs the records it touches and no others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
import mmap
import os
from pathlib import Path
import struct
import zlib

import msgpack
import numpy as np

from rlt_ros.errors import UserError
from rlt_ros.rl.assembly import Finished
from rlt_ros.rl.transitions import Transition

MAGIC = b'RLT2'
HEADER = struct.Struct('<4sII')
LARGEST = 1 << 24  # bytes of a record
ARRAYS = ('state', 'reference', 'action', 'next_state', 'next_reference')
NUMBERS = tuple(field.name for field in fields(Transition) if field.name not in (*ARRAYS, 'human'))


@dataclass(frozen=True)
class Record:
    """A transition and the episode it is of."""

    transition: Transition
    episode: int
    mode: str  # warmup or online
    outcome: str  # success, failure or timeout
    method: str


def encode(record: Record) -> bytes:
    """Header and payload."""
    t = record.transition
    content = {name: getattr(t, name).astype('<f4').tobytes() for name in ARRAYS}
    content |= {name: getattr(t, name) for name in NUMBERS} | {'human': t.human.astype(np.uint8).tobytes()}
    content |= {name: getattr(record, name) for name in ('episode', 'mode', 'outcome', 'method')}
    payload = msgpack.packb(content)
    return HEADER.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def decode(payload: bytes) -> Record:
    """The record of a payload; raises ValueError, KeyError or TypeError where it is none."""
    content = msgpack.unpackb(payload)
    arrays = {name: np.frombuffer(content[name], '<f4') for name in ARRAYS}
    arrays['human'] = np.frombuffer(content['human'], np.uint8).astype(bool)
    transition = Transition(**arrays, **{name: content[name] for name in NUMBERS})
    return Record(transition, *(content[name] for name in ('episode', 'mode', 'outcome', 'method')))


def records(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and payload of every whole record; what lies between them is damaged and stepped over."""
    if not path.stat().st_size:
        return
    with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 0
        while len(data) - at >= HEADER.size:
            magic, length, checksum = HEADER.unpack_from(data, at)
            end = at + HEADER.size + length
            if magic == MAGIC and 0 < length <= LARGEST and end <= len(data):
                payload = data[at + HEADER.size : end]
                if zlib.crc32(payload) == checksum:
                    yield at, end, payload
                    at = end
                    continue
            at = data.find(MAGIC, at + 1)
            if at < 0:
                return


def begins_as_one(path: Path) -> bool:
    """Whether a file without a whole record is a journal whose first write was torn."""
    with path.open('rb') as file:
        return MAGIC.startswith(file.read(len(MAGIC)))


class Journal:
    """One file. `cut`: bytes of a torn tail that were removed when it was opened; `damaged`: bytes stepped over.

    Raises UserError, and leaves the file as it is, where it is something else.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.cut, self.damaged = path, 0, 0
        if path.exists():
            whole = 0
            for start, end, _ in records(path):
                self.damaged += start - whole
                whole = end
            self.cut = path.stat().st_size - whole
            if self.cut and not whole and not begins_as_one(path):
                raise UserError(f'{path} is no journal of this version of rlt_ros; start a new run')
            if self.cut:
                os.truncate(path, whole)
        self._file = path.open('ab', buffering=0)

    def read(self) -> Iterator[Record]:
        """Every whole record, in the order in which they were written."""
        return read(self.path)

    def append(self, finished: Finished, method: str) -> None:
        """Write an episode and sync. Raises OSError, after cutting off what was half written (a full disk, say)."""
        before = os.fstat(self._file.fileno()).st_size
        parts = (Record(t, finished.episode, finished.mode, finished.outcome, method) for t in finished.transitions)
        data = memoryview(b''.join(map(encode, parts)))
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), before)
            raise

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Record]:
    """Every whole record of a file, which is left as it is; raises UserError for one that means something else."""
    for start, _, payload in records(path):
        try:
            yield decode(payload)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f'{path}: the record at byte {start} is of another version of rlt_ros: {error}') from None
