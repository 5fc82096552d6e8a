"""The journal survives what happens to files: killed writers, full disks, damage anywhere, files that are none."""

from collections.abc import Callable
import errno
import os
from pathlib import Path
import signal
import subprocess
import sys
import warnings
import zlib

from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_up import METHOD, SIZES, transition
import numpy as np
import pytest

from rlt_ros.errors import UserError
from rlt_ros.rl import journal
from rlt_ros.rl.assembly import Finished
from rlt_ros.rl.journal import Journal, Record
from rlt_ros.rl.replay import Replay


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of thousands of files in which no machine loses its power."""
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)


def episode(number: int, *transitions: int, mode: str = 'online') -> Finished:
    return Finished(number, mode, 'success', [transition(n) for n in transitions])


def written(path: Path, count: int) -> Journal:
    """One transition per episode."""
    made = Journal(path)
    for number in range(count):
        made.append(episode(number // 2, number), 'test')
    return made


def ticks(made: Journal) -> list[int]:
    return [record.transition.tick for record in made.read()]


def assert_is(record: Record, number: int) -> None:
    """What was read is transition `number`, to the bit."""
    for name, value in vars(transition(number)).items():
        back = getattr(record.transition, name)
        np.testing.assert_array_equal(back, value)
        assert type(back) is type(value) and getattr(back, 'dtype', None) == getattr(value, 'dtype', None)


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'transitions.rltj'
    made = Journal(path)
    made.append(episode(4, 3, 4, mode='warmup'), 'rlt')
    made.append(episode(5), 'rlt')
    made.close()
    made = Journal(path)
    made.append(Finished(6, 'online', 'timeout', [transition(6)]), 'other')
    back = list(made.read())
    assert made.cut == made.damaged == 0
    assert [(r.episode, r.mode, r.outcome, r.method) for r in back] == [
        (4, 'warmup', 'success', 'rlt'), (4, 'warmup', 'success', 'rlt'), (6, 'online', 'timeout', 'other'),
    ]  # fmt: skip
    for number, record in zip((3, 4, 6), back, strict=True):  # with a person's step, an end, a truncation
        assert_is(record, number)
    replay = Replay(METHOD, SIZES)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for record in back:
            replay.add(record.transition, record.mode)
    assert len(replay) == 3


@pytest.mark.fault('journal', 'a torn tail is cut off')
@pytest.mark.usefixtures('no_sync')
def test_a_tail_torn_anywhere_is_cut_off_and_writing_goes_on(tmp_path: Path) -> None:
    whole = written(tmp_path / 'whole', 3).path.read_bytes()
    ends = [end for _, end, _ in journal.records(tmp_path / 'whole')]
    for length in range(len(whole)):
        path = tmp_path / 'torn'
        path.write_bytes(whole[:length])
        made = Journal(path)
        kept = sum(end <= length for end in ends)
        assert (made.cut, made.damaged) == (length - [0, *ends][kept], 0)
        assert path.stat().st_size == [0, *ends][kept]
        made.append(episode(9, 9), 'test')
        made.close()
        assert ticks(made) == [*range(kept), 9]


@pytest.mark.fault('journal', 'costs the records it touches and no others')
@pytest.mark.usefixtures('no_sync')
def test_damage_at_any_byte_costs_the_records_it_touches_and_no_others(tmp_path: Path) -> None:
    whole = written(tmp_path / 'whole', 3).path.read_bytes()
    spans = [(start, end) for start, end, _ in journal.records(tmp_path / 'whole')]
    path = tmp_path / 'damaged'
    for at in range(len(whole)):
        hit = next(i for i, (start, end) in enumerate(spans) if start <= at < end)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        made = Journal(path)
        left = [i for i in range(3) if i != hit]
        size = spans[hit][1] - spans[hit][0]
        assert (made.cut, made.damaged) == ((size, 0) if hit == 2 else (0, size))
        made.append(episode(9, 9), 'test')
        made.close()
        back = list(made.read())
        for number, record in zip([*left, 9], back, strict=True):
            assert_is(record, number)
        assert Journal(path).damaged == made.damaged, 'what is whole behind the damage stays'


CHANGES = {
    'gone': lambda middle: b'', 'head lost': lambda middle: middle[7:], 'tail lost': lambda middle: middle[:-7],
    'zeros': lambda middle: bytes(len(middle)), 'a false start': lambda middle: middle[:50] + b'RLT2' + middle[50:],
    'many false starts': lambda middle: b'RLT2' * 50, 'an endless record': lambda middle: b'RLT2' + b'\xff' * 8,
}  # fmt: skip


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_a_record_lost_in_any_other_way_costs_no_other(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / 'journal'
    whole = written(path, 5).path.read_bytes()
    spans = [(start, end) for start, end, _ in journal.records(path)]
    start, end = spans[2]
    path.write_bytes(whole[:start] + change(whole[start:end]) + whole[end:])
    made = Journal(path)
    assert ticks(made) == [0, 1, 3, 4]
    assert (made.cut, made.damaged) == (0, len(change(whole[start:end])))


def header(payload: bytes, length: int | None = None) -> bytes:
    return journal.HEADER.pack(journal.MAGIC, len(payload) if length is None else length, zlib.crc32(payload))


PIECES = st.one_of(
    st.binary(max_size=40), st.just(journal.MAGIC), st.just(journal.encode(Record(transition(1), 1, 'online', '', ''))),
    st.builds(header, st.binary(max_size=9), st.integers(0, 2**32 - 1)),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=8))
@example([b'RLT2', b'\x00' * 8])
def test_any_bytes_are_a_journal_of_the_whole_records_in_them(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / 'any'
    path.write_bytes(b''.join(pieces))
    try:
        made = Journal(path)
    except UserError:  # something else, which is not to be destroyed
        assert not list(journal.records(path)) and not journal.MAGIC.startswith(b''.join(pieces)[:4])
        assert path.read_bytes() == b''.join(pieces)
        return
    size = path.stat().st_size
    assert size + made.cut == len(b''.join(pieces))
    sizes = [end - start for start, end, _ in journal.records(path)]
    assert sum(sizes) + made.damaged == size
    made.append(episode(9, 9), 'test')
    made.close()
    *before, last = made.read()
    assert_is(last, 9)
    for record in before:
        assert_is(record, 1)


@pytest.mark.parametrize('content', [b'RLT1' + bytes(500), b'{"episode": 1}', bytes(500)])
def test_a_file_that_is_no_journal_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'other'
    path.write_bytes(content)
    with pytest.raises(UserError, match='other is no journal of this version'):
        Journal(path)
    assert path.read_bytes() == content


def child(code: str, *arguments: object) -> subprocess.Popen:
    """A process that can import this file."""
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, '-c', code, *map(str, arguments)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': paths},
    )  # fmt: skip


FULL = """
import resource, signal, sys
from pathlib import Path
from test_journal import Journal, episode
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as on a full disk: the write ends early, the next one fails
for path, room in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    made = Journal(Path(path))
    size = made.path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))
    try:
        made.append(episode(7, 2, 3), 'test')
    except OSError as error:
        print(error.errno, made.path.stat().st_size - size)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    made.append(episode(8, 4), 'test')  # somebody made room
"""


@pytest.mark.fault('disk-full', 'whole records are left, the error is told')
def test_a_full_disk_leaves_whole_records_and_says_so(tmp_path: Path) -> None:
    record = len(journal.encode(Record(transition(2), 7, 'online', 'success', 'test')))
    rooms = {tmp_path / f'room for {room}': room for room in (0, 1, 100, record, record + 5)}
    for path in rooms:
        written(path, 2).close()
    process = child(FULL, *(argument for item in rooms.items() for argument in item))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and output.split() == [str(errno.EFBIG), '0'] * len(rooms), output
    for path in rooms:
        made = Journal(path)
        assert ticks(made) == [0, 1, 4] and made.cut == made.damaged == 0


def test_what_cannot_be_synced_is_refused_and_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = written(tmp_path / 'journal', 2)

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, 'Input/output error')

    with monkeypatch.context() as patch, pytest.raises(OSError, match='Input/output'):
        patch.setattr(os, 'fsync', broken)
        made.append(episode(7, 2, 3), 'test')
    made.append(episode(8, 4), 'test')
    assert ticks(made) == [0, 1, 4]


WRITES = """
import sys
from pathlib import Path
from test_journal import Journal, episode
made = Journal(Path(sys.argv[1]))
number = 0
while True:
    made.append(episode(number, number, number + 1), 'test')
    number += 2
    print(number, flush=True)
"""


@pytest.mark.fault('journal', 'all that was synced is there after SIGKILL')
def test_all_that_was_synced_is_there_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / 'journal'
    synced = 0
    process = child(WRITES, path)
    try:
        synced = [int(process.stdout.readline()) for _ in range(20)][-1]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    back = list(Journal(path).read())
    assert len(back) >= synced
    for number, record in enumerate(back):
        assert_is(record, number)
