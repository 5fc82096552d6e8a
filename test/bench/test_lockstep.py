"""Whole episodes in lock-step: simulator, VLA, token, executor, builder and learner together."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_weights
import torch

from rlt_ros.bench.lockstep import LONGEST, LockStep, Result, throughput
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.control.chunks import ACTOR, HOLD, VLA
from rlt_ros.errors import UserError
from rlt_ros.rl.learner import Learner
from rlt_ros.rl.networks import Sizes
from rlt_ros.token.backend import TokenBackend
from rlt_ros.vla.builtin import BuiltinBackend

torch.set_num_threads(1)
ROBOT = load(RobotProfile, 'single_arm')
TASK = load(Task, 'ethernet').model_copy(update={'time_limit': 0.8})
METHOD = Method(
    name='test', chunk=4, delay=2, hidden=16, batch=8, first_updates=5, warmup_episodes=1
)
TICKS = 40


@pytest.fixture(scope='module')
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LockStep]:
    folder = tmp_path_factory.mktemp('weights')
    vla_hash = tiny_weights.save_vla(folder / 'vla', ROBOT)
    tiny_weights.save_token(folder / 'token', ROBOT, vla_hash)

    def made(seed: int = 0, method: Method = METHOD, task: Task = TASK) -> LockStep:
        vla = BuiltinBackend(folder / 'vla', ROBOT, proprioception=task.proprioception)
        return LockStep(ROBOT, task, method, vla, TokenBackend(folder / 'token', vla.hash, vla.unit.hash), seed)

    return made


def run(runner: LockStep) -> tuple[Learner, list[Result]]:
    """Evaluation, warm-up, learning, then an episode with the actor."""
    learner = runner.learner(0)
    results = [runner.episode('evaluation'), runner.episode('warmup', every=True)]
    for transition in results[-1].transitions:
        learner.add(transition, 'warmup')
    learner.begin()
    while learner.budget > 0:
        learner.update()
    runner.use(learner)
    results.append(runner.episode('online', every=True))
    for transition in results[-1].transitions:
        learner.add(transition, 'online')
    return learner, results


def test_the_task_scales_how_much_the_policy_explores(make: Callable[..., LockStep]) -> None:
    def first_action(factor: float) -> np.ndarray:
        runner = make(task=TASK.model_copy(update={'noise_factor': factor}))
        return runner.episode('warmup', every=True).transitions[0].action

    quiet, half, whole = (first_action(factor) for factor in (0.0, 0.5, 1.0))
    free = np.isclose(whole - quiet, 2 * (half - quiet), atol=1e-6) & (whole != quiet)
    assert free.mean() > 0.8, 'all but what a joint limit stops'


def test_a_run_from_evaluation_to_the_actor_repeats_for_a_seed(make: Callable[..., LockStep]) -> None:
    first, second, other = (run(make(seed)) for seed in (0, 0, 1))
    learner, results = first
    assert results == [Result(False, TICKS, r.penetration, TICKS) for r in results]
    # an observation every 2 ticks; the last that bootstraps is 6 ticks (2 committed, 4 executed) before the end
    assert learner.replay.added == 2 * len(range(0, TICKS - 6 + 1, 2))
    arrays = [(made[0].replay.numbers, made[0].replay.tokens) for made in (first, second, other)]
    assert all((one == same).all() for one, same in zip(arrays[0], arrays[1], strict=True))
    assert all((one != another).any() for one, another in zip(arrays[0], arrays[2], strict=True))
    for name, value in learner.agent.tensors().items():
        assert (value == second[0].agent.tensors()[name]).all(), name
    assert all(torch.isfinite(array[: learner.replay.added]).all() for array in arrays[0])
    stored = [t for result in results[1:] for t in result.transitions]
    assert [len(result.transitions) for result in results] == [9, 18, 18], 'of an evaluation only the decisions'
    assert all((t.action != t.reference).any() for t in stored), 'the policy explores'
    assert [t.truncated for t in results[1].transitions] == [False] * 17 + [True]
    assert {t.policy_version for t in results[1].transitions} == {0}
    assert {t.policy_version for t in results[2].transitions} == {1}


def test_of_a_full_task_the_critical_phase_alone_is_stored(make: Callable[..., LockStep]) -> None:
    """This VLA fetches nothing: after 0.6 s of approach time hands over."""
    full = load(Task, 'ethernet_full').model_copy(update={'time_limit': 0.8, 'handover_after': 0.6})
    result = make(task=full).episode('warmup', every=True)
    assert not result.success and result.steps == 30 + TICKS
    ticks = [t.tick for t in result.transitions]
    assert ticks == list(range(30, 30 + TICKS - 6 + 1, 2))
    assert result.learned == TICKS
    runner = make(task=full, method=METHOD.model_copy(update={'store_approach': True}))
    looks, see = [], runner.see
    runner.see = lambda some: looks.extend(some) or see(some)
    both = runner.episode('warmup', every=True)
    assert both.learned == 30 + TICKS
    assert [t.tick for t in both.transitions] == list(range(0, 30 + TICKS - 6 + 1, 2))
    assert all(look.approaching == (look.number - LONGEST < 30) for look in looks)


def test_a_stride_beyond_the_robots_own_loses_nothing_wherever_the_critical_phase_begins(make) -> None:
    method = METHOD.model_copy(update={'stride': 10, 'chunk': 10})
    for begin, ticks in ((30, [30, 40, 50]), (33, [41, 51, 61])):
        full = load(Task, 'ethernet_full').model_copy(update={'time_limit': 0.8, 'handover_after': begin * 0.02})
        result = make(task=full, method=method).episode('warmup', every=True)
        assert [t.tick for t in result.transitions] == ticks


def test_an_approach_that_does_not_arrive_ends_and_nothing_is_learned_from_it(make: Callable[..., LockStep]) -> None:
    lost = load(Task, 'ethernet_full').model_copy(update={'handover_after': None, 'approach_limit': 0.6})
    result = make(task=lost).episode('warmup', every=True)
    assert result == Result(False, 30, result.penetration, 0) and not result.transitions
    both = make(task=lost, method=METHOD.model_copy(update={'store_approach': True})).episode('warmup', every=True)
    assert both.learned == 30 and both.transitions[-1].truncated


def test_a_task_says_what_the_policy_feels_of_the_robot(make: Callable[..., LockStep]) -> None:
    arms, d = 1, ROBOT.action_dim
    for name, size in (('ethernet', 19 * arms), ('screw', 3 * d)):
        runner = make(task=load(Task, name).model_copy(update={'time_limit': 0.4}))
        assert runner.sizes.rest == size + METHOD.delay * d
        assert len(runner.episode('warmup', every=True).transitions[0].state) == runner.sizes.state


def test_a_longer_stride_stores_fewer_of_the_same_and_decisions_stay(make: Callable[..., LockStep]) -> None:
    every, fewer = (make(method=METHOD.model_copy(update={'stride': stride})) for stride in (2, 4))
    whole, some = (runner.episode('warmup', every=True).transitions for runner in (every, fewer))
    assert [t.tick for t in whole] == list(range(0, 36, 2)) and [t.tick for t in some] == list(range(0, 36, 4))
    for one, other in zip(whole[::2], some, strict=True):
        for name, value in (vars(one) | {'truncated': one is whole[-2]}).items():  # the last of each says so
            np.testing.assert_allclose(getattr(other, name), value, rtol=1e-4, atol=2e-3, err_msg=name)
    decisions = make().episode('warmup').transitions
    assert [t.tick for t in decisions] == list(range(0, 36, 4)), 'without learning those of the decisions alone'


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
    for content in (None, b'nothing', Learner(METHOD, Sizes(2, 1, 4), 0).packed()):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match='holds no actor for this robot and method'):
            runner.use_saved(path)
    path.write_bytes(runner.learner(0).packed())
    runner.use_saved(path)
    assert runner.episode('online', noise=False).steps == TICKS


def test_chunks_must_end_where_the_robot_is_observed(make: Callable[..., LockStep]) -> None:
    with pytest.raises(UserError, match='chunk = 5 is not allowed with stride 2.*multiple of 2'):
        make(method=METHOD.model_copy(update={'chunk': 5}))
    with pytest.raises(UserError, match='chunk = 6 is not allowed with stride 4.*multiple of 4'):
        make(method=METHOD.model_copy(update={'chunk': 6, 'stride': 4}))
    with pytest.raises(UserError, match='stride = 3 is not allowed with robot single_arm.*multiple of 2'):
        make(method=METHOD.model_copy(update={'stride': 3}))


def test_a_method_that_needs_longer_chunks_than_the_vla_gives_is_refused(make: Callable[..., LockStep]) -> None:
    with pytest.raises(UserError, match='have 20 steps, method test needs 22 of them: delay 2 . chunk 20'):
        make(method=METHOD.model_copy(update={'chunk': 20}))


def test_throughput_is_successes_per_ten_minutes_of_robot_time() -> None:
    results = [Result(True, 100, 0.0), Result(False, 400, 0.0), Result(True, 100, 0.0)]
    assert throughput(results, rate=50.0) == pytest.approx(100.0)
    assert throughput([], 50.0) == 0
