"""The learner's benchmark: both contenders compute the same, and what is printed is complete."""

import json

import pytest
import torch

from rlt_ros import cli
from rlt_ros.bench import learner
from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.rl.networks import Sizes

METHOD = Method(name='test', hidden=16, batch=8, chunk=4, stride=2, critic_updates_per_actor_update=2, noise=0.1,
                bc_first=0.4, bc_ramp=20)  # fmt: skip
SIZES = Sizes(token=12, rest=6, chunk=8)


def test_ours_and_the_textbook_give_the_same_numbers() -> None:
    assert learner.difference(METHOD, SIZES) < 1e-10
    wrong = METHOD.model_copy(update={'reference_dropout': 0.0, 'layers': 3})
    assert learner.difference(wrong, SIZES) < 1e-10


def test_a_difference_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    update = learner.PlainLearner.update

    def without_dropout(self: learner.PlainLearner, batch: object) -> None:
        self.method = self.method.model_copy(update={'reference_dropout': 0.0})
        update(self, batch)

    monkeypatch.setattr(learner.PlainLearner, 'update', without_dropout)
    assert learner.difference(METHOD, SIZES) > 1e-6


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, 'PAPER', (Sizes(token=12, rest=6, chunk=20), {'hidden': 16, 'batch': 8}))
    monkeypatch.setattr(learner, 'LARGE', 20_000)
    monkeypatch.setattr(learner, 'STORED', 500)
    monkeypatch.setattr(learner, 'UPDATES_BETWEEN', 5)


@pytest.mark.usefixtures('_quick')
def test_the_methods_token_precision_is_what_is_measured_and_both_still_compute_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampled, sample = {}, learner.Replay.sample

    def seen(self: learner.Replay, size: int) -> learner.Batch:
        batch = sample(self, size)
        sampled.setdefault(self.capacity, batch.token.dtype)
        return batch

    monkeypatch.setattr(learner.Replay, 'sample', seen)
    robot, found = load(RobotProfile, 'bimanual'), {}
    for precision in ('float32', 'bfloat16'):
        sampled.clear()
        method = METHOD.model_copy(update={'token_precision': precision})
        found[precision] = learner.measure(robot, method, SIZES, 1, 0.01, lambda note: None)
        for part in ('paper_sizes', 'builtin_sizes'):
            assert found[precision][part]['largest_difference'] < 1e-10
        assert {sampled[count] for count in found[precision]['sampled_from']} == {getattr(torch, precision)}
    for name, sizes in (('mb_per_robot_minute', SIZES), ('mb_per_robot_minute_paper_sizes', learner.PAPER[0])):
        less = found['float32'][name] - found['bfloat16'][name]
        assert less == pytest.approx(25 * 60 * 2 * 2 * sizes.token / 1e6), name


@pytest.mark.usefixtures('_quick')
def test_the_command_prints_one_object(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(['bench', 'learner', '--json', '--rounds', '1', '--seconds', '0.1']) == 0
    found = json.loads(capsys.readouterr().out)
    for part in ('paper_sizes', 'builtin_sizes'):
        assert found[part]['ratio'] == pytest.approx(found[part]['ours'] / found[part]['plain'])
        assert found[part]['largest_difference'] < 1e-10
    assert found['sample_cost_ratio_1M_10k'] > 0 and found['sampled_from'] == [20_000, 10_000]
    method, robot = load(Method, 'rlt'), load(RobotProfile, 'bimanual')
    sizes = learner.builtin_sizes(robot, method)
    # 25 transitions a second: 2 states, 3 chunks, two masks, reward and discount, 4 bytes each
    width = 2 * sizes.state + 3 * sizes.chunk + 2 * method.chunk + 2
    assert found['mb_per_robot_minute'] == pytest.approx(25 * 60 * 4 * width / 1e6)
