"""The token's report: notices a blind token, and its intervals, labels and scores are what they say."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_weights
import torch

from rlt_ros.commands.token import probe_table
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.data.dataset import read
from rlt_ros.token import fresh, labels, probe
from rlt_ros.token.features import BODY, NAMES, TOKEN, policy_layer, spectrum
from rlt_ros.token.gaps import gaps
from rlt_ros.token.intervals import area_under_curve, interval, mean, ratio, root_mean_square
from rlt_ros.token.plots import write_plots
from rlt_ros.token.report import Seen, build
from rlt_ros.token.train import TokenTraining, standardise, train
from rlt_ros.vla.builtin import BuiltinBackend
from rlt_ros.vla.examples import Examples
from rlt_ros.vla.trunk import GOAL_SIZE

torch.set_num_threads(1)
ROBOT = load(RobotProfile, 'single_arm')
TASK = load(Task, 'ethernet').model_copy(update={'time_limit': 0.5})
M, WIDTH, D = 6, 16, 4


def made_up_examples(tip: np.ndarray, episode: np.ndarray) -> Examples:
    random, count = np.random.default_rng(0), len(tip)
    return Examples(
        images=np.zeros((count, 0)), words=np.zeros((count, 0)), features=np.zeros((count, 19), np.float32),
        deltas=(np.repeat(tip[:, None, :1], 10, 1) * np.ones(D) + random.normal(0, 1e-4, (count, 10, D))),
        goal=np.zeros((count, GOAL_SIZE), np.float32), tip_in_socket=tip.astype(np.float32), episode=episode,
        critical=np.ones(count, bool), known=np.ones((count, 10), bool), instructions=[],
    )  # fmt: skip


def made_up_scene() -> tuple[torch.Tensor, Examples]:
    """24 episodes of 20 observations; the prefix holds the offset, the depth and three numbers more."""
    random = np.random.default_rng(1)
    episode = np.repeat(np.arange(24), 20)
    tip = np.concatenate([random.normal(0, 8e-4, (480, 2)), random.uniform(0, 6e-3, (480, 1))], 1)
    inside = torch.from_numpy(np.concatenate([tip * [1e3, 1e3, 600], random.normal(0, 1, (480, 3))], 1)).float()
    torch.manual_seed(0)
    return (inside @ torch.randn(6, M * WIDTH) + 2.0).view(480, M, WIDTH).half(), made_up_examples(tip, episode)


@pytest.fixture(scope='module')
def trained() -> tuple:
    prefix, examples = made_up_scene()
    plan = TokenTraining(steps=300, batch=32, learning_rate=3e-3, token_dim=16, goal_weight=0.0)
    model, _ = train(prefix, examples, plan, lambda *_: None)
    standardise(model, prefix)
    model.requires_grad_(False)
    return model, prefix, examples


def reported(trained: tuple, token: torch.Tensor | None = None) -> dict:
    model, prefix, examples = trained
    random = torch.Generator().manual_seed(0)
    views = {name: torch.randn(len(prefix), 5, generator=random) for name in NAMES}
    views[TOKEN] = model(prefix.float()) if token is None else token
    descending = (examples.tip_in_socket[:, 2] < 3e-3).astype(int)
    aligned = np.linalg.norm(examples.tip_in_socket[:, :2], axis=1) < 1e-3
    phases, attempts = (Seen(examples, prefix, views, label) for label in (descending, aligned))
    return build(model, phases, attempts, np.full(D, 1e-3), 10)


def test_a_useful_token_passes(trained: tuple, tmp_path: Path) -> None:
    report = reported(trained)
    assert report['failures'] == [] and report['relative_error'] < 0.5
    for name in ('relative_error', 'zero_gap', 'shuffle_gap', 'offset_gain_mm'):
        low, high = report[f'{name}_ci']
        assert low < report[name] < high and high - low < 0.5 * report[name] + 0.2, name
    token, floor = (report['probes']['offset'][name]['linear']['rmse_mm'] for name in (TOKEN, BODY))
    assert max(token) < 0.4 and min(floor) > 0.6 and max(report['offset_rmse_mm']) <= 0.4
    assert report['probes']['action'][TOKEN]['mlp']['r2'] > 0.7 > 0.2 > report['probes']['action'][BODY]['linear']['r2']
    assert report['probes']['phase'][TOKEN]['mlp']['accuracy'] > 0.8 > report['probes']['phase']['chance']['accuracy']
    outcome = report['probes']['outcome']
    assert outcome[TOKEN]['mlp']['auc'] > 0.8 and outcome[BODY]['mlp']['auc'] < 0.7
    assert outcome['ceiling']['auc'] == 1.0
    assert report['spectrum']['token']['components_90'] <= report['spectrum']['token']['components_99'] <= 16
    assert report['data']['demonstrations'] == {'episodes': 24, 'observations': 480, 'scored_episodes': 8}
    assert all(path.stat().st_size > 10_000 for path in write_plots(report, tmp_path / 'new'))


def test_a_decoder_that_ignores_the_token_fails(trained: tuple) -> None:
    weight = trained[0].decoder.token.weight
    kept = weight.clone()
    weight.zero_()
    report = reported(trained)
    weight.copy_(kept)
    assert [line.split(' = ')[0] for line in report['failures']] == ['zero_gap', 'shuffle_gap'], report['failures']
    assert all('must be above 0.05' in line and '\n' not in line for line in report['failures'])
    assert abs(report['zero_gap']) < 1e-6 and abs(report['shuffle_gap']) < 1e-6


def test_a_token_that_does_not_see_the_offset_fails(trained: tuple) -> None:
    blind = torch.randn(480, 16, generator=torch.Generator().manual_seed(9))
    (failure,) = reported(trained, blind)['failures']
    assert failure.startswith('offset_gain_mm = ') and 'the token is blind' in failure


def test_where_nobody_knows_the_offset_the_token_is_not_called_blind(trained: tuple, tmp_path: Path) -> None:
    model, prefix, examples = trained
    unknown = replace(examples, tip_in_socket=np.zeros_like(examples.tip_in_socket))
    report = reported((model, prefix, unknown))
    assert report['failures'] == [] and report['probes']['offset'] == {} and 'offset_gain_mm' not in report
    (line,) = report['unknown']
    assert line.startswith('whether the token sees the offset: no row near the mouth says where the part is')
    assert reported(trained)['unknown'] == []
    assert all(path.stat().st_size > 10_000 for path in write_plots(report, tmp_path))
    table = probe_table(report['probes'])
    assert table.row_count == len(NAMES) + 1 and set(table.columns[1].cells) == {'–'}


def test_rows_of_which_nobody_knows_the_offset_are_left_out_of_its_probe() -> None:
    prefix, examples = made_up_scene()
    told = probe.offset_probe(prefix.flatten(1).float(), examples)
    both = examples.chosen(np.tile(np.arange(480), 2))
    both.tip_in_socket[480:] = 0.0
    assert probe.near(both).sum() == 480
    assert probe.offset_probe(prefix.flatten(1).float().repeat(2, 1), both) == told
    nobody = replace(examples, tip_in_socket=np.zeros_like(examples.tip_in_socket))
    assert probe.offset_probe(prefix.flatten(1).float(), nobody) == {}


def test_attempts_that_all_end_the_same_way_leave_their_probe_out(trained: tuple, tmp_path: Path) -> None:
    model, prefix, examples = trained
    views = {name: torch.randn(len(prefix), 5) for name in NAMES}
    phases, attempts = (Seen(examples, prefix, views, label) for label in (np.arange(480) % 3, np.ones(480, bool)))
    report = build(model, phases, attempts, np.full(D, 1e-3), 10)
    assert report['probes']['outcome'] == {}
    write_plots(report, tmp_path)


@torch.no_grad()
def test_gaps_are_relative_squared_errors_with_another_episodes_token(trained: tuple) -> None:
    model, prefix, examples = trained
    rows = np.array([0, 1, 2, 100, 101, 102])  # two episodes of three observations
    found = gaps(model, prefix[rows], examples.episode[rows])
    target = model.scaled(prefix[rows].float())
    z, hidden = model.encoder(target), torch.ones(6, M, dtype=torch.bool)
    own, zero, other = (
        (model.decoder(token, target, hidden) - target).square().sum() / target.square().sum()
        for token in (z, torch.zeros_like(z), z[[3, 4, 5, 0, 1, 2]])
    )
    assert found['relative_error'] == pytest.approx(own.item(), rel=1e-4)
    assert found['zero_gap'] == pytest.approx((zero - own).item(), rel=1e-3)
    assert found['shuffle_gap'] == pytest.approx((other - own).item(), rel=1e-3)
    partly = gaps(model, prefix[rows], examples.episode[rows], hidden=0.0)
    assert partly['relative_error'] != found['relative_error'], 'with context it is another question'


def test_intervals_are_over_episodes_and_hold_the_truth() -> None:
    """Mean of episodes that differ: their number counts, not that of observations."""
    held = 0
    for seed in range(40):
        level = np.random.default_rng(seed).normal(2.0, 1.0, 30)
        values, episode = np.repeat(level, 50), np.repeat(np.arange(30) * 7, 50)
        value, (low, high) = interval(mean(values), episode)
        assert value == pytest.approx(level.mean()) and low < value < high
        assert 0.4 < high - low < 1.1, 'four standard errors of 30 episodes: 0.73'
        held += low < 2.0 < high
    assert held >= 34
    assert interval(ratio(values, 2 * values), episode)[0] == pytest.approx(0.5)
    assert interval(root_mean_square(np.full(1500, 9.0)), episode)[0] == pytest.approx(3.0)


def test_area_under_the_curve_is_the_share_of_pairs_in_order() -> None:
    random = np.random.default_rng(0)
    score, positive = random.integers(0, 5, 60).astype(float), random.random(60) < 0.4
    weights = random.integers(0, 3, 60).astype(float)
    pairs = [
        (weights[i] * weights[j], 1.0 if score[i] > score[j] else 0.5 * (score[i] == score[j]))
        for i in np.flatnonzero(positive) for j in np.flatnonzero(~positive)
    ]  # fmt: skip
    expected = sum(w * won for w, won in pairs) / sum(w for w, _ in pairs)
    assert area_under_curve(score, positive)(weights) == pytest.approx(expected)
    assert np.isnan(area_under_curve(score, np.ones(60, bool))(weights))


def test_an_attempt_goes_in_from_its_last_lift_on() -> None:
    down, jam, up = np.linspace(7e-3, 0, 8), np.zeros(4), np.linspace(1e-3, 5e-3, 5)
    into = np.linspace(4e-3, -9e-3, 14)
    height = np.concatenate([down, jam, up, into, down, jam])
    tip = np.stack([0 * height, 0 * height, height], 1)
    length = len(height) - 12
    examples = made_up_examples(tip, np.repeat([0, 1], [length, 12]))
    assert not labels.goes_in(examples, 0.0095).any(), 'it is not deep enough for that'
    found = labels.goes_in(examples, 0.006)
    assert not found[:14].any() and found[15:length].all(), 'the lift ends where it is higher than ever after'
    assert not found[length:].any(), 'the second episode never gets in'
    open_ = labels.undecided(examples)
    assert open_[height == 0].all() and not open_[(height < -1e-3) | (height >= 7e-3)].any()


def test_phases_follow_the_commanded_height() -> None:
    """An approach from above, a descent, a lift: by the command, also where the hand is stuck behind it."""
    height = np.concatenate([np.linspace(0.05, 0.02, 10), np.linspace(0.02, 0.015, 11), np.linspace(0.015, 0.025, 9)])
    tip = np.stack([0 * height, 0 * height, np.where(np.arange(30) < 10, height - 0.013, 0.0)], 1)
    examples = made_up_examples(tip, np.zeros(30, int))
    examples.features[:, 2], examples.features[:, 9] = 0.018, height - 0.018
    found = labels.phases(examples, ROBOT)
    assert (found[:9] == 0).all() and (found[10:20] == 1).all() and (found[21:] == 2).all()


def test_readings_are_learned_on_one_part_and_told_for_the_other() -> None:
    x = torch.randn(600, 4, generator=torch.Generator().manual_seed(0))
    fit, check = np.arange(400), np.arange(400, 600)
    straight, bent = 5 + 3 * x[:, :1], x[:, :1].abs()
    assert ((probe.read(x, straight, fit, check)['linear'] - straight[check]).abs().mean()) < 0.3
    guesses = probe.read(x, bent, fit, check)
    linear, mlp = ((guesses[name] - bent[check]).square().mean().sqrt() for name in ('linear', 'mlp'))
    assert mlp < 0.25 < 0.5 < linear
    spoiled = bent.clone()
    spoiled[check] += 100
    torch.testing.assert_close(probe.read(x, spoiled, fit, check)['mlp'], guesses['mlp'])


def test_a_spectrum_counts_dimensions() -> None:
    flat = torch.randn(100, 3) @ torch.randn(3, 20)
    explained = spectrum(flat)
    assert len(explained) == 20 and explained[1] < 0.999 < 0.99999 < explained[2]
    np.testing.assert_allclose(spectrum(flat[:10]), spectrum(flat[:10, torch.randperm(20)]), atol=1e-5)


@torch.no_grad()
def test_the_policy_layer_is_what_the_last_step_of_the_expert_reads_its_velocity_from() -> None:
    vla, _ = tiny_weights.vla(ROBOT)
    prefix = torch.randn(3, vla.sizes.tokens, vla.sizes.width)
    hidden = policy_layer(vla, prefix)
    assert hidden.shape == (3, vla.sizes.width) and not vla.expert.head._forward_pre_hooks
    noise = torch.randn(3, vla.sizes.horizon, vla.sizes.action_dim, generator=torch.Generator().manual_seed(0))
    seen = []
    vla.expert.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    vla.sample(prefix, noise)
    torch.testing.assert_close(hidden, seen[4].mean(1))


def test_a_recorded_episode_of_the_vla_is_what_happened(tmp_path: Path) -> None:
    tiny_weights.save_vla(tmp_path / 'vla', ROBOT)
    vla = BuiltinBackend(tmp_path / 'vla', ROBOT)
    method = Method(name='test', chunk=4, delay=2)
    episode = next(fresh.rollouts(ROBOT, TASK, method, vla, 0))
    assert episode.action.shape == (13, 2, ROBOT.action_dim) and not episode.success, '25 ticks, two a row'
    # what was sent last before an observation is the last command of the row before
    np.testing.assert_array_equal(episode.command[1:], episode.action[:-1, -1])
    np.testing.assert_array_equal(episode.action[-1, 0], episode.action[-1, 1])
    assert np.abs(np.diff(episode.position, axis=0)).max() > 1e-6
    again, other = (next(fresh.rollouts(ROBOT, TASK, method, vla, seed)) for seed in (0, 1))
    np.testing.assert_array_equal(again.position, episode.position)
    assert (other.position[0] != episode.position[0]).any()


def test_an_interrupted_recording_is_no_data_set(tmp_path: Path) -> None:
    tiny_weights.save_vla(tmp_path / 'vla', ROBOT)
    vla, method = BuiltinBackend(tmp_path / 'vla', ROBOT), Method(name='test', chunk=4, delay=2)
    episode, folder = next(fresh.rollouts(ROBOT, TASK, method, vla, 0)), tmp_path / 'recorded'

    def broken() -> Iterator:
        for _ in range(21):  # one file is on disk by then
            yield episode
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fresh.record(folder, ROBOT, broken(), 30, lambda _: None)
    assert not folder.exists()
    fresh.record(folder, ROBOT, iter([episode, episode]), 2, lambda _: None)
    assert len(list(read(folder))) == 2, 'nothing is left of the first try'
