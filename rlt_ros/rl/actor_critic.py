"""The actor-critic of RLT (paper, section 2): chunk actor with reference pass-through, twin critics, BC term."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlt_ros.config import Method
from rlt_ros.rl.adam import Adam
from rlt_ros.rl.networks import Networks, Sizes, Weights

CRITICS = 2
REPORT_EVERY = 25  # updates: reading numbers back costs time


@dataclass
class Batch:
    """B transitions. The state x is token and rest; chunks are flat, C x D, normalised."""

    token: Tensor  # (B, Z) z_rl
    rest: Tensor  # (B, R) proprioception and committed commands
    reference: Tensor  # (B, A)
    action: Tensor  # (B, A) executed
    reward: Tensor  # (B,) discounted within the chunk
    discount: Tensor  # (B,) gamma^k, 0 where terminated
    next_token: Tensor
    next_rest: Tensor
    next_reference: Tensor  # (B, A) the reference at x'
    executed: Tensor  # (B, C) 1 for steps that were executed, 0 for padding after the episode's end
    human: Tensor  # (B, C) 1 for steps in which a person drove


class ActorCritic:
    """Losses, gradients and updates. Deterministic for a seed: all its randomness comes from `random`."""

    def __init__(self, method: Method, sizes: Sizes, seed: int = 0):
        self.method, self.sizes = method, sizes
        half = method.token_precision == 'bfloat16'
        self.random = torch.Generator().manual_seed(seed)
        state = torch.random.get_rng_state()
        torch.manual_seed(seed)
        self.actor = Networks(1, sizes, sizes.chunk, method.hidden, method.layers, norm=False, half=half)
        self.critics = Networks(CRITICS, sizes, 1, method.hidden, method.layers, norm=True, half=half)
        torch.random.set_rng_state(state)
        self.actor.weights[f'w{method.layers}'].zero_()  # the first policy is the VLA
        self.actor.weights[f'b{method.layers}'].zero_()
        self.target = self.critics.weights.copy()
        self.actor_optimiser = Adam(self.actor, method.learning_rate)
        self.critic_optimiser = Adam(self.critics, method.learning_rate)
        self.updates = 0
        self.statistics: dict[str, float] = {}

    @property
    def bc_weight(self) -> float:
        """beta now: falling evenly from bc_first to the method's, then constant."""
        last, left = self.method.bc_weight, max(0.0, 1.0 - self.updates / self.method.bc_ramp)
        return last + max(0.0, self.method.bc_first - last) * left

    def tensors(self) -> dict[str, Tensor]:
        """Everything that updates change, by name; not copied."""
        found = {'actor': self.actor.weights.flat, 'critics': self.critics.weights.flat, 'target': self.target.flat}
        for name, optimiser in (('actor', self.actor_optimiser), ('critics', self.critic_optimiser)):
            found |= {f'{name}.first': optimiser.first, f'{name}.second': optimiser.second,
                      f'{name}.steps': optimiser.steps}  # fmt: skip
        return found

    def weights_changed(self) -> None:
        """To be called after weights were set from outside."""
        for weights in (self.actor.weights, self.critics.weights, self.target):
            weights.changed()

    def mean(self, token: Tensor, rest: Tensor, reference: Tensor, seen: Tensor | None = None) -> tuple[Tensor, list]:
        """mu(x, reference) (B, A). `seen` is the reference at the actor's input, where it differs (dropout)."""
        out, saved = self.actor.forward(self.actor.sums(token, rest), reference if seen is None else seen)
        return out[0] + reference, saved

    def values(self, token: Tensor, rest: Tensor, action: Tensor, weights: Weights | None = None) -> Tensor:
        """Q of every critic, (CRITICS, B)."""
        return self.critics.forward(self.critics.sums(token, rest, weights), action, weights)[0][..., 0]

    @torch.no_grad()
    def targets(self, batch: Batch) -> Tensor:
        """Right side of the TD equation, (B,). Success pays 1 once, so no value is outside [0, 1]."""
        action, _ = self.mean(batch.next_token, batch.next_rest, batch.next_reference)
        action = action + self.method.noise * torch.randn(action.shape, generator=self.random)
        following = self.values(batch.next_token, batch.next_rest, action, self.target).amin(0)
        return (batch.reward + batch.discount * following).clamp_(0.0, 1.0)

    @torch.no_grad()
    def update(self, batch: Batch) -> None:
        """One critic update; before every second (critic_updates_per_actor_update) an actor update.

        The actor goes first because both then see the same critics, and what the state adds to their first layer is
        computed once for both.
        """
        self.updates += 1
        sums = self.critics.sums(batch.token, batch.rest)
        if self.updates % self.method.critic_updates_per_actor_update == 0:
            self._update_actor(batch, sums)
        target = self.targets(batch)
        q, saved = self.critics.forward(sums, batch.action)
        error = q - target[None, :, None]
        self.critics.backward(error * (2.0 / len(target)), saved, (batch.token, batch.rest, batch.action))
        self.critic_optimiser.step()
        self.target.flat.lerp_(self.critics.weights.flat, self.method.target_rate)
        self.target.changed()
        if self.updates % REPORT_EVERY == 1:
            self.statistics |= {
                'critic_loss': error.square().mean().item(),
                'q_mean': q.mean().item(),
                'target_mean': target.mean().item(),
            }

    def _update_actor(self, batch: Batch, sums: Tensor) -> None:
        """Eq. 5: minus the smaller Q plus beta times the squared distance to the un-masked reference.

        Where a person drove, the distance is to what the person did; padding after the episode's end counts nothing.
        """
        size = len(batch.reference)
        kept = torch.rand(size, 1, generator=self.random) >= self.method.reference_dropout
        seen = batch.reference * kept
        mean, saved = self.mean(batch.token, batch.rest, batch.reference, seen)
        q, critic_saved = self.critics.forward(sums, mean)
        upstream = torch.zeros_like(q).scatter_(0, q.argmin(0, keepdim=True), -1.0 / size)
        gradient = self.critics.at_chunk(self.critics.backward(upstream, critic_saved, None))
        deviation = (mean - batch.reference).view(size, self.method.chunk, -1)
        human = batch.human[..., None]
        deviation = deviation + human * (batch.reference - batch.action).view_as(deviation)
        deviation *= batch.executed[..., None]
        gradient.view_as(deviation).add_(deviation, alpha=2.0 * self.bc_weight / size)
        self.actor.backward(gradient[None], saved, (batch.token, batch.rest, seen))
        self.actor_optimiser.step()
        self.statistics['bc_distance'] = deviation.square().sum((1, 2)).mean().item()
