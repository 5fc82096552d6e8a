"""What the token learns from: Eq. 2 to the letter, hindsight from proprioception alone, and a VLA it cannot reach."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_weights
import torch
from torch import nn

from rlt_ros.config import RobotProfile, load
from rlt_ros.control.kinematics import Kinematics, home
from rlt_ros.data.dataset import Episode
from rlt_ros.token.model import RlToken, TokenSizes
from rlt_ros.token.train import TokenTraining, losses, objective, prefixes, standardise, train
from rlt_ros.token.tuning import Tuning
from rlt_ros.vla.examples import Examples, from_episode
from rlt_ros.vla.language import tokenize
from rlt_ros.vla.proprioception import Proprioception
from rlt_ros.vla.trunk import GOAL_SIZE

torch.set_num_threads(1)
ROBOT = load(RobotProfile, 'single_arm')
M, WIDTH = 4, 16
SIZES = TokenSizes(M, WIDTH, token_dim=8, heads=2, layers=2)
COARSE = {'rtol': 0.05, 'atol': 0.02}  # the losses are computed in bfloat16


def made_up_model() -> RlToken:
    torch.manual_seed(0)
    model = RlToken(SIZES, GOAL_SIZE)
    model.centre.copy_(torch.randn(M, WIDTH))
    model.spread.fill_(2.0)
    return model


@torch.no_grad()
def test_reconstruction_is_equation_2() -> None:
    """Against one token at a time, each from the token and what is before it alone."""
    model, prefix = made_up_model().double(), torch.randn(2, M, WIDTH).double()
    decoder, missed = model.decoder, 0.0
    for b in range(2):
        z_bar = [(prefix[b, i] - model.centre[i]) / model.spread for i in range(M)]
        z_rl = model.encoder(torch.stack(z_bar)[None])
        for i in range(M):
            before = [decoder.token(z_rl)[0], *z_bar[:i]]
            x = torch.stack([one + decoder.place[k] for k, one in enumerate(before)])[None]
            for block in decoder.blocks:
                x = block(x, causal=True)
            missed += (decoder.head(x)[0, i] - z_bar[i]).square().sum()
    rebuilt, _ = losses(model.float(), prefix.float(), torch.zeros(2, GOAL_SIZE), 0.0)
    torch.testing.assert_close(rebuilt.double(), missed / (2 * M * WIDTH), rtol=0.01, atol=0)


@torch.no_grad()
def test_context_dropout_hides_the_context_and_not_the_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prefix, seen = made_up_model(), 5 * torch.randn(64, M, WIDTH), []

    def blank(z: torch.Tensor, context: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
        seen.append((context, dropped))
        return torch.zeros_like(context)

    monkeypatch.setattr(model.decoder, 'forward', blank)
    whole = model.scaled(prefix).square().mean()
    for share in (0.0, 0.5, 1.0):
        rebuilt, _ = losses(model, prefix, torch.zeros(64, GOAL_SIZE), share)
        context, dropped = seen.pop()
        torch.testing.assert_close(rebuilt, whole, **COARSE)
        assert dropped.float().mean() == pytest.approx(share, abs=0.1)
        torch.testing.assert_close(context, model.scaled(prefix))


def test_hindsight_targets_come_from_proprioception_alone() -> None:
    """Pictures, actions and the simulator's truth do not change them; the robot's own poses do."""
    random, t = np.random.default_rng(0), 5
    kinematics = Kinematics(ROBOT)
    feel = Proprioception(kinematics, home(ROBOT))
    position = home(ROBOT) + random.normal(0, 1e-2, (t, ROBOT.action_dim))
    still = Episode(
        images=np.zeros((t, 1, 96, 96, 3), np.uint8), position=position, velocity=np.zeros_like(position),
        command=position, action=np.zeros((t, 2, ROBOT.action_dim)), tip_in_socket=np.zeros((t, 3)),
        critical=np.ones(t, bool), straying=np.zeros(t, bool), instruction='plug it in', success=True,
    )  # fmt: skip
    goal = from_episode(still, kinematics, feel, 4)[3]
    others = {
        'images': np.full_like(still.images, 255), 'action': still.action + 1, 'tip_in_socket': still.tip_in_socket + 1,
        'command': position + 1, 'velocity': still.velocity + 1, 'instruction': 'pull it out',
    }  # fmt: skip
    np.testing.assert_array_equal(from_episode(replace(still, **others), kinematics, feel, 4)[3], goal)
    assert np.abs(goal[:-1]).min() > 0
    moved = position.copy()
    moved[-1] += 0.01
    assert (from_episode(replace(still, position=moved), kinematics, feel, 4)[3][:-1] != goal[:-1]).all()


def test_hindsight_is_linear_in_the_token_and_clamped() -> None:
    model = made_up_model()
    assert isinstance(model.goal, nn.Linear)
    prefix = torch.randn(2, M, WIDTH)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        z = model.encoder(model.scaled(prefix))
    goal = model.goal(z.float()).detach() + torch.tensor([[1.0, 0.0, -2.0, 100.0]])
    _, missed = losses(model, prefix, goal, 0.9)
    assert missed.item() == pytest.approx((1 + 0 + 4 + 9) / 4, rel=1e-3)


def made_up_examples(count: int = 40) -> Examples:
    random = np.random.default_rng(0)
    size, d = ROBOT.image_size, ROBOT.action_dim
    return Examples(
        images=random.integers(0, 256, (count, 1, size, size, 3), np.uint8),
        words=np.tile(tokenize('plug it in'), (count, 1)),
        features=random.normal(0, 1, (count, 40)).astype(np.float32),
        deltas=random.normal(0, 1e-3, (count, 20, d)).astype(np.float32),
        known=np.ones((count, 20), bool),
        goal=random.normal(0, 1, (count, GOAL_SIZE)).astype(np.float32),
        tip_in_socket=np.zeros((count, 3), np.float32),
        critical=np.ones(count, bool),
        episode=np.arange(count) % 10,
        instructions=['plug it in'],
    )


def made_up_tuning() -> tuple[Tuning, torch.Tensor, Examples, RlToken]:
    examples = made_up_examples()
    vla, unit = tiny_weights.vla(ROBOT)
    prefix = prefixes(vla, unit, examples, lambda *_: None)
    torch.manual_seed(0)
    model = RlToken(TokenSizes(*prefix.shape[1:], token_dim=8, heads=2, layers=1), GOAL_SIZE)
    return Tuning(vla, unit, examples), prefix, examples, model


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    return found


def test_no_gradient_reaches_what_made_the_prefix() -> None:
    model, prefix = made_up_model(), torch.randn(3, M, WIDTH, requires_grad=True)
    rebuilt, missed = losses(model, prefix, torch.zeros(3, GOAL_SIZE), 0.5)
    (rebuilt + missed).backward()
    assert prefix.grad is None and gradients(model.encoder)


def test_the_vla_learns_by_its_own_loss_alone_in_proportion_to_alpha() -> None:
    tuning, prefix, examples, model = made_up_tuning()
    goal, rows = torch.from_numpy(examples.goal), torch.arange(6)

    def step(plan: TokenTraining) -> tuple[dict, dict]:
        torch.manual_seed(1)
        objective(model, prefix, goal, rows, plan, tuning)[0].backward()
        return gradients(tuning.vla), gradients(model)

    half, one = step(TokenTraining(alpha=0.5)), step(TokenTraining(alpha=1.0))
    assert half[0] and half[0].keys() == one[0].keys()
    for name in half[0]:
        torch.testing.assert_close(2 * half[0][name], one[0][name])
    heavy = step(TokenTraining(alpha=0.5, goal_weight=50.0))
    for name in half[0]:
        torch.testing.assert_close(heavy[0][name], half[0][name]), 'the token asks for something else, the VLA does not'
    for name in half[1]:
        torch.testing.assert_close(half[1][name], one[1][name]), 'nor does the VLA change what the token learns'
    torch.manual_seed(1)
    losses(model, tuning.prefix(rows), goal[rows], 0.9)  # the same random numbers are drawn before
    model.zero_grad()
    tuning.loss(rows).backward()
    for name, expected in gradients(tuning.vla).items():
        torch.testing.assert_close(one[0][name], expected)
    torch.manual_seed(1)
    objective(model, prefix, goal, rows, TokenTraining(), None)[0].backward()
    assert not gradients(tuning.vla), 'frozen with alpha 0'


def test_a_fine_tuned_vla_changes_sees_its_own_prefixes_and_is_frozen_afterwards() -> None:
    tuning, prefix, examples, _ = made_up_tuning()
    before = {name: value.clone() for name, value in tuning.vla.state_dict().items()}
    torch.testing.assert_close(tuning.prefix(torch.arange(5)), prefix[:5].float(), rtol=0.01, atol=0.01)
    plan = TokenTraining(steps=30, batch=8, token_dim=8, alpha=1.0)
    model, curve = train(prefix, examples, plan, lambda *_: None, tuning)
    after = tuning.vla.state_dict()
    assert any((after[name] != value).any() for name, value in before.items())
    assert not any(p.requires_grad for p in tuning.vla.parameters())
    assert curve[-1]['vla'] > 0 and curve[-1]['held_out_vla'] > 0
    rows, goal = torch.arange(5), torch.from_numpy(examples.goal)
    assert (tuning.prefix(rows) - prefix[rows].float()).abs().max() > 1e-3
    everything = replace(plan, context_dropout=1.0)
    _, parts = objective(model, prefix, goal, rows, everything, tuning)
    now, before_it = (losses(model, seen, goal[rows], 1.0)[0].item() for seen in (tuning.prefix(rows), prefix[rows]))
    assert parts['reconstruction'] == now != before_it, 'the token learns from the VLA as it is now'


def test_training_learns_and_the_token_is_standardised() -> None:
    torch.manual_seed(0)
    prefix = (torch.randn(200, 3) @ torch.randn(3, M * WIDTH) + 2.0).view(200, M, WIDTH).half()
    some = replace(made_up_examples(200), goal=np.zeros((200, GOAL_SIZE), np.float32))
    plan = TokenTraining(steps=150, batch=32, learning_rate=3e-3, token_dim=8)
    model, curve = train(prefix, some, plan, lambda *_: None)
    assert curve[-1]['step'] == 150 and curve[-1]['held_out_reconstruction'] < 1.0
    standardise(model, prefix)
    with torch.no_grad():
        z = model(prefix.float())
    assert z.abs().max() <= 5 and 0.5 < z.std(0).mean() < 1.2
