"""Takeovers and stops: what counts as one, and one short session with the whole graph."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from rlt_ros.bench.takeover import STOPS, Step, Tally, first, motion, standstill
from rlt_ros.config import RobotProfile, load
from rlt_ros.control.chunks import HOLD, HUMAN, VLA

ROBOT = load(RobotProfile, 'bimanual')
DT = 0.02


def steps(*sources: int, velocities: list[float] | None = None, acting: bool = True) -> list[Step]:
    """Ticks from time 0 on; velocities of the first joint, rad/s."""
    positions = np.cumsum(np.array(velocities or [0.0] * len(sources)) * DT)
    command = lambda position: np.eye(ROBOT.action_dim)[0] * position  # noqa: E731
    return [Step(i, i * DT, 1, acting, source, command(position))
            for i, (source, position) in enumerate(zip(sources, positions, strict=True))]


def test_the_first_step_of_a_person_after_the_button_counts() -> None:
    record = steps(HUMAN, VLA, VLA, HUMAN, HUMAN)
    assert first(record, 0.01, HUMAN).tick == 3
    assert first(record, 0.09, HUMAN) is None


def test_an_attempt_whose_episode_ended_is_told_from_one_that_nobody_answered() -> None:
    tally = Tally(ROBOT)
    alive, over = steps(VLA, VLA, VLA), [*steps(VLA, VLA), *steps(HOLD, HOLD, HOLD, acting=False)[2:]]
    assert first(over, 0.01, HUMAN) is None
    tally.change('takeover', alive, 0.01, None)
    tally.change('takeover', over, 0.01, None)
    assert (tally.unanswered, tally.interrupted) == ({'takeover': 1}, 1)
    assert tally.result()['takeover_ms'] is None and tally.result()['largest_velocity']['takeover'] is None


def test_motion_is_told_as_parts_of_the_limits_and_not_across_a_gap() -> None:
    joint = ROBOT.joints[0]
    half = joint.velocity / 2
    jump = joint.acceleration * DT
    record = steps(*[HUMAN] * 6, velocities=[0, 0, jump, half, half, half])
    velocity, acceleration = motion(record, ROBOT, DT)
    assert velocity == pytest.approx(0.5) and acceleration == pytest.approx(max(1.0, (half - jump) / jump))
    torn = [step for step in record if step.tick not in (2, 3)]
    assert motion(torn, ROBOT, DT) == (0.0, 0.0)


def test_a_person_who_falls_silent_is_timed_to_the_tick_from_which_nothing_moves() -> None:
    record = steps(*[HUMAN] * 6, HOLD, velocities=[0.1, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0])
    assert standstill(record, 0.03) == pytest.approx(4 * DT - 0.03)
    assert standstill(record, 0.07) is None  # it stood already
    braking = steps(*[HUMAN] * 4, *[HOLD] * 3, velocities=[0.1] * 4 + [0.05, 0.0, 0.0])
    assert standstill(braking, 0.03) == pytest.approx(5 * DT - 0.03)  # not the first tick that holds
    assert standstill(braking[:5], 0.03) is None  # it moves still
    assert standstill(steps(*[HUMAN] * 6, VLA, velocities=[0.1] * 4 + [0.0] * 3), 0.03) is None
    assert standstill([*record[:-1], *steps(*[HOLD] * 7, acting=False)[6:]], 0.03) is None


def test_a_short_session_takes_the_robot_over_stops_it_and_leaves_nothing(tmp_path) -> None:
    words = ['bench', 'takeover', '--times', '3', '--stops', '1', '--json']
    done = subprocess.run([sys.executable, '-m', 'rlt_ros.cli', *words], capture_output=True, text=True, cwd=tmp_path,
                          timeout=400, env={**os.environ, 'TMPDIR': str(tmp_path)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for part, times in ((found['takeover_ms'], 3), *((found['stop_ms'][kind], 1) for kind in STOPS)):
        assert part['times'] == times and 0 < part['p50'] <= part['p99'] <= part['max']
    assert found['release_ms']['times'] >= 1
    for name in ('largest_velocity', 'largest_acceleration'):
        assert all(0 < part <= 1.0001 for part in found[name].values())
    assert not list(tmp_path.iterdir())
