"""The losses of the paper against numbers computed another way: on paper, by automatic differentiation, one by one."""

from made_up import METHOD, SIZES, A, B, agent, batch, mixed, replay
import pytest
from reference import Reference
import torch
from torch import Tensor

from rlt_ros.config import Method
from rlt_ros.rl.actor_critic import REPORT_EVERY, ActorCritic, Batch
from rlt_ros.rl.networks import Sizes


def draws(made: ActorCritic) -> tuple[Tensor, Tensor]:
    """The kept references and the noise of the next action, as the next update (with the actor's) will draw them."""
    g = torch.Generator()
    g.set_state(made.random.get_state())
    kept = torch.rand(B, 1, generator=g) >= METHOD.reference_dropout
    return kept, torch.randn(B, A, generator=g)


def test_td_target_is_reward_plus_discounted_smaller_target_value_at_the_next_reference() -> None:
    made, b = agent(), batch()
    g = torch.Generator()
    g.set_state(made.random.get_state())
    expected = Reference(made).target(b, torch.randn(B, A, generator=g))
    assert ((0 < expected) & (expected < 1)).sum() > B / 3
    torch.testing.assert_close(made.targets(b), expected)


@pytest.mark.parametrize('make', [batch, mixed])
def test_critic_and_actor_gradients(make: type[batch]) -> None:
    made, b = agent(), make()
    reference, (kept, noise) = Reference(made), draws(made)
    assert 0 < kept.sum() < B
    reference.loss_of_actor(b, kept).backward()  # Eq. 5, with the critics as they are before their update
    actor = {f'{kind}{i}': p.grad for i, layer in enumerate(reference.actor[::2])
             for kind, p in zip('wb', layer.parameters(), strict=True)}  # fmt: skip
    made.update(b)
    first = torch.cat([made.actor.gradients[name][0] for name in ('token', 'rest', 'chunk')])
    gradients = {name: value[0] for name, value in made.actor.gradients.named.items()} | {'w0': first}
    for name, value in actor.items():
        torch.testing.assert_close(gradients[name].T.reshape(value.shape), value, rtol=1e-4, atol=1e-6)
    # the critics' target is computed with the actor as it is after its update
    after = agent()
    after.actor.weights.flat.copy_(made.actor.weights.flat)
    critics = Reference(after)
    target = critics.target(b, noise)
    sum((q - target).square().mean() for q in critics.q(torch.cat([b.token, b.rest], 1), b.action)).backward()
    for member, network in enumerate(critics.critics):
        first = torch.cat([made.critics.gradients[name][member] for name in ('token', 'rest', 'chunk')])
        for i, layer in enumerate(module for module in network if isinstance(module, torch.nn.Linear)):
            weight = made.critics.gradients[f'w{i}'][member] if i else first
            torch.testing.assert_close(weight.T, layer.weight.grad, rtol=1e-4, atol=1e-6)
            bias = made.critics.gradients[f'b{i}'][member, 0]
            torch.testing.assert_close(bias, layer.bias.grad, rtol=1e-4, atol=1e-6)


def by_hand(bc_weight: float, dropout: float, intervention: str = 'keep') -> tuple[ActorCritic, Batch]:
    """A robot of one joint, chunks of two steps, networks of two units: everything below can be followed on paper.

    The critics' first layer gives (x, -x), LayerNorm makes (h, -h) of it with h = x / sqrt(x^2 + 1e-5), ReLU leaves
    (h, 0) for positive x. With x = sqrt(1e-5) k, h is k / sqrt(k^2 + 1) and dh/dk = (k^2 + 1)^-1.5:
    k = 3/4 gives 0.6 and 0.512, k = 4/3 gives 0.8 and 0.216.
    """
    method = Method(
        name='test', chunk=2, delay=1, layers=1, batch=2, critic_updates_per_actor_update=1, noise=0.0,
        bc_weight=bc_weight, reference_dropout=dropout, target_rate=0.5, intervention=intervention,
    ).model_copy(update={'hidden': 2})  # fmt: skip
    made, unit = ActorCritic(method, Sizes(1, 1, 2)), 1e-5**0.5
    for weights in (made.actor.weights, made.critics.weights, made.target):
        weights.flat.zero_()
    made.actor.weights['b1'][0, 0] = torch.tensor([0.25, 0.5])  # mu is the reference plus this
    for weights, (first, second) in ((made.critics.weights, (1.0, 0.5)), (made.target, (0.5, 0.75))):
        weights['chunk'][:] = unit * torch.tensor([[1.0, -1.0], [1.0, -1.0]])  # k is the sum of the chunk's numbers
        weights['w1'][:, 0, 0] = torch.tensor([first, second])  # Q is this times h
    one = torch.ones(2, 1)
    return made, Batch(
        token=one, rest=one, next_token=one, next_rest=one,
        reference=torch.tensor([[0.0, 0.0], [1 / 3, 0.25]]),
        action=torch.tensor([[0.5, 0.25], [1.0, 1 / 3]]),
        reward=torch.tensor([0.0, 0.9]), discount=torch.tensor([0.81, 0.0]),
        next_reference=torch.tensor([[1 / 3, 0.25], [5.0, 5.0]]),
        executed=torch.tensor([[1.0, 1.0], [1.0, 0.0]]), human=torch.tensor([[0.0, 1.0], [0.0, 0.0]]),
    )  # fmt: skip


def test_targets_and_the_critics_loss_on_paper() -> None:
    made, b = by_hand(bc_weight=0.1, dropout=0.0)
    # x': mu = (1/3 + 1/4, 1/4 + 1/2), k = 4/3, h = 0.8; target critics 0.4 and 0.6: 0.81 x 0.4; the other has ended
    torch.testing.assert_close(made.targets(b), torch.tensor([0.324, 0.9]), rtol=1e-5, atol=0)
    made.method = made.method.model_copy(update={'critic_updates_per_actor_update': 2})  # the critics alone
    made.update(b)
    # Q of the executed actions: k = 3/4 and 4/3: critics 0.6, 0.8 and 0.3, 0.4
    errors = torch.tensor([[0.6 - 0.324, 0.8 - 0.9], [0.3 - 0.324, 0.4 - 0.9]])
    assert made.statistics['critic_loss'] == pytest.approx(errors.square().mean().item(), rel=1e-5)
    assert made.statistics['q_mean'] == pytest.approx((0.6 + 0.8 + 0.3 + 0.4) / 4, rel=1e-5)
    assert made.statistics['target_mean'] == pytest.approx((0.324 + 0.9) / 2, rel=1e-5)
    # loss = sum over critics of the batch's mean squared error: d/db1 = mean of 2 e
    torch.testing.assert_close(made.critics.gradients['b1'].flatten(), errors.sum(1), rtol=1e-5, atol=1e-6)
    h = torch.tensor([0.6, 0.8])
    torch.testing.assert_close(made.critics.gradients['w1'][:, 0, 0], errors @ h, rtol=1e-5, atol=1e-6)
    assert not made.critics.gradients['w1'][:, 1].any(), 'the other unit is off'
    # the first step of Adam is the learning rate long; the target networks go half of the way
    b1 = -3e-4 * torch.sign(errors.sum(1))
    torch.testing.assert_close(made.critics.weights['b1'].flatten(), b1, rtol=1e-3, atol=0)
    torch.testing.assert_close(made.target['b1'].flatten(), 0.5 * b1, rtol=1e-3, atol=0)


@pytest.mark.parametrize('dropout', [0.0, 1.0])
def test_the_actors_gradient_on_paper(dropout: float) -> None:
    """The first layer is zero, so hiding the reference changes the gradient of nothing but that layer."""
    made, b = by_hand(bc_weight=0.1, dropout=dropout)
    made.update(b)
    # mu = reference + (1/4, 1/2): k = 3/4 and 4/3; the second critic is smaller: dQ/da = 0.5 x 0.512 and 0.5 x 0.216
    pull = torch.tensor([[0.256, 0.256], [0.108, 0.108]])
    # distances: of the first sample 1/4 to the reference and, where the person drove, 1/2 to the 1/4 that was done;
    # of the second 1/4, and nothing for the step that was not executed
    away = torch.tensor([[0.25, 0.25], [0.25, 0.0]])
    expected = (-pull + 0.1 * 2 * away).mean(0)
    torch.testing.assert_close(made.actor.gradients['b1'].flatten(), expected, rtol=1e-4, atol=1e-6)
    assert made.statistics['bc_distance'] == pytest.approx((0.125 + 0.0625) / 2, rel=1e-5)


def test_the_weight_of_the_distance_falls_evenly_to_its_value() -> None:
    ramp = {'bc_weight': 0.1, 'bc_first': 0.5, 'bc_ramp': 4}
    for first, updates, weight in ((0.5, 1, 0.4), (0.5, 2, 0.3), (0.5, 4, 0.1), (0.5, 9, 0.1), (0.05, 1, 0.1)):
        gradients = []
        for changes in (ramp | {'bc_first': first}, {'bc_weight': weight}):
            made = agent(METHOD.model_copy(update=changes))
            made.updates = updates - 1
            made.update(mixed())
            gradients.append(made.actor.gradients.flat)
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize('layers', [1, 2, 3])
def test_a_hundred_updates_equal_the_plain_reference(layers: int) -> None:
    method = METHOD.model_copy(update={
        'layers': layers, 'critic_updates_per_actor_update': 2, 'batch': 16, 'bc_first': 2.0, 'bc_ramp': 60,
    })  # fmt: skip
    made, memory = agent(method), replay()
    reference, probe = Reference(made), mixed(7)
    state, compared, padded, driven = torch.cat([probe.token, probe.rest], 1), 0, 0, 0
    for _ in range(100):
        b = memory.sample(16)
        padded, driven = padded + (b.executed == 0).sum(), driven + b.human.sum()
        made.update(b)
        reference.update(b)
        if made.updates % 2 == 0:
            assert made.statistics['bc_distance'] == pytest.approx(reference.bc_distance, rel=1e-4)
        if made.updates % REPORT_EVERY == 1:
            assert made.statistics['critic_loss'] == pytest.approx(reference.critic_loss, rel=1e-4)
            compared += 1
        q = made.values(probe.token, probe.rest, probe.action)
        torch.testing.assert_close(q, torch.stack(reference.q(state, probe.action)).detach(), rtol=0, atol=1e-4)
        mean = made.mean(probe.token, probe.rest, probe.reference)[0]
        torch.testing.assert_close(mean, reference.mean(state, probe.reference).detach(), rtol=0, atol=1e-4)
    assert compared == 4 and padded > 100 and driven > 100
    assert (made.random.get_state() == reference.random.get_state()).all(), 'no more random draws'


def test_tokens_in_half_precision_learn_the_same_only_less_exactly() -> None:
    """How close: batch means of Q and actor outputs and the losses within 1e-2 after 100 updates, and no closer."""
    method = METHOD.model_copy(update={'critic_updates_per_actor_update': 2, 'batch': 64})
    rounded = method.model_copy(update={'token_precision': 'bfloat16'})
    whole, half = agent(method), agent(rounded)
    memories = replay(), replay(method=rounded)
    assert memories[1].tokens.dtype == torch.bfloat16
    probe = mixed(7, size=256)
    for _ in range(101):
        for made, memory in zip((whole, half), memories, strict=True):
            made.update(memory.sample(64))
    q, mean = [], []
    for made, token in ((whole, probe.token), (half, probe.token.bfloat16())):
        q.append(made.values(token, probe.rest, probe.action))
        mean.append(made.mean(token, probe.rest, probe.reference)[0])
    assert 1e-5 < (q[0] - q[1]).abs().mean() < 1e-2
    assert 1e-5 < (mean[0] - mean[1]).abs().mean() < 1e-2
    for name, value in whole.statistics.items():
        assert half.statistics[name] == pytest.approx(value, abs=1e-2), name


def test_an_update_is_a_step_of_adam_and_moves_the_target_networks_a_little() -> None:
    made, b = agent(), batch()
    critics, target = made.critics.weights.flat.clone(), made.target.flat.clone()
    made.update(b)
    torch.testing.assert_close(
        made.critics.weights.flat, critics - METHOD.learning_rate * made.critics.gradients.flat.sign(),
        atol=2e-6, rtol=0,
    )  # fmt: skip
    torch.testing.assert_close(
        made.target.flat, target + METHOD.target_rate * (made.critics.weights.flat - target)
    )


def test_actor_is_updated_every_second_time() -> None:
    made = agent(METHOD.model_copy(update={'critic_updates_per_actor_update': 2}))
    changed = []
    for i in range(6):
        before = made.actor.weights.flat.clone()
        made.update(batch(i))
        changed.append(bool((made.actor.weights.flat != before).any()))
    assert changed == [False, True] * 3 and made.updates == 6


def test_first_policy_is_the_reference_and_a_seed_decides_everything() -> None:
    b = batch()
    first, same, other = (ActorCritic(METHOD, SIZES, seed) for seed in (1, 1, 2))
    for seen in (None, torch.zeros_like(b.reference)):
        assert (first.mean(b.token, b.rest, b.reference, seen)[0] == b.reference).all()
    for i in range(5):
        torch.randn(3)  # whatever else draws random numbers
        for made in (first, same, other):
            made.update(batch(i))
    for name, value in first.tensors().items():
        assert (value == same.tensors()[name]).all()
    assert (first.critics.weights.flat != other.critics.weights.flat).any()


@pytest.mark.parametrize(('bc_weight', 'learns'), [(0.01, True), (100.0, False)])
def test_policy_goes_where_the_reward_is_unless_held_to_the_reference(bc_weight: float, learns: bool) -> None:
    method = METHOD.model_copy(update={'hidden': 32, 'bc_weight': bc_weight, 'learning_rate': 3e-3, 'noise': 0.05})
    made, g = ActorCritic(method, Sizes(1, 1, 2), 0), torch.Generator().manual_seed(0)
    one, steps, zeros = torch.ones(B, 1), torch.ones(B, 2), torch.zeros(B, 2)
    for _ in range(1500):
        action = 2 * torch.rand(B, 2, generator=g) - 1
        reward = torch.exp(-4 * (action - 0.5).square().sum(1))
        made.update(Batch(one, one, zeros, action, reward, torch.zeros(B), one, one, zeros, steps, zeros))
    mean = made.mean(one[:1], one[:1], zeros[:1])[0][0]
    if learns:
        assert (mean - 0.5).abs().max() < 0.2
    else:
        assert mean.abs().max() < 0.1
