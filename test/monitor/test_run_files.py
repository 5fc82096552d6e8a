"""The run folder can be read at any moment and gone on with after any crash."""

import json

from hypothesis import given
from hypothesis import strategies as st
import pytest
from tensorboardX.proto.event_pb2 import Event

from rlt_ros.monitor.run_files import RunFiles, dumps
from rlt_ros.monitor.statistics import RunStatistics

RECORD = {'episode': 1, 'mode': 'online', 'outcome': 'success', 'steps': 100, 'seconds': 2.0, 'robot_minutes': 0.03}
LEARNER = dict.fromkeys(['updates_per_s', 'critic_loss', 'q_mean', 'target_mean', 'bc_distance'], 0.5)
METRICS = {**LEARNER, 'transitions': 10, 'policy_version': 2, **RunStatistics(20_000_000, 'critical').control()}
OUTCOME = RunStatistics(20_000_000, 'critical').outcome()


def test_lines_are_appended_and_the_status_is_replaced(tmp_path):
    for number in (1, 2):
        files = RunFiles(tmp_path / 'run')
        assert len(files.episodes_before) == number - 1
        files.add_episode({**RECORD, 'episode': number})
        files.add_metrics(METRICS, OUTCOME)
        files.replace_status({'episode': number})
        files.close()
    assert files.status_before == {'episode': 1}
    lines = (tmp_path / 'run' / 'episodes.jsonl').read_text().splitlines()
    assert [json.loads(line)['episode'] for line in lines] == [1, 2]
    assert len((tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()) == 2
    assert json.loads((tmp_path / 'run' / 'status.json').read_text()) == {'episode': 2}


def test_a_line_that_a_crash_cut_off_does_not_spoil_the_next_one(tmp_path):
    (tmp_path / 'episodes.jsonl').write_text(json.dumps(RECORD) + '\n{"episode": 2, "mo')
    (tmp_path / 'status.json').write_text('{"episo')
    files = RunFiles(tmp_path)
    assert [record['episode'] for record in files.episodes_before] == [1] and files.status_before == {}
    files.add_episode({**RECORD, 'episode': 3})
    files.close()
    lines = (tmp_path / 'episodes.jsonl').read_text().splitlines()
    assert json.loads(lines[2])['episode'] == 3


def test_tensorboard_holds_the_scalars(tmp_path):
    files = RunFiles(tmp_path)
    files.add_episode(RECORD)
    files.add_metrics({**METRICS, 'ticks': 500}, OUTCOME)
    files.close()
    found = {}
    for path in (tmp_path / 'tensorboard').iterdir():
        data = path.read_bytes()
        while data:  # length 8, checksum 4, event, checksum 4
            length = int.from_bytes(data[:8], 'little')
            for value in Event.FromString(data[12 : 12 + length]).summary.value:
                found[value.tag] = value.simple_value
            data = data[16 + length :]
    assert found['episode/success'] == 1.0 and found['episode/steps'] == 100.0
    assert found['learner/q_mean'] == 0.5 and found['learner/policy_version'] == 2.0
    assert 'run/success_last_20' not in found  # there is none yet


def test_a_folder_that_is_a_file_is_an_os_error(tmp_path):
    (tmp_path / 'run').write_text('')
    with pytest.raises(OSError):
        RunFiles(tmp_path / 'run')


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(), values, max_size=5))
def test_any_content_is_one_line_of_strict_json(record):
    def refuse(constant):
        raise AssertionError(constant)

    text = dumps(record)
    assert '\n' not in text
    assert set(json.loads(text, parse_constant=refuse)) == set(record)
