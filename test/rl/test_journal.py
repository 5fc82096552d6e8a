"""The journal survives what happens to files: killed writers, full disks, flipped bits."""

from pathlib import Path
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest

from rlt_ros.rl import journal
from rlt_ros.rl.journal import Journal
from rlt_ros.rl.replay import Replay
from rlt_ros.rl.transitions import Transition

S, A = 5, 4


def transition(number: int) -> Transition:
    random = np.random.default_rng(number)
    arrays = {name: random.standard_normal(size, dtype=np.float32) for name, size in
              (('state', S), ('reference', A), ('action', A), ('next_state', S), ('next_reference', A))}  # fmt: skip
    return Transition(
        **arrays, reward=0.1 * number, discount=0.9, steps=4, human_steps=1, policy_version=2, tick=number
    )


def written(path: Path, count: int) -> Journal:
    made = Journal(path)
    for number in range(count):
        made.append([transition(number)], episode=number // 2, mode='online')
    return made


def ticks(made: Journal) -> list[int]:
    return [t.tick for t, _, _ in made.read()]


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'transitions.rltj'
    made = Journal(path)
    made.append([transition(0), transition(1)], 4, 'warmup')
    made.append([], 5, 'warmup')
    made.close()
    made = Journal(path)
    made.append([transition(2)], 6, 'online')
    back = list(made.read())
    assert made.cut == 0 and [(e, m) for _, e, m in back] == [(4, 'warmup'), (4, 'warmup'), (6, 'online')]
    for number, (t, _, _) in enumerate(back):
        for name, value in vars(transition(number)).items():
            np.testing.assert_array_equal(getattr(t, name), value)
    replay = Replay(10, S, A)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for t, _, _ in back:
            replay.add(t)
    assert len(replay) == 3


def test_a_tail_torn_anywhere_is_cut_off_and_writing_goes_on(tmp_path: Path) -> None:
    whole = written(tmp_path / 'whole', 3).path.read_bytes()
    record = len(whole) // 3
    for length in range(2 * record, 3 * record):
        path = tmp_path / 'torn'
        path.write_bytes(whole[:length])
        made = Journal(path)
        assert made.cut == length - 2 * record
        made.append([transition(9)], 9, 'online')
        made.close()
        assert ticks(made) == [0, 1, 9]


def test_a_flipped_bit_costs_its_record_and_never_gives_a_wrong_one(tmp_path: Path) -> None:
    whole = written(tmp_path / 'whole', 2).path.read_bytes()
    record = len(whole) // 2
    for at in range(record, 2 * record):
        path = tmp_path / 'flipped'
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        made = Journal(path)
        assert ticks(made) == [0] and made.cut == record
        made.close()


def test_a_full_disk_leaves_the_journal_whole(tmp_path: Path) -> None:
    made = written(tmp_path / 'journal', 2)

    class Full:
        """The file on a disk with room for a few bytes more."""

        def __init__(self, file, room: int):
            self.file, self.room = file, room

        def write(self, data: memoryview) -> int:
            if not self.room:
                raise OSError(28, 'No space left on device')
            count = self.file.write(data[: self.room])
            self.room -= count
            return count

        def fileno(self) -> int:
            return self.file.fileno()

    file = made._file
    for room in (0, 1, 100, len(journal.encode(transition(2), 1, 'online')) + 5):
        made._file = Full(file, room)
        with pytest.raises(OSError, match='No space'):
            made.append([transition(2), transition(3)], 1, 'online')
        assert ticks(made) == [0, 1]
    made._file = file
    made.append([transition(4)], 2, 'online')
    assert ticks(made) == [0, 1, 4] and Journal(made.path).cut == 0


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_journal import Journal, transition
made = Journal(Path(sys.argv[1]))
number = 0
while True:
    made.append([transition(number), transition(number + 1)], number, 'online')
    number += 2
    print(number, flush=True)
"""


def test_all_that_was_synced_is_there_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / 'journal'
    child = subprocess.Popen(
        [sys.executable, '-c', CHILD, path, Path(__file__).parent], stdout=subprocess.PIPE, text=True
    )
    try:
        synced = [int(child.stdout.readline()) for _ in range(20)][-1]
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    back = list(Journal(path).read())
    assert len(back) >= synced
    for number, (t, _, _) in enumerate(back):
        assert t.tick == number
        np.testing.assert_array_equal(t.state, transition(number).state)
