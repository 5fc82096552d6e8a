"""The losses of the paper against numbers computed another way."""

import pytest
from test_networks import independent as networks_by_hand
import torch
from torch import Tensor

from rlt_ros.config import Method
from rlt_ros.rl.actor_critic import ActorCritic, Batch

torch.set_num_threads(1)
S, A, B = 5, 4, 32
METHOD = Method(name='test', hidden=16, layers=2, batch=B, critic_updates_per_actor_update=1, noise=0.3, bc_weight=0.7)


def batch(seed: int = 0, discount: float = 0.9) -> Batch:
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    reward = (torch.rand(B, generator=g) < 0.3).float()
    return Batch(
        normal(B, S), normal(B, A), normal(B, A), reward * 0.8, discount * (1 - reward), normal(B, S), normal(B, A)
    )


def agent(method: Method = METHOD, seed: int = 0) -> ActorCritic:
    """Past the first policy, so that no gradient vanishes by construction."""
    made = ActorCritic(method, S, A, seed)
    g = torch.Generator().manual_seed(99)
    for flat in (made.actor.flat, made.critics.flat, made.target):
        flat.add_(0.2 * torch.randn(flat.shape, generator=g))
    return made


def draws(made: ActorCritic) -> tuple[Tensor, Tensor]:
    """The noise of the next action and the kept references, as the next update will draw them."""
    g = torch.Generator()
    g.set_state(made.random.get_state())
    return torch.randn(B, A, generator=g), torch.rand(B, 1, generator=g) >= METHOD.reference_dropout


def q_values(weights: dict[str, Tensor], state: Tensor, action: Tensor) -> Tensor:
    return networks_by_hand(weights, torch.cat([state, action], 1), 2, 2, norm=True)[..., 0]


def policy(weights: dict[str, Tensor], state: Tensor, reference: Tensor, seen: Tensor) -> Tensor:
    return networks_by_hand(weights, torch.cat([state, seen], 1), 1, 2, norm=False)[0] + reference


def copies(weights: dict[str, Tensor], gradient: bool = False) -> dict[str, Tensor]:
    return {name: value.clone().requires_grad_(gradient) for name, value in weights.items()}


def expected_target(made: ActorCritic, b: Batch) -> Tensor:
    noise, _ = draws(made)
    action = policy(made.actor.weights, b.next_state, b.next_reference, b.next_reference) + METHOD.noise * noise
    values = q_values(made.target_weights, b.next_state, action)
    return (b.reward + b.discount * torch.minimum(values[0], values[1])).clamp(0, 1)


def test_td_target_is_reward_plus_discounted_smaller_target_value_at_the_next_reference() -> None:
    made, b = agent(), batch()
    made.target_weights['b2'].add_(0.5)  # values within [0, 1], where the clamp does not hide them
    expected = expected_target(made, b)
    assert ((0 < expected) & (expected < 1)).sum() > B / 3
    torch.testing.assert_close(made.targets(b), expected)


def test_without_discount_the_target_is_the_reward() -> None:
    b = batch(discount=0.0)
    assert (agent().targets(b) == b.reward).all()


def test_critic_and_actor_gradients() -> None:
    made, b = agent(), batch()
    target, (_, kept) = expected_target(made, b), draws(made)
    assert 0 < kept.sum() < B
    critics, actor = copies(made.critics.weights, gradient=True), copies(made.actor.weights, gradient=True)
    (q_values(critics, b.state, b.action) - target).square().mean(1).sum().backward()
    made.update(b)
    for name, value in made.critics.gradients.items():
        torch.testing.assert_close(value, critics[name].grad, rtol=1e-4, atol=1e-6)
    # Eq. 5 with the critics as they are after their update
    mean = policy(actor, b.state, b.reference, b.reference * kept)
    smaller = q_values(copies(made.critics.weights), b.state, mean).amin(0)
    (-smaller + METHOD.bc_weight * (mean - b.reference).square().sum(1)).mean().backward()
    for name, value in made.actor.gradients.items():
        torch.testing.assert_close(value, actor[name].grad, rtol=1e-4, atol=1e-6)


def test_an_update_is_a_step_of_adam_and_moves_the_target_networks_a_little() -> None:
    made, b = agent(), batch()
    critics, target = made.critics.flat.clone(), made.target.clone()
    made.update(b)
    torch.testing.assert_close(
        made.critics.flat, critics - METHOD.learning_rate * made.critics.gradient.sign(), atol=2e-6, rtol=0
    )
    torch.testing.assert_close(made.target, target + METHOD.target_rate * (made.critics.flat - target))


def test_actor_is_updated_every_second_time() -> None:
    made = agent(METHOD.model_copy(update={'critic_updates_per_actor_update': 2}))
    changed = []
    for i in range(6):
        before = made.actor.flat.clone()
        made.update(batch(i))
        changed.append(bool((made.actor.flat != before).any()))
    assert changed == [False, True] * 3 and made.updates == 6


def test_first_policy_is_the_reference_and_a_seed_decides_everything() -> None:
    b = batch()
    first, same, other = (ActorCritic(METHOD, S, A, seed) for seed in (1, 1, 2))
    for seen in (None, torch.zeros_like(b.reference)):
        assert (first.mean(b.state, b.reference, seen)[0] == b.reference).all()
    for i in range(5):
        torch.randn(3)  # whatever else draws random numbers
        for made in (first, same, other):
            made.update(batch(i))
    assert (first.actor.flat == same.actor.flat).all() and (first.critics.flat == same.critics.flat).all()
    assert (first.critics.flat != other.critics.flat).any()


@pytest.mark.parametrize(('bc_weight', 'learns'), [(0.01, True), (100.0, False)])
def test_policy_goes_where_the_reward_is_unless_held_to_the_reference(bc_weight: float, learns: bool) -> None:
    method = METHOD.model_copy(update={'hidden': 32, 'bc_weight': bc_weight, 'learning_rate': 3e-3, 'noise': 0.05})
    made, g = ActorCritic(method, 2, 2, 0), torch.Generator().manual_seed(0)
    ones, zeros = torch.ones(B, 2), torch.zeros(B, 2)
    for _ in range(1500):
        action = 2 * torch.rand(B, 2, generator=g) - 1
        reward = torch.exp(-4 * (action - 0.5).square().sum(1))
        made.update(Batch(ones, zeros, action, reward, torch.zeros(B), ones, zeros))
    mean = made.mean(ones[:1], zeros[:1])[0][0]
    if learns:
        assert (mean - 0.5).abs().max() < 0.2
    else:
        assert mean.abs().max() < 0.1
