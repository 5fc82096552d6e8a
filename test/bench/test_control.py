"""Deadline errors of the live loop: what is counted, and one short run of the whole graph."""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy

from rlt_ros.bench.bare_loop import bare_loops, pauses
from rlt_ros.bench.control import compare
from rlt_ros.monitor.histogram import Histogram
from rlt_ros.nodes import plain_timer


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


def test_late_ticks_are_counted_and_how_late_each_core_was() -> None:
    found = compare(status(0.0, [0.5], 0, 0), status(1.0, [0.5, 1e-4, 2e-3, 5e-3], 0, 1))
    assert found['late_ticks'] == 2
    one, other = [[0, 100], [1, 9_000_000], [2, 7_000_000], [4, 50]], [[1, 60], [2, 8_000_000], [3, 1]]
    late = pauses([np.array(one), np.array(other)])  # of ticks 1 and 2
    assert late == pytest.approx(np.array([[9e-3, 6e-8], [7e-3, 8e-3]]))


def test_a_loop_on_each_core_tells_what_it_waited_for(tmp_path) -> None:
    with bare_loops(200.0, tmp_path) as loops:
        time.sleep(2.0)
    assert len(loops) == len(os.sched_getaffinity(0))
    for loop in loops:
        assert len(loop) > 50 and (np.diff(loop[:, 0]) > 0).all() and (loop[:, 1] >= 0).all()


def test_a_short_run_measures_loop_timer_and_learner_and_leaves_nothing(tmp_path) -> None:
    words = ['bench', 'control', '--seconds', '5', '--json']
    done = subprocess.run([sys.executable, '-m', 'rlt_ros.cli', *words], capture_output=True, text=True, cwd=tmp_path,
                          timeout=400, env={**os.environ, 'TMPDIR': str(tmp_path)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found['seconds'] >= 5 and found['ticks'] > 200 and found['learner_updates_per_s'] > 0
    for errors in (found['deadline_error_ms'], found['rclpy_timer']):
        assert 0 < errors['p50'] <= errors['p99'] <= errors['max']
    assert len(found['core_pause_ms']) == len(os.sched_getaffinity(0))
    assert found['late_ticks'] <= found['ticks'] and (found['late_ticks'] or found['deadline_error_ms']['max'] <= 1.0)
    assert 0 < found['machine_pause_ms']['max'] <= min(core['max'] for core in found['core_pause_ms'])
    assert not list(tmp_path.iterdir())


def test_a_plain_timer_whose_process_stood_still_is_not_a_period_ahead_from_then_on(monkeypatch) -> None:
    looks = iter(range(1000))

    def monotonic_ns() -> int:
        if next(looks) == 4:  # between the timer's own look at the clock and this one
            time.sleep(0.0203)
        return time.monotonic_ns()

    rclpy.init(domain_id=91)
    try:
        node = plain_timer.PlainTimer()
        monkeypatch.setattr(plain_timer, 'time', SimpleNamespace(monotonic_ns=monotonic_ns))
        while len(node.errors) < 40:
            rclpy.spin_once(node, timeout_sec=1.0)
    finally:
        rclpy.shutdown()
    assert np.median([error for _, _, error in node.errors[10:]]) > 0
