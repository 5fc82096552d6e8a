"""What a run learned from, as read back from its journal: numbers computed by hand, damage, exports, the command."""

from collections.abc import Callable
import json
from pathlib import Path
import zlib

import cv2
import numpy as np
from pyarrow import parquet
import pytest
import yaml

from rlt_ros import cli
from rlt_ros.commands import replay as command
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.errors import UserError
from rlt_ros.report import replay, replay_export, replay_plots, replay_summary
from rlt_ros.rl import checkpoint, journal
from rlt_ros.rl.assembly import Finished
from rlt_ros.rl.journal import Journal
from rlt_ros.rl.learner import Learner, sizes_of
from rlt_ros.rl.transitions import Transition

METHOD = Method(name='test', chunk=4, delay=2, discount=0.9, stride=2, hidden=16, batch=8,
                first_updates=10)  # fmt: skip
N, C, GAMMA = METHOD.delay, METHOD.chunk, METHOD.discount
DISTANCE = 0.25
SUCCESS, FAILURE, TIMEOUT, HELPED = 1, 2, 3, 5  # numbers of the episodes


def transition(tick: int, end: int, outcome: str, human: set[int]) -> Transition:
    """What TransitionBuilder makes of an observation whose action is DISTANCE off its reference."""
    random = np.random.default_rng(tick)
    state, reference, next_state, following = (random.standard_normal(k, np.float32) for k in (5, 2 * C, 5, 2 * C))
    first, steps = tick + N, min(C, end - tick - N)
    terminated = outcome != 'timeout' and end <= first + C
    action = reference + np.float32(DISTANCE)
    action[2 * steps :] += 9.0  # was not executed
    return Transition(
        state=state, reference=reference, action=action, next_state=next_state, next_reference=following,
        reward=GAMMA ** (steps - 1) if terminated and outcome == 'success' else 0.0,
        discount=0.0 if terminated else GAMMA**C, token=3, steps=steps,
        human=np.array([t in human and t < end for t in range(first, first + C)]), terminated=terminated,
        truncated=outcome == 'timeout' and end == first + C, policy_version=tick // 10, tick=tick,
    )  # fmt: skip


def finished(
    number: int, mode: str, outcome: str, start: int, end: int, human: set[int] = frozenset(), lost: int = -1
) -> Finished:
    last = end - N - (C - 1 if outcome == 'timeout' else 0)  # a time-out leaves no partial chunk
    ticks = [tick for tick in range(start, last, METHOD.stride) if tick != lost]
    return Finished(number, mode, outcome, [transition(tick, end, outcome, human) for tick in ticks])


EPISODES = (
    finished(SUCCESS, 'warmup', 'success', 0, 12),
    finished(FAILURE, 'online', 'failure', 100, 110),
    finished(TIMEOUT, 'online', 'timeout', 200, 220),
    finished(HELPED, 'online', 'success', 300, 320, human=set(range(308, 313)), lost=306),
)
COUNTS = {SUCCESS: 5, FAILURE: 4, TIMEOUT: 8, HELPED: 8}
TRANSITIONS = [t for episode in EPISODES for t in episode.transitions]


def write(folder: Path, episodes: tuple[Finished, ...] = EPISODES) -> Path:
    """A run with a journal, and no checkpoint yet."""
    made = Journal(folder / 'journal' / 'transitions.rltj')
    for episode in episodes:
        made.append(episode, METHOD.name)
    made.close()
    robot = load(RobotProfile, 'bimanual')
    task = load(Task, 'ethernet').model_dump()
    config = {'arguments': {}, 'method': METHOD.model_dump(), 'task': task, 'robot': robot.model_dump()}
    (folder / 'config.yaml').write_text(yaml.safe_dump(config))
    return folder


def learned(folder: Path, updates: int = 3) -> Learner:
    """Learn from the transitions and write a checkpoint."""
    learner = Learner(METHOD, sizes_of(TRANSITIONS[0]))
    for episode in EPISODES:
        for t in episode.transitions:
            learner.add(t, episode.mode)
    learner.begin()
    for _ in range(updates):
        learner.update()
    checkpoint.write(folder / 'checkpoints' / 'learner.safetensors', learner)
    return learner


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write(tmp_path / 'runs' / 'a')


@pytest.fixture
def rlt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable:
    """rlt(*words) -> (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '120')

    def call(*words: str) -> tuple[int, str, str]:
        code = cli.main(['replay', 'inspect', *words])
        return code, *capsys.readouterr()

    return call


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_returns_are_discounted_from_the_first_step_of_the_action_to_the_end(run: Path) -> None:
    rows = replay.inspect(run).rows
    of = {number: rows['realised'][rows['episode'] == number] for number in COUNTS}
    # the action of observation t begins at t + 2, success comes with the last step before tick 12
    np.testing.assert_allclose(of[SUCCESS], [GAMMA**9, GAMMA**7, GAMMA**5, GAMMA**3, GAMMA])
    assert (of[FAILURE] == 0).all() and np.isnan(of[TIMEOUT]).all()
    np.testing.assert_allclose(of[HELPED][[0, -1]], [GAMMA**17, GAMMA])
    ended = rows[rows['terminated'] & (rows['reward'] > 0)]
    np.testing.assert_allclose(ended['realised'], ended['reward']), 'where an action reaches the end both are the same'


def test_the_table_of_episodes(run: Path) -> None:
    episodes = {episode.number: episode for episode in replay.inspect(run).episodes}
    assert {number: e.transitions for number, e in episodes.items()} == COUNTS
    assert [(e.mode, e.outcome) for e in episodes.values()] == [
        ('warmup', 'success'), ('online', 'failure'), ('online', 'timeout'), ('online', 'success')]  # fmt: skip
    assert [e.executed_steps for e in episodes.values()] == [12, 10, 20, 20]
    assert [e.human_steps for e in episodes.values()] == [0, 0, 0, 5], 'a tick counts once, however many chunks have it'
    assert [(e.terminated, e.truncated) for e in episodes.values()] == [
        (True, False), (True, False), (False, True), (True, False)]  # fmt: skip
    assert [e.holes for e in episodes.values()] == [0, 0, 0, 1]
    assert [e.policy_versions for e in episodes.values()] == [[0], [10], [20, 21], [30, 31]]
    assert episodes[SUCCESS].return_at_start == pytest.approx(GAMMA**9)
    assert episodes[SUCCESS].mean_return == pytest.approx(sum(GAMMA**k for k in (9, 7, 5, 3, 1)) / 5)
    assert episodes[TIMEOUT].return_at_start is None and episodes[SUCCESS].mean_q is None
    assert episodes[HELPED].robot_minutes == pytest.approx(62 / 50 / 60)


def test_the_summary(run: Path) -> None:
    found = replay.inspect(run)
    summary = replay_summary.summarise(found)
    size = (run / 'journal' / 'transitions.rltj').stat().st_size
    helped = sum(t.human.any() for t in TRANSITIONS)
    assert summary['transitions'] == 25 and summary['episodes'] == 4 and helped == 3
    assert summary['by_kind'] == {'online': 4 + 8 + 8 - helped, 'warmup': 5, 'human': helped}
    assert summary['labels'] == {'success': 2, 'failure': 1, 'timeout': 1}
    assert summary['robot_minutes'] == pytest.approx(62 / 50 / 60) and summary['bytes'] == size
    assert summary['megabytes_per_robot_minute'] == pytest.approx(size / 1e6 / (62 / 50 / 60))
    assert summary['partial_chunks'] == pytest.approx(3 / 25), 'the last one of each episode that ended'
    assert summary['bytes_left_out'] == {'damaged': 0, 'torn': 0}
    np.testing.assert_allclose(found.rows['distance'], DISTANCE, rtol=1e-5)
    assert summary['updates'] is None and any('no checkpoint yet' in line for line in summary['remarks'])


def test_q_is_that_of_the_newest_checkpoint(run: Path) -> None:
    learner = learned(run)
    found = replay.inspect(run)
    np.testing.assert_allclose(found.rows['q'], learner.predicted(TRANSITIONS), rtol=1e-6)
    assert found.updates == 3 and found.note == ''
    q = replay_summary.summarise(found)['q']
    ended = np.isfinite(found.rows['realised'])
    difference = found.rows['q'] - found.rows['realised']
    assert q['transitions'] == 5 + 4 + 8 and q['gap'] == pytest.approx(difference[ended].mean())
    assert q['newest']['transitions'] == 4 + 8, 'not those of the warm-up'


def test_a_damaged_checkpoint_is_said_and_the_one_before_is_read(run: Path) -> None:
    learned(run, 1)
    learned(run, 4)
    path = run / 'checkpoints' / 'learner.safetensors'
    path.write_bytes(path.read_bytes()[:-1])
    found = replay.inspect(run)
    assert found.updates == 1 and 'is damaged' in found.note
    checkpoint.previous(path).unlink()
    found = replay.inspect(run)
    assert found.updates is None and np.isnan(found.rows['q']).all()
    assert any('Q is not shown' in line and 'is damaged' in line for line in replay_summary.summarise(found)['remarks'])


@pytest.mark.parametrize(('predicted', 'newest', 'said'), [
    (lambda r: r, None, ''),
    (lambda r: r + 0.09, None, ''),
    (lambda r: r + 0.2, None, 'Q is 0.20 above the realised return on average (allowed: 0.1): the critic'),
    (lambda r: 1 - r, None, 'the correlation of Q and realised return is -1.00 (at least: 0.8): the critic'),
    (lambda r: 0 * r + 0.9, None, 'Q is 0.46 above'),
    (lambda r: r + 0.2, lambda r: r, 'the policy has outgrown the older ones'),
])  # fmt: skip
def test_values_that_are_not_to_be_believed_are_warned_of(predicted, newest, said: str) -> None:
    rows = np.zeros(5, replay.row_type(C))
    rows['realised'] = [0.0, 0.2, 0.4, 0.6, 1.0]
    rows['q'] = predicted(rows['realised'])
    late = rows.copy()
    late['q'] = (newest or predicted)(rows['realised'])
    text = replay_summary.warning(replay_summary.agreement(rows), replay_summary.agreement(late))
    assert said in text and bool(said) == bool(text)


def test_what_is_no_whole_record_is_left_out_and_counted_and_stays(run: Path) -> None:
    path = run / 'journal' / 'transitions.rltj'
    whole = path.read_bytes()
    (_, begin, _), (_, after, _) = list(journal.records(path))[:2]
    damaged = bytearray(whole)
    damaged[begin + 40] ^= 0xFF
    damaged[3] ^= 0xFF
    path.write_bytes(damaged + whole[:77])
    found = replay.inspect(run)
    assert (found.damaged, found.torn) == (after, 77) and len(found.rows) == 23
    assert found.episodes[0].transitions == 3
    assert path.read_bytes() == damaged + whole[:77]
    remarks = replay_summary.summarise(found)['remarks']
    assert any(f'{after + 77} of {len(whole) + 77} bytes are left out' in line for line in remarks)


def test_labels_that_do_not_fit_are_doubted(run: Path) -> None:
    path = run / 'journal' / 'transitions.rltj'
    path.unlink()
    cut = EPISODES[0].transitions[:3]  # none of them reaches the end
    write(run, (Finished(SUCCESS, 'warmup', 'success', cut), EPISODES[1]))
    line = {'episode': FAILURE, 'mode': 'online', 'outcome': 'success', 'steps': 10, 'seconds': 0.2, 'robot_minutes': 0}
    (run / 'episodes.jsonl').write_text(json.dumps(line) + '\n')
    found = replay.inspect(run)
    assert [replay_summary.doubts(episode) for episode in found.episodes] == [
        ['success is in no transition'], ['label is success by now']]  # fmt: skip
    assert found.episodes[0].return_at_start is None
    assert any('2 of 2 episodes' in text for text in replay_summary.summarise(found)['remarks'])


def test_exports_hold_every_field(run: Path, tmp_path: Path) -> None:
    found = replay.inspect(run)
    made = Journal(run / 'journal' / 'transitions.rltj')
    made.append(finished(9, 'online', 'success', 400, 412), METHOD.name)  # the run goes on: not part of what was shown
    made.close()
    done: list[float] = []
    for name in ('all.npz', 'all.parquet'):
        replay_export.export(found, tmp_path / name, done.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['all.npz', 'all.parquet', 'runs'] and done[-1] == 1.0
    with np.load(tmp_path / 'all.npz', allow_pickle=False) as file:
        columns = dict(file)
    modes, outcomes = columns.pop('modes'), columns.pop('outcomes')
    assert modes[columns['mode']].tolist()[:6] == ['warmup'] * 5 + ['online'] and columns['mode'].dtype == np.int8
    assert outcomes[columns['outcome']].tolist()[4:6] == ['success', 'failure']
    assert columns['episode'].tolist() == [number for number, count in COUNTS.items() for _ in range(count)]
    for name in vars(TRANSITIONS[0]):
        np.testing.assert_array_equal(columns[name], [getattr(t, name) for t in TRANSITIONS])
    table = parquet.read_table(tmp_path / 'all.parquet')
    assert table.column_names == list(columns) and json.loads(table.schema.metadata[b'modes']) == modes.tolist()
    for name, values in columns.items():
        np.testing.assert_array_equal(np.array(table[name].to_pylist()), values)


def test_a_failed_export_leaves_what_was_there(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, path = replay.inspect(run), tmp_path / 'all.npz'
    path.write_bytes(b'before')

    def full(descriptor: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(UserError, match='all.npz" cannot be written: No space left on device'):
        replay_export.export(found, path)
    assert path.read_bytes() == b'before' and sorted(p.name for p in tmp_path.iterdir()) == ['all.npz', 'runs']


def test_the_command_shows_draws_and_changes_nothing(rlt: Callable, run: Path) -> None:
    learned(run)
    before = content(run)
    code, out, _ = rlt('a', '--export', 'all.parquet')
    assert code == 0 and 'return' in out and 'warmup success terminated' in out and '1 missing' in out
    pictures = ('labels.png', 'distance.png', 'q_along_episode.png', 'calibration.png')
    for name in pictures:
        picture = cv2.imread(str(run / 'plots' / 'replay' / name))
        assert min(picture.shape[:2]) > 600 and picture.std() > 5
        assert f'runs/a/plots/replay/{name}' in out
    assert Path('all.parquet').is_file() and 'all.parquet' in out
    after = content(run)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {f'plots/replay/{name}' for name in pictures}


def test_without_a_checkpoint_all_but_q_is_shown(rlt: Callable, run: Path) -> None:
    code, out, _ = rlt('a', '--out', 'pictures')
    assert code == 0 and 'Q is not shown: there is no checkpoint yet' in out
    assert sorted(path.name for path in Path('pictures').iterdir()) == ['distance.png', 'labels.png']
    assert not (run / 'plots').exists()


def test_one_episode(rlt: Callable, run: Path) -> None:
    learned(run)
    code, out, _ = rlt('a', '--episode', str(HELPED), '--json')
    assert code == 0 and [episode['number'] for episode in json.loads(out)['episodes']] == [HELPED]
    code, _, err = rlt('a', '--episode', '4')
    assert code == 2 and 'no transitions of episode 4' in err and '4 episodes from 1 to 5' in err


def test_json_is_one_object_also_with_an_export_of_a_long_journal(
    rlt: Callable, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, 'LONG', 1)
    code, out, err = rlt('a', '--json', '--export', 'all.npz')
    shown = json.loads(out)
    assert code == 0 and shown['summary']['transitions'] == 25 and shown['episodes'][0]['doubts'] == []
    assert Path('all.npz').is_file() and not (run / 'plots').exists() and 'exporting' in err


def test_the_last_online_episodes_are_shown_closely(run: Path) -> None:
    assert [e.number for e in replay_plots.newest(replay.inspect(run))] == [FAILURE, TIMEOUT, HELPED]
    (run / 'journal' / 'transitions.rltj').unlink()
    write(run, EPISODES[:1])
    found = replay.inspect(run)
    assert [e.number for e in replay_plots.newest(found)] == [SUCCESS]


@pytest.mark.parametrize(('words', 'said'), [
    (('b',), '"b" is no run folder'),
    (('a', '--export', 'all.csv'), 'export file "all.csv" is not allowed: its name must end in .npz or .parquet'),
    (('a', '--export', 'gone/all.npz'), 'there is no folder gone'),
    (('a', '--export', 'folder.npz'), 'export file "folder.npz" cannot be written'),
    (('a', '--out', 'file/plots'), 'plots cannot be written to file/plots'),
])  # fmt: skip
def test_what_cannot_work_is_one_line(rlt: Callable, run: Path, words: tuple[str, ...], said: str) -> None:
    Path('file').write_text('')
    Path('folder.npz').mkdir()
    code, _, err = rlt(*words)
    assert code == 2 and said in err and err.count('\n') == 1


def older(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(journal.MAGIC, b'RLTJ'))


def of_another_version(path: Path) -> None:
    data = path.read_bytes().replace(b'success', b'triumph')
    magic, length, _ = journal.HEADER.unpack_from(data)
    payload = data[journal.HEADER.size : journal.HEADER.size + length]
    path.write_bytes(journal.HEADER.pack(magic, length, zlib.crc32(payload)) + payload)


@pytest.mark.parametrize(('change', 'said'), [
    (Path.unlink, 'only live runs (rlt demo, rlt up) keep one'),
    (lambda path: path.write_bytes(b''), 'holds no transition yet'),
    (lambda path: path.write_bytes(b'nonsense' * 9), 'all its 72 bytes are damaged'),
    (older, 'is of version "RLTJ"; this rlt reads "RLT2"'),
    (of_another_version, "records of another version of rlt (mode 'warmup', outcome 'triumph'; allowed: "),
])  # fmt: skip
def test_a_journal_that_cannot_be_read_is_one_line(rlt: Callable, run: Path, change: Callable, said: str) -> None:
    change(run / 'journal' / 'transitions.rltj')
    code, out, err = rlt('a')
    assert code == 2 and said in err and err.count('\n') == 1 and not out
