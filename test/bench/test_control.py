"""Deadline errors of the live loop: what is counted, and one short run of the whole graph."""

import json
import os
import subprocess
import sys

import pytest

from rlt_ros.bench.control import compare
from rlt_ros.monitor.histogram import Histogram


def status(time: float, errors: list[float], missed: int, updates: int) -> dict:
    """As the monitor writes it, after JSON."""
    histogram = Histogram()
    for error in errors:
        histogram.add(error)
    return json.loads(json.dumps({
        'time': time, 'ticks': len(errors), 'missed_ticks': missed, 'updates': updates,
        'deadline_histogram': histogram.counts, 'deadline_error_ms': {'max': max(errors) * 1e3},
    }))  # fmt: skip


def test_only_what_happened_between_two_looks_counts() -> None:
    before = [0.005] * 50 + [0.5]  # starting up
    first = status(100.0, before, 7, 40)
    last = status(110.0, [*before, *[1e-4] * 97, *[1e-3] * 3], 9, 540)
    found = compare(first, last)
    assert (found['seconds'], found['ticks'], found['missed_ticks'], found['learner_updates_per_s']) == (10, 100, 2, 50)
    assert found['deadline_error_ms'] == pytest.approx({'p50': 0.1, 'p99': 1.0, 'max': 1.0}, rel=0.03)


def test_a_short_run_measures_loop_timer_and_learner_and_leaves_nothing(tmp_path) -> None:
    words = ['bench', 'control', '--seconds', '5', '--json']
    done = subprocess.run([sys.executable, '-m', 'rlt_ros.cli', *words], capture_output=True, text=True, cwd=tmp_path,
                          timeout=400, env={**os.environ, 'TMPDIR': str(tmp_path)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found['seconds'] >= 5 and found['ticks'] > 200 and found['learner_updates_per_s'] > 0
    for errors in (found['deadline_error_ms'], found['rclpy_timer']):
        assert 0 < errors['p50'] <= errors['p99'] <= errors['max']
    assert not list(tmp_path.iterdir())
