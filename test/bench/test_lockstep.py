"""Whole episodes in lock-step: simulator, VLA, token, executor, builder and learner together."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_weights
import torch

from rlt_ros.bench.lockstep import LockStep, Result, throughput
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.control.chunks import ACTOR, HOLD, VLA
from rlt_ros.errors import UserError
from rlt_ros.rl.learner import Learner
from rlt_ros.token.backend import TokenBackend
from rlt_ros.vla.builtin import BuiltinBackend

torch.set_num_threads(1)
ROBOT = load(RobotProfile, 'single_arm')
TASK = load(Task, 'ethernet').model_copy(update={'time_limit': 0.8})
METHOD = Method(
    name='test', chunk=4, delay=2, reference_horizon=20, hidden=16, batch=8, first_updates=5, warmup_episodes=1
)
TICKS = 40


@pytest.fixture(scope='module')
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LockStep]:
    folder = tmp_path_factory.mktemp('weights')
    vla_hash = tiny_weights.save_vla(folder / 'vla', ROBOT)
    tiny_weights.save_token(folder / 'token', ROBOT, vla_hash)

    def made(seed: int = 0, method: Method = METHOD) -> LockStep:
        vla = BuiltinBackend(folder / 'vla', ROBOT)
        return LockStep(ROBOT, TASK, method, vla, TokenBackend(folder / 'token', vla.hash), seed)

    return made


def run(runner: LockStep) -> tuple[Learner, list[Result]]:
    """Evaluation, warm-up, learning, then an episode with the actor."""
    learner = runner.learner(0)
    results = [runner.episode('evaluation'), runner.episode('warmup', learner)]
    learner.begin()
    while learner.budget > 0:
        learner.update()
    runner.use(learner)
    results.append(runner.episode('online', learner))
    return learner, results


def test_a_run_from_evaluation_to_the_actor_repeats_for_a_seed(make: Callable[..., LockStep]) -> None:
    first, second, other = (run(make(seed)) for seed in (0, 0, 1))
    learner, results = first
    assert results == [Result(False, TICKS, r.penetration) for r in results]
    # an observation every 2 ticks; the last that bootstraps is 6 ticks (2 committed, 4 executed) before the end
    assert learner.replay.added == 2 * len(range(0, TICKS - 6 + 1, 2))
    arrays = [made[0].replay.arrays for made in (first, second, other)]
    assert all((arrays[0][name] == arrays[1][name]).all() for name in arrays[0])
    assert (arrays[0]['action'] != arrays[2]['action']).any()
    assert (learner.agent.actor.flat == second[0].agent.actor.flat).all()
    kept = slice(0, learner.replay.added)
    assert all(torch.isfinite(array[kept]).all() for array in arrays[0].values())
    assert (arrays[0]['action'][kept] != arrays[0]['reference'][kept]).any(1).all(), 'the policy explores'


@pytest.mark.parametrize('delay', [0, 2])
def test_who_drives(make: Callable[..., LockStep], delay: int) -> None:
    runner = make(method=METHOD.model_copy(update={'delay': delay}))
    sources = []
    tick = runner.executor.tick
    runner.executor.tick = lambda *arguments: sources.append(tick(*arguments)) or sources[-1]  # listens in
    runner.use(runner.learner(0))
    for mode, driver in (('evaluation', VLA), ('warmup', VLA), ('online', ACTOR)):
        sources.clear()
        runner.episode(mode, noise=False)
        assert [s.source for s in sources] == [HOLD] * delay + [driver] * (TICKS - delay)
        assert {s.policy_version for s in sources[delay:]} == {1 if driver == ACTOR else 0}


def test_the_untrained_actor_does_what_the_vla_does(make: Callable[..., LockStep]) -> None:
    tips = []
    for mode in ('evaluation', 'online'):
        runner = make(seed=4)
        runner.use(runner.learner(0))
        runner.episode(mode, noise=False)
        tips.append(runner.world.position.copy())
    np.testing.assert_allclose(tips[0], tips[1], atol=1e-6)


def test_a_saved_actor_drives_and_a_wrong_file_is_refused(make: Callable[..., LockStep], tmp_path: Path) -> None:
    runner, path = make(), tmp_path / 'actor.safetensors'
    for content in (None, b'nothing', Learner(METHOD, 3, 4).packed()):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match='holds no actor for this robot and method'):
            runner.use_saved(path)
    path.write_bytes(runner.learner(0).packed())
    runner.use_saved(path)
    assert runner.episode('online', noise=False).steps == TICKS


def test_chunks_must_end_where_the_robot_is_observed(make: Callable[..., LockStep]) -> None:
    with pytest.raises(UserError, match='chunk = 5 is not allowed with robot single_arm.*multiple of 2'):
        make(method=METHOD.model_copy(update={'chunk': 5}))


def test_throughput_is_successes_per_ten_minutes_of_robot_time() -> None:
    results = [Result(True, 100, 0.0), Result(False, 400, 0.0), Result(True, 100, 0.0)]
    assert throughput(results, rate=50.0) == pytest.approx(100.0)
    assert throughput([], 50.0) == 0
