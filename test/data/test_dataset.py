"""Demonstrations on disk."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlt_ros.config import RobotProfile, load
from rlt_ros.data.dataset import EPISODES_PER_FILE, Episode, Writer, check_source, read
from rlt_ros.errors import UserError
from rlt_ros.vla.examples import load_examples

ROBOT = load(RobotProfile, 'bimanual').model_copy(update={'image_size': 32})
D, COUNT = ROBOT.action_dim, EPISODES_PER_FILE + 2


def episode(number: int) -> Episode:
    random, length = np.random.default_rng(number), 1 + number % 3
    normal = lambda *shape: random.standard_normal(shape, dtype=np.float32)  # noqa: E731
    return Episode(
        images=random.integers(0, 256, (length, 3, 32, 32, 3), np.uint8), position=normal(length, D),
        velocity=normal(length, D), command=normal(length, D), action=normal(length, 2, D),
        tip_in_socket=normal(length, 3), critical=np.arange(length) > 0,
        straying=(np.arange(length) == 1) & (number % 2 == 1),
        instruction=f'plug in number {number % 2}', success=number != 1,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    writer = Writer(tmp_path / 'set', ROBOT)
    for number in range(COUNT):
        writer.add(episode(number))
    writer.close()
    return tmp_path / 'set'


def test_everything_comes_back_bit_for_bit(folder: Path) -> None:
    back = list(read(folder))
    assert len(back) == COUNT
    for number, one in enumerate(back):
        for name, value in vars(episode(number)).items():
            np.testing.assert_array_equal(getattr(one, name), value)


def test_pictures_alone_are_thinned(folder: Path) -> None:
    for whole, some in zip(read(folder), read(folder, every=2), strict=True):
        np.testing.assert_array_equal(some.images, whole.images[::2])
        np.testing.assert_array_equal(some.action, whole.action)


def test_examples_are_every_so_manieth_row_with_all_that_followed(folder: Path) -> None:
    whole, some = (load_examples([folder], ROBOT, 4, every) for every in (1, 2))
    number = np.concatenate([np.flatnonzero(~episode(e).straying) for e in range(COUNT)])  # of rows in their episodes
    rows = np.flatnonzero(number % 2 == 0)
    assert some.critical.any() and not some.critical.all()
    for name in ('images', 'deltas', 'goal', 'critical', 'tip_in_socket', 'episode', 'features'):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[rows], err_msg=name)
    critical = load_examples([folder], ROBOT, 4, approach=False)
    np.testing.assert_array_equal(critical.images, whole.images[whole.critical])
    np.testing.assert_array_equal(critical.deltas, whole.deltas[whole.critical])


def test_layout_is_that_of_lerobot_3(folder: Path) -> None:
    info = json.loads((folder / 'meta/info.json').read_text())
    frames = sum(1 + number % 3 for number in range(COUNT))
    assert info['codebase_version'] == 'v3.0' and info['fps'] == 25
    assert (info['total_episodes'], info['total_frames']) == (COUNT, frames)
    rows = [
        row for file in (0, 1) for row in pq.read_table(folder / f'data/chunk-000/file-{file:03d}.parquet').to_pylist()
    ]
    assert [row['index'] for row in rows] == list(range(frames))
    assert set(info['features']) == set(rows[0])
    for key, feature in info['features'].items():
        if key.startswith('observation.images.'):
            continue
        if feature['names'] is None:
            assert feature['shape'] == [1] and isinstance(rows[0][key], (int, float))
        else:
            assert len(rows[0][key]) == feature['shape'][0] == len(feature['names'])
    episodes = pq.read_table(folder / 'meta/episodes/chunk-000/file-000.parquet').to_pylist()
    for one in episodes:
        own = rows[one['dataset_from_index'] : one['dataset_to_index']]
        assert {row['episode_index'] for row in own} == {one['episode_index']} and len(own) == one['length']
        assert own[-1]['next.done'] and not any(row['next.done'] for row in own[:-1])
    table = pq.read_table(folder / 'meta/tasks.parquet')
    tasks = {row['task_index']: row['task'] for row in table.to_pylist()}
    assert tasks == {0: 'plug in number 0', 1: 'plug in number 1'}
    assert json.loads(table.schema.metadata[b'pandas'])['index_columns'] == ['task'], 'LeRobot finds the text there'


def test_tasks_of_older_lerobot_are_read(folder: Path) -> None:
    path = folder / 'meta/tasks.parquet'
    table = pq.read_table(path)
    pq.write_table(table.rename_columns(['task_index', '__index_level_0__']), path)
    assert [one.instruction for one in read(folder)] == [f'plug in number {n % 2}' for n in range(COUNT)]


def test_of_an_interrupted_recording_nothing_gets_into_the_next(tmp_path: Path) -> None:
    folder, interrupted = tmp_path / 'set', Writer(tmp_path / 'set', ROBOT)
    for number in range(COUNT):  # one file is on disk by then
        interrupted.add(episode(number))
    assert not folder.exists()
    with pytest.raises(UserError, match='set.part is being recorded by another process'):
        Writer(folder, ROBOT)
    interrupted._lock.close()  # its process has ended
    writer = Writer(folder, ROBOT)
    writer.add(episode(5))
    writer.close()
    (one,) = read(folder)
    np.testing.assert_array_equal(one.position, episode(5).position)
    assert [path.name for path in tmp_path.iterdir()] == ['set']


def test_a_data_set_that_was_recorded_otherwise_is_told_apart(tmp_path: Path) -> None:
    writer = Writer(tmp_path / 'set', ROBOT, {'seed': 0, 'vla': None})
    writer.add(episode(5))
    writer.close()
    check_source(tmp_path / 'set', {'seed': 0, 'vla': None})
    with pytest.raises(UserError, match='recorded with seed 0 in place of 4, code unknown in place of abc; remove it'):
        check_source(tmp_path / 'set', {'seed': 4, 'vla': None, 'code': 'abc'})


def test_what_is_there_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / 'set').mkdir()
    (tmp_path / 'file').touch()
    for name in ('set', 'file', '.'):
        with pytest.raises(UserError, match='is there already, and holds no whole data set') as error:
            Writer(tmp_path / name, ROBOT)
        assert str(tmp_path / name) in str(error.value)
    with pytest.raises(UserError, match='file/set.*cannot be written'):
        Writer(tmp_path / 'file' / 'set', ROBOT)


def test_a_file_of_another_recording_among_the_data_is_noticed_before_any_episode_is_read(folder: Path) -> None:
    second = folder / 'data/chunk-000/file-001.parquet'
    second.with_name('file-002.parquet').write_bytes(second.read_bytes())
    with pytest.raises(UserError, match='24 episodes where meta/info.json says 22'):
        next(read(folder))


def refused(folder: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        list(read(folder))
    assert '\n' not in str(error.value) and str(folder) in str(error.value)


def test_missing_and_damaged_data_sets_are_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    refused(tmp_path / 'none', 'no data set.*rlt collect')
    with pytest.raises(UserError, match='already holds a data set'):
        Writer(folder, ROBOT)
    info, tasks = folder / 'meta/info.json', folder / 'meta/tasks.parquet'
    second = folder / 'data/chunk-000/file-001.parquet'
    cut = second.read_bytes()[:-50]
    wrong = [(info, data) for data in (b'{', b'{}', b'[]', b'\xff')]
    for file, damaged in [*wrong, *((second, data) for data in (b'', b'PAR1 and more', cut)), (tasks, b'')]:
        whole = file.read_bytes()
        file.write_bytes(damaged)
        refused(folder, 'damaged')
        file.write_bytes(whole)
    for file in (second, tasks):
        whole = file.read_bytes()
        file.unlink()
        refused(folder, 'damaged')
        file.write_bytes(whole)
    table = pq.read_table(second)
    for picture in (b'', b'no picture'):
        cells = [{'bytes': picture, 'path': None}] * len(table)
        column = table.schema.get_field_index('observation.images.base')
        field = table.schema.field(column)
        pq.write_table(table.set_column(column, field, pa.array(cells, field.type)), second)
        refused(folder, 'damaged')
