"""The statistics of `rlt bench agreement`, and what it refuses."""

from contextlib import nullcontext
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from rlt_ros import cli, graph
from rlt_ros.bench import agreement
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.errors import UserError
from rlt_ros.run_folder import check_weights


def episodes(*steps: int, failures: int = 0) -> list[dict]:
    return [{'outcome': 'success', 'steps': s} for s in steps] + [{'outcome': 'timeout', 'steps': 450}] * failures


def test_rank_test_is_that_of_the_textbooks() -> None:
    # no ties: U = 2 of n = m = 5; normal approximation with continuity correction
    a, b = np.array([1, 2, 3, 4, 7]), np.array([5, 6, 8, 9, 10])
    assert agreement.mann_whitney(a, b) == pytest.approx(0.0367, abs=5e-4)
    assert agreement.mann_whitney(b, a) == agreement.mann_whitney(a, b)
    assert agreement.mann_whitney(a, a) == 1 and agreement.mann_whitney(a * 0, b * 0) == 1
    assert agreement.mann_whitney(a, b[:0]) is None


def test_interval_of_a_difference_is_newcombes() -> None:
    # his example: 56 of 70 and 48 of 80 differ by 0.2, 0.0524 to 0.3339
    low, high = agreement.newcombe((48, 56), (80, 70))
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=2e-4)


def test_equal_ones_agree_and_others_do_not() -> None:
    steps = range(100, 130)
    same = agreement.compare(episodes(*steps, failures=3), episodes(*steps, failures=4))
    assert same['agree'] and same['median_steps'] == [114.5, 114.5]
    slower = agreement.compare(episodes(*steps), episodes(*(s + 40 for s in steps)))
    assert not slower['agree'] and slower['median_difference_ci'][0] > 0 and slower['success_difference'] == 0
    worse = agreement.compare(episodes(*steps), episodes(*steps, failures=20))
    assert not worse['agree'] and worse['success_difference_ci'][1] < 0


def test_a_run_without_an_actor_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'config.yaml').write_text('method: {name: test}')
    assert cli.main(['bench', 'agreement', '--run', str(tmp_path)]) == 2
    assert 'holds no learned policy' in ' '.join(capsys.readouterr().err.split())


@pytest.mark.parametrize(('changes', 'told'), [
    ({}, ''), ({'cell': {'variation': 'no-pass-through'}}, 'learned without a part of RLT'),
    ({'cell': {'variation': 'no-context-dropout', 'weights': 'token.safetensors'}}, 'weights of its own'),
    ({'weights': {'RL token': 'f00'}}, 'learned with another RL token'),
    ({'robot': 'single_arm'}, 'is of robot single_arm'),
])  # fmt: skip
def test_a_run_that_learned_with_something_else_is_refused(tmp_path: Path, changes: dict, told: str) -> None:
    actor = tmp_path / 'checkpoints' / 'actor.safetensors'
    actor.parent.mkdir()
    actor.touch()
    robot = load(RobotProfile, changes.get('robot', 'bimanual'))
    weights = changes.get('weights') or check_weights(graph.nodes({}), 'bimanual')
    (tmp_path / 'config.yaml').write_text(yaml.safe_dump({
        'robot': robot.model_dump(), 'task': load(Task, 'ethernet').model_dump(),
        'method': load(Method, 'rlt').model_dump(), 'weights': weights,
    }))  # fmt: skip
    if 'cell' in changes:
        (tmp_path / 'cell.json').write_text(json.dumps(changes['cell']))
    plan = agreement.Plan(2, 0, 'bimanual', '', 'rlt', tmp_path)
    with pytest.raises(UserError, match=told) if told else nullcontext():
        agreement.check_run(plan)
