"""Everything the robot learned from, on disk: append-only, one record per transition, crash-safe, no pickle.

A record is a header (magic, payload length, CRC-32) and a msgpack payload. An episode's records are written together
and synced; a torn tail, as a killed process leaves it, is cut off when the journal is opened.
"""

from collections.abc import Iterator
import os
from pathlib import Path
import struct
import zlib

import msgpack
import numpy as np

from rlt_ros.rl.transitions import Transition

MAGIC = b'RLTJ'
HEADER = struct.Struct('<4sII')
LARGEST = 1 << 24  # bytes of a record
ARRAYS = ('state', 'reference', 'action', 'next_state', 'next_reference')
NUMBERS = ('reward', 'discount', 'steps', 'human_steps', 'policy_version', 'tick')


def encode(transition: Transition, episode: int, mode: str) -> bytes:
    content = {name: getattr(transition, name).astype('<f4').tobytes() for name in ARRAYS}
    content |= {name: getattr(transition, name) for name in NUMBERS} | {'episode': episode, 'mode': mode}
    payload = msgpack.packb(content)
    return HEADER.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def decode(payload: bytes) -> tuple[Transition, int, str]:
    """Transition, episode and mode of a payload; raises ValueError or KeyError where it is none."""
    content = msgpack.unpackb(payload)
    arrays = {name: np.frombuffer(content[name], '<f4') for name in ARRAYS}
    return Transition(**arrays, **{name: content[name] for name in NUMBERS}), content['episode'], content['mode']


def records(path: Path) -> Iterator[tuple[int, bytes]]:
    """End offset and payload of every whole record from the start; stops at the first torn or damaged one."""
    with path.open('rb') as file:
        end = 0
        while len(head := file.read(HEADER.size)) == HEADER.size:
            magic, length, checksum = HEADER.unpack(head)
            if magic != MAGIC or length > LARGEST:
                return
            payload = file.read(length)
            if len(payload) != length or zlib.crc32(payload) != checksum:
                return
            end += HEADER.size + length
            yield end, payload


class Journal:
    """One file. `cut` says how many bytes of a torn tail were removed when it was opened."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.cut = path, 0
        if path.exists():
            whole = 0
            for end, _ in records(path):
                whole = end
            self.cut = path.stat().st_size - whole
            if self.cut:
                os.truncate(path, whole)
        self._file = path.open('ab', buffering=0)

    def read(self) -> Iterator[tuple[Transition, int, str]]:
        """Transition, episode and mode of every record."""
        for _, payload in records(self.path):
            yield decode(payload)

    def append(self, transitions: list[Transition], episode: int, mode: str) -> None:
        """Write an episode and sync. Raises OSError, after cutting off what was half written (a full disk, say)."""
        before = os.fstat(self._file.fileno()).st_size
        data = memoryview(b''.join(encode(transition, episode, mode) for transition in transitions))
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), before)
            raise

    def close(self) -> None:
        self._file.close()
