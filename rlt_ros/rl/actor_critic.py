"""The actor-critic of RLT (paper, section 2): chunk actor with reference pass-through, twin critics, BC term."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlt_ros.config import Method
from rlt_ros.rl.networks import Networks

CRITICS = 2


@dataclass
class Batch:
    """B transitions. Chunks are flat, C x D, normalised."""

    state: Tensor  # (B, S): token, proprioception, committed actions
    reference: Tensor  # (B, A)
    action: Tensor  # (B, A) executed
    reward: Tensor  # (B,) discounted within the chunk
    discount: Tensor  # (B,) gamma^k, 0 where terminated
    next_state: Tensor  # (B, S)
    next_reference: Tensor  # (B, A)


class ActorCritic:
    """Losses, gradients and updates. Deterministic for a seed: all its randomness comes from `random`."""

    def __init__(self, method: Method, state_size: int, chunk_size: int, seed: int = 0):
        self.method, self.state_size, self.chunk_size = method, state_size, chunk_size
        self.random = torch.Generator().manual_seed(seed)
        state = torch.random.get_rng_state()
        torch.manual_seed(seed)
        inputs = state_size + chunk_size
        self.actor = Networks(1, inputs, chunk_size, method.hidden, method.layers, norm=False)
        self.critics = Networks(CRITICS, inputs, 1, method.hidden, method.layers, norm=True)
        torch.random.set_rng_state(state)
        self.actor.weights[f'w{method.layers}'].zero_()  # the first policy is the VLA
        self.target = self.critics.flat.clone()
        self.target_weights = self.critics.views(self.target)
        self.actor_optimiser = self._adam(self.actor)
        self.critic_optimiser = self._adam(self.critics)
        self.updates = 0
        self.statistics: dict[str, float] = {}

    def _adam(self, networks: Networks) -> torch.optim.Adam:
        networks.flat.grad = networks.gradient
        return torch.optim.Adam([networks.flat], self.method.learning_rate, fused=True)

    def mean(self, state: Tensor, reference: Tensor, seen: Tensor | None = None) -> tuple[Tensor, list]:
        """mu(x, reference) (B, A). `seen` is the reference at the actor's input, where it differs (dropout)."""
        out, saved = self.actor.forward(torch.cat([state, reference if seen is None else seen], 1))
        return out[0] + reference, saved

    def values(self, state: Tensor, action: Tensor) -> Tensor:
        """Q of every critic, (CRITICS, B)."""
        return self.critics.forward(torch.cat([state, action], 1))[0][..., 0]

    @torch.no_grad()
    def targets(self, batch: Batch) -> Tensor:
        """Right side of the TD equation, (B,). Success pays 1 once, so no value is outside [0, 1]."""
        action, _ = self.mean(batch.next_state, batch.next_reference)
        action = action + self.method.noise * torch.randn(action.shape, generator=self.random)
        inputs = torch.cat([batch.next_state, action], 1)
        following = self.critics.forward(inputs, self.target_weights)[0].amin(0)[:, 0]
        return (batch.reward + batch.discount * following).clamp_(0.0, 1.0)

    @torch.no_grad()
    def update(self, batch: Batch) -> None:
        """One critic update, and every second (critic_updates_per_actor_update) an actor update."""
        size = len(batch.state)
        target = self.targets(batch)
        q, saved = self.critics.forward(torch.cat([batch.state, batch.action], 1))
        error = q - target[None, :, None]
        self.critics.backward(error * (2.0 / size), saved, into_weights=True)
        self.critic_optimiser.step()
        self.target.lerp_(self.critics.flat, self.method.target_rate)
        self.updates += 1
        if self.updates % self.method.critic_updates_per_actor_update == 0:
            self._update_actor(batch)
        if self.updates % 25 == 1:  # reading numbers back costs time
            self.statistics |= {
                'critic_loss': error.square().mean().item(),
                'q_mean': q.mean().item(),
                'target_mean': target.mean().item(),
            }

    def _update_actor(self, batch: Batch) -> None:
        """Eq. 5: minus the smaller Q plus beta times the squared distance to the un-masked reference."""
        size = len(batch.state)
        kept = torch.rand(size, 1, generator=self.random) >= self.method.reference_dropout
        mean, saved = self.mean(batch.state, batch.reference, batch.reference * kept)
        q, critic_saved = self.critics.forward(torch.cat([batch.state, mean], 1))
        upstream = torch.zeros_like(q).scatter_(0, q.argmin(0, keepdim=True), -1.0 / size)
        at_sums = self.critics.backward(upstream, critic_saved, into_weights=False)
        gradient = at_sums @ self.critics.weights['w0'][self.state_size :].t()
        deviation = mean - batch.reference
        gradient += deviation * (2.0 * self.method.bc_weight / size)
        self.actor.backward(gradient[None], saved, into_weights=True)
        self.actor_optimiser.step()
        if self.updates % 50 == 2 or 'bc_distance' not in self.statistics:
            self.statistics['bc_distance'] = deviation.square().sum(1).mean().item()
