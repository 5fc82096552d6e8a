"""Made-up transitions and batches of a small robot, and agents that have left the first policy."""

from dataclasses import replace

import numpy as np
import torch

from rlt_ros.config import Method
from rlt_ros.rl.actor_critic import ActorCritic, Batch
from rlt_ros.rl.networks import Sizes
from rlt_ros.rl.replay import Replay
from rlt_ros.rl.transitions import Transition

torch.set_num_threads(1)
Z, R, C, D = 3, 2, 2, 2
S, A, B = Z + R, C * D, 32
SIZES = Sizes(Z, R, A)
METHOD = Method(
    name='test', chunk=C, delay=1, hidden=16, layers=2, batch=B, critic_updates_per_actor_update=1, noise=0.3,
    bc_weight=0.7, bc_first=0.0, token_noise=0.0, rest_noise=0.0, action_noise=0.0, replay_capacity=1000,
)  # fmt: skip


def transition(number: int, **changes: object) -> Transition:
    """One that tells its number: a person drove in the second step of every fourth; every fifth ends in the first."""
    random = np.random.default_rng(number)
    sizes = {'state': S, 'reference': A, 'action': A, 'next_state': S, 'next_reference': A}
    arrays = {name: random.standard_normal(size, dtype=np.float32) for name, size in sizes.items()}
    ends = number % 5 == 4
    made = Transition(
        **arrays, reward=0.8 * (number % 3 == 0), discount=0.0 if ends else 0.9, token=Z, steps=1 if ends else C,
        human=np.array([False, number % 4 == 3 and not ends]), terminated=ends, truncated=number % 7 == 6 and not ends,
        policy_version=2, tick=number,
    )  # fmt: skip
    return replace(made, **changes)


def replay(count: int = 200, method: Method = METHOD) -> Replay:
    made = Replay(method, SIZES)
    for number in range(count):
        made.add(transition(number), 'online')
    return made


def batch(seed: int = 0, size: int = B) -> Batch:
    """All steps executed, no person; see `mixed` for others."""
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    reward = (torch.rand(size, generator=g) < 0.3).float()
    return Batch(
        token=normal(size, Z), rest=normal(size, R), reference=normal(size, A), action=normal(size, A),
        reward=reward * 0.8, discount=0.9 * (1 - reward), next_token=normal(size, Z), next_rest=normal(size, R),
        next_reference=normal(size, A), executed=torch.ones(size, C), human=torch.zeros(size, C),
    )  # fmt: skip


def mixed(seed: int = 0, size: int = B) -> Batch:
    """A batch with a person's steps and padding in it."""
    g = torch.Generator().manual_seed(1000 + seed)
    executed = torch.ones(size, C)
    executed[:, 1] = (torch.rand(size, generator=g) < 0.7).float()
    human = (torch.rand(size, C, generator=g) < 0.4).float() * executed
    return replace(batch(seed, size=size), executed=executed, human=human)


def agent(method: Method = METHOD, seed: int = 0) -> ActorCritic:
    """Past the first policy, so that no gradient vanishes by construction; values within [0, 1], mostly."""
    made = ActorCritic(method, SIZES, seed)
    g = torch.Generator().manual_seed(99)
    for weights in (made.actor.weights, made.critics.weights, made.target):
        weights.flat.add_(0.2 * torch.randn(weights.flat.shape, generator=g))
    for weights in (made.critics.weights, made.target):
        weights[f'b{method.layers}'].add_(0.5)
    made.weights_changed()
    return made
