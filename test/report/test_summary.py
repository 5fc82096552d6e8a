"""The numbers of a run are right, and a run that broke off can still be read."""

import json

import made_up_run
import pytest

from rlt_ros.report.summary import describe, minutes_to, summarise, throughput, wilson, write_summary


def episode(success, steps=100, minutes=0.0, number=1):
    return made_up_run.episode(number, 'online', success, steps, minutes)


def test_throughput_counts_the_time_of_failures():
    # 2 successes of 2 s and a failure of 6 s: 2 in 10 s.
    assert throughput([episode(True), episode(True), episode(False, 300)]) == pytest.approx(120)
    assert throughput([]) is None


def test_wilson_interval_as_in_the_book():
    low, high = wilson(8, 10)
    assert (low, high) == pytest.approx((0.490, 0.943), abs=0.001)
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == pytest.approx(1.0)
    assert wilson(0, 0) is None


def test_median_steps_are_of_successes():
    assert describe([episode(True, 60), episode(True, 80), episode(False, 450)])['median_steps'] == 70
    assert describe([episode(False)])['median_steps'] is None


def test_passing_the_vla_needs_a_whole_window_of_episodes():
    slow = [episode(True, 200, minute) for minute in range(1, 21)]
    fast = [episode(True, 50, minute) for minute in range(21, 61)]
    level = throughput(slow)
    assert minutes_to(slow + fast, level) == 20
    assert minutes_to(slow + fast, 4 * level) == 40
    assert minutes_to(slow + fast, 4.1 * level) is None
    assert minutes_to(fast[:19], level) is None
    assert minutes_to(fast, None) is None
    assert minutes_to(fast, 0.0) == 40, 'who never succeeds is passed by any success'
    assert minutes_to([e | {'outcome': 'timeout'} for e in fast], 0.0) is None


def test_who_passes_the_vla_stays_above_it():
    slow, fast = ([episode(True, steps, minute) for minute in range(1, 21)] for steps in (200, 50))
    level = 2 * throughput(slow)
    again = [e | {'robot_minutes': e['robot_minutes'] + 60} for e in fast]
    assert minutes_to(fast + slow, level) is None, 'a lucky window is not enough'
    assert minutes_to(fast + slow + again, level) == 74  # the first with 14 fast ones of 20


def test_summary_of_a_run(tmp_path):
    summary = write_summary(made_up_run.write(tmp_path / 'run'))
    assert json.loads((tmp_path / 'run' / 'summary.json').read_text()) == summary
    assert summary['vla']['episodes'] == 50 and summary['rlt']['episodes'] == 50 and summary['episodes'] == 270
    assert summary['success_rate'] == summary['rlt']['success_rate'] > summary['vla']['success_rate']
    assert 0 < summary['minutes_to_pass_vla'] <= summary['minutes_to_3x_vla'] < summary['robot_minutes']
    assert (summary['task'], summary['method'], summary['seed'], summary['config_hash']) == (
        'ethernet', 'rlt', 0, 'abc')
    assert (summary['updates'], summary['updates_per_s'], summary['ticks'], summary['missed_ticks']) == (
        9900, 80.0, 4950, 1)
    assert summary['deadline_error_ms']['p99'] == 0.8 and summary['versions'] == {'python': '3.11'}


def test_torn_and_foreign_lines_are_left_out(tmp_path):
    folder = made_up_run.write(tmp_path / 'run')
    whole = summarise(folder)
    for name in ('episodes.jsonl', 'metrics.jsonl'):
        text = (folder / name).read_text()
        (folder / name).write_bytes(b'\n[1]\n{"episode": "x"}\n\xff\xfe\n' + text.encode() + b'{"episode": 9, "mod')
    assert summarise(folder) == whole


def test_a_corrected_label_counts_once(tmp_path):
    folder = made_up_run.write(tmp_path / 'run')
    last = json.loads((folder / 'episodes.jsonl').read_text().splitlines()[-1])
    with (folder / 'episodes.jsonl').open('a') as file:
        file.write(json.dumps({**last, 'outcome': 'failure'}) + '\n')
    summary = summarise(folder)
    assert summary['episodes'] == 270 and summary['success_rate'] == pytest.approx(49 / 50)


def test_an_empty_run_has_no_numbers(tmp_path):
    summary = summarise(tmp_path)
    assert summary['episodes'] == 0 and summary['success_rate'] is None and summary['minutes_to_pass_vla'] is None
    json.dumps(summary, allow_nan=False)
