"""Online RL in lock-step: what a run of a full task goes through."""

from pathlib import Path

import pytest

from rlt_ros.bench import learning
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.errors import UserError
from rlt_ros.report.records import read_episodes

TICKS = 20  # of the approach, and of the critical phase
METHOD = load(Method, 'rlt', hidden=16, batch=8, first_updates=5, warmup_episodes=2, evaluation_episodes=1)


def learn(folder: Path, told: list[float], **changes: float | None) -> list[dict]:
    task = load(Task, 'ethernet_full').model_copy(update={'time_limit': 0.4, **changes})
    robot = load(RobotProfile, 'bimanual')
    learning.learn(robot, task, METHOD, 0.04, 0, folder, lambda minutes, note: told.append(minutes), 1)
    return read_episodes(folder)


def test_a_full_task_is_practised_in_its_critical_phase_first(tmp_path: Path) -> None:
    """0.04 minutes: 120 ticks, the first two thirds of them with the part in the hand."""
    told: list[float] = []
    episodes = learn(tmp_path, told, handover_after=0.4)
    found = [(e['mode'], e['steps']) for e in episodes]
    whole, alone = 2 * TICKS, TICKS
    assert found == [('evaluation', whole), *[('curriculum', alone)] * 4, *[('online', whole)] * 2, ('final', whole),
                     ('stiff', whole)]  # fmt: skip
    minutes = [round(e['robot_minutes'] * 3000) for e in episodes]
    assert minutes == [0, 20, 40, 60, 80, 100, 120, 120, 120], 'the approach is nothing to learn from'
    whole_way = [40, 60, 80, 100, 120, 140, 160, 200, 240]
    assert [round(m * 3000) for m in told] == whole_way, 'the evaluation is seen to go on, before and afterwards'
    assert [e['policy_version'] for e in episodes[1:]] == sorted(e['policy_version'] for e in episodes[1:])


def test_a_vla_that_never_arrives_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, 'PATIENCE', 2)
    with pytest.raises(UserError, match='ethernet_full: the VLA did not arrive .* in 2 episodes'):
        learn(tmp_path, [], approach_limit=0.2)
    assert [e['mode'] for e in read_episodes(tmp_path)] == ['evaluation', *['curriculum'] * 4, 'online']
