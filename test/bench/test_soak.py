"""The soak: what it would notice, and one short run of the whole graph with faults."""

from dataclasses import replace
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from rlt_ros.bench.soak import FAULTS
from rlt_ros.bench.soak_checks import (
    Life,
    LimitChecker,
    Logged,
    MissedTicks,
    TransitionChecker,
    growth,
    schedule,
    slope,
    verdict,
)
from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.control.chunks import HUMAN, VLA
from rlt_ros.rl.journal import Record
from rlt_ros.rl.transitions import Ending, Seen, Step, TransitionBuilder

PROFILE = load(RobotProfile, 'single_arm')
HOME = np.array([joint.home for joint in PROFILE.joints])
DT, D = 1 / PROFILE.control_rate, PROFILE.action_dim
FIRST = PROFILE.joints[0]


def checked(*offsets: float, phases: str = 'critical', episodes: tuple[int, ...] = ()) -> list[str]:
    """What is said of commands in which the first joint stands so far from home."""
    limits = LimitChecker(PROFILE)
    for tick, offset in enumerate(offsets):
        command = HOME.copy()
        command[0] += offset
        episode = episodes[tick] if episodes else 1
        limits.add(tick, Logged(episode, phases, VLA, 0, command))
    assert limits.wrong.count == len(limits.wrong.examples)
    return limits.wrong.examples


STEP = FIRST.acceleration * DT**2  # rad, the fastest that a joint at rest may go in its first tick
LIMIT = FIRST.velocity * DT  # rad, the fastest it may ever go in a tick
SOON = np.cumsum([*np.arange(0, LIMIT + STEP / 2, STEP), LIMIT, LIMIT])


def test_what_the_robot_can_do_is_within_limits() -> None:
    assert checked(*SOON) == []
    assert checked(0, 1, 2, phases='reset') == [], 'between episodes nothing is commanded'
    assert checked(0, 0, 0.5, 0.5, episodes=(1, 1, 2, 2)) == [], 'a new episode begins where the robot stands'


@pytest.mark.parametrize('offsets, what', [
    ((0.0, 2 * STEP), ''),
    ((0.0, 0.0, 1.01 * STEP), 'tick 2: acceleration'),
    ((*SOON, SOON[-1] + 1.01 * LIMIT), 'velocity'),
    ((*SOON, SOON[-1]), 'acceleration'),
    ((FIRST.upper - FIRST.home, FIRST.upper - FIRST.home + 1e-6), 'tick 1: position'),
    ((FIRST.upper - FIRST.home + 0.1, FIRST.upper - FIRST.home + 0.1 - STEP / 2), ''),
    ((FIRST.upper - FIRST.home + 0.3,), 'tick 0: position'),
    ((np.nan,), 'tick 0: not 7 finite numbers'),
])  # fmt: skip
def test_what_is_beyond_a_limit_is_named(offsets: tuple[float, ...], what: str) -> None:
    found = checked(*offsets)
    assert what in found[0] if what else not found


METHOD = Method(name='test', chunk=4, delay=2)
SCALE = np.full(D, 2e-3)


def stored(terminated: bool = True) -> tuple[dict[int, Logged], list[Record]]:
    """An episode as it was executed, and as the learner stores it; a person drives in the middle."""
    random = np.random.default_rng(0)
    source = lambda tick: HUMAN if 14 <= tick < 17 else VLA  # noqa: E731
    executed = {
        tick: Logged(3, 'critical', source(tick), 0, HOME + random.normal(0, 0.01, D)) for tick in range(31)
    }
    seen = {tick: Seen(np.ones(2, np.float32), np.ones(2, np.float32), np.zeros((10, D), np.float32),
                       HOME + random.normal(0, 0.01, D)) for tick in range(0, 31, 2)}  # fmt: skip
    steps = {tick: Step(e.command, e.source, e.policy_version) for tick, e in executed.items()}
    built = TransitionBuilder(METHOD, SCALE).build(seen, steps, Ending(31, terminated, terminated))
    return executed, [Record(t, 3, 'online', 'success' if terminated else 'timeout', 'test') for t in built]


def complaints(executed: dict[int, Logged], records: list[Record], outcome: str = 'success') -> list[str]:
    checker = TransitionChecker(METHOD, SCALE, executed, {3: outcome})
    for record in records:
        checker.add(record)
    assert checker.checked == len(records)
    return checker.wrong.examples


def test_what_the_learner_stores_is_what_was_executed() -> None:
    executed, records = stored()
    assert len(records) > 10 and any(r.transition.human.any() for r in records)
    assert any(r.transition.steps < METHOD.chunk for r in records), 'with padding'
    assert complaints(executed, records) == []
    assert complaints(*stored(terminated=False), 'timeout') == []


def test_what_was_not_executed_so_is_noticed() -> None:
    executed, records = stored()
    record, t = records[4], records[4].transition
    at = t.tick + METHOD.delay + 1

    def of(**changes: object) -> list[str]:
        return complaints(executed, [replace(record, transition=replace(t, **changes))])

    action = t.action.copy()
    action[D] += 0.01
    assert 'differs' in of(action=action)[0]
    assert 'differs' in of(tick=t.tick + 2)[0]
    assert 'who drove' in of(human=~t.human)[0]
    assert 'policy version' in of(policy_version=9)[0]
    assert '3 steps' in of(steps=3)[0]
    assert 'labelled' in complaints(executed, [record], 'abort')[0]
    assert 'mode' in complaints(executed, [replace(record, mode='evaluation')])[0]
    for change, why in (({'episode': 4}, 'of episode 4'), ({'phase': 'approach'}, 'phase approach')):
        assert why in complaints(executed | {at: replace(executed[at], **change)}, [record])[0]
    del executed[at]
    assert f'tick {at} was not executed' in complaints(executed, [record])[0]


def test_growth_of_memory_files_and_threads() -> None:
    hours = np.arange(0, 7200, 60)
    assert slope(hours, 1e8 * (1 + 0.1 * hours / 3600)) == pytest.approx(10 / 1.1, abs=0.1)
    assert slope(hours, [5e7] * len(hours)) == 0 and slope([0, 1], [1, 2]) is None
    assert growth([5, 5, 9, 5, 5, 5, 5, 5]) == 0, 'open for a moment'
    assert growth([5, 5, 6, 6, 7, 7, 8, 8]) == 3 and growth([1, 2]) == 0
    life = Life(1)
    for second in range(100):
        life.add(50.0 + second, 10**8 + (10**9 if second < 20 else 0), 30 + (second < 20), 9)
    assert life.describe(warm_up=20.0) == {
        'judged_seconds': 79.0, 'memory_mb': 100.0, 'memory_percent_per_hour': 0.0, 'files_grown_by': 0,
        'threads_grown_by': 0,
    }  # fmt: skip
    assert life.describe(warm_up=1000.0)['memory_percent_per_hour'] is None


def test_every_fault_comes_before_any_comes_again() -> None:
    plan = schedule(0, 3600.0, 20.0, FAULTS)
    assert len(plan) == 180 and plan == schedule(0, 3600.0, 20.0, FAULTS) != schedule(1, 3600.0, 20.0, FAULTS)
    times = [at for at, _ in plan]
    assert np.allclose(np.diff(times), 20.0) and times[-1] <= 3590
    for start in range(0, 180 - len(FAULTS), len(FAULTS)):
        assert {fault for _, fault in plan[start : start + len(FAULTS)]} == set(FAULTS)


def test_missed_ticks_are_put_down_to_the_fault_under_way() -> None:
    missed = MissedTicks()
    for tick, fault in ((5, ''), (6, ''), (8, ''), (9, 'pause'), (15, 'pause'), (16, '')):
        missed.add(tick, fault)
    assert missed.describe() == {'total': 6, 'without_fault': 1, 'by_fault': {'pause': 5}}


def test_what_counts_as_violated() -> None:
    node = {'memory_percent_per_hour': 1.0, 'judged_seconds': 3000.0, 'files_grown_by': 0, 'threads_grown_by': 0}
    fine = {'limits': {'wrong': 0}, 'transitions': {'wrong': 0}, 'not_recovered': [], 'ended': '', 'nodes': {'a': node}}
    assert verdict(fine) == []
    assert verdict(fine | {'nodes': {'a': node | {'memory_percent_per_hour': 50.0, 'judged_seconds': 60.0}}}) == []
    for name, value in (('limits', {'wrong': 1}), ('transitions', {'wrong': 1}), ('not_recovered', ['estop']),
                        ('ended', 'exit code 1'), ('nodes', {'a': node | {'memory_percent_per_hour': 50.0}}),
                        ('nodes', {'a': node | {'files_grown_by': 1}}),
                        ('nodes', {'a': node | {'threads_grown_by': 1}})):  # fmt: skip
        assert len(verdict(fine | {name: value})) == 1


@pytest.mark.fault('soak', 'within limits, nothing wrong stored, nothing leaks; `rlt bench soak` for as long as wanted')
def test_a_short_soak_finds_nothing_and_leaves_nothing(tmp_path) -> None:
    words = ['bench', 'soak', '--minutes', '0.4', '--period', '12', '--json']
    done = subprocess.run([sys.executable, '-m', 'rlt_ros.cli', *words], capture_output=True, text=True, cwd=tmp_path,
                          timeout=400, env={**os.environ, 'TMPDIR': str(tmp_path)})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found['violated'] == [] and sum(found['faults'].values()) == 2
    assert found['limits']['checked'] > 200 and len(found['nodes']) == 10
    assert not list(tmp_path.iterdir())
