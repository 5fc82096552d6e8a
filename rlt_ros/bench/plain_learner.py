"""The learner as a textbook writes it in PyTorch: modules, autograd, one optimiser each. What ours is measured against.

Same mathematics, same order of random draws, so that both give the same numbers; nothing else is shared.
"""

import torch
from torch import Tensor, nn

from rlt_ros.config import Method
from rlt_ros.rl.actor_critic import CRITICS, ActorCritic, Batch


def network(inputs: int, outputs: int, method: Method, norm: bool) -> nn.Sequential:
    """inputs -> hidden x layers -> outputs, with LayerNorm before each ReLU for critics."""
    layers: list[nn.Module] = []
    for i in range(method.layers):
        layers.append(nn.Linear(method.hidden if i else inputs, method.hidden))
        if norm:
            layers.append(nn.LayerNorm(method.hidden, elementwise_affine=False))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(method.hidden, outputs))


class PlainLearner:
    """Starts with the weights of an `ActorCritic` and takes the same batches."""

    def __init__(self, ours: ActorCritic):
        method, sizes = ours.method, ours.sizes
        self.method, self.updates = method, 0
        self.random = torch.Generator()
        self.random.set_state(ours.random.get_state())
        self.actor = network(sizes.inputs, sizes.chunk, method, norm=False)
        self.critics = [network(sizes.inputs, 1, method, norm=True) for _ in range(CRITICS)]
        self.targets = [network(sizes.inputs, 1, method, norm=True) for _ in range(CRITICS)]
        for module, weights, member in (
            (self.actor, ours.actor.weights, 0),
            *((critic, ours.critics.weights, i) for i, critic in enumerate(self.critics)),
            *((target, ours.target, i) for i, target in enumerate(self.targets)),
        ):
            linear = [layer for layer in module if isinstance(layer, nn.Linear)]
            with torch.no_grad():
                first = torch.cat([weights[name][member] for name in ('token', 'rest', 'chunk')])
                for i, layer in enumerate(linear):
                    layer.weight.copy_((weights[f'w{i}'][member] if i else first).T)
                    layer.bias.copy_(weights[f'b{i}'][member, 0])
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), method.learning_rate)
        critics = [p for critic in self.critics for p in critic.parameters()]
        self.critic_optimiser = torch.optim.Adam(critics, method.learning_rate)

    def mean(self, state: Tensor, reference: Tensor, seen: Tensor) -> Tensor:
        return self.actor(torch.cat([state, seen], 1)) + reference

    def update(self, batch: Batch) -> None:
        """As ActorCritic.update."""
        method = self.method
        self.updates += 1
        state = torch.cat([batch.token, batch.rest], 1)
        if self.updates % method.critic_updates_per_actor_update == 0:
            kept = torch.rand(len(state), 1, generator=self.random) >= method.reference_dropout
            action = self.mean(state, batch.reference, batch.reference * kept)
            inputs = torch.cat([state, action], 1)
            smaller = torch.min(*(critic(inputs) for critic in self.critics))[:, 0]
            bc_target = torch.where(self._of_steps(batch.human) > 0, batch.action, batch.reference)
            distance = ((action - bc_target).square() * self._of_steps(batch.executed)).sum(1)
            ahead = max(0, method.bc_ramp - self.updates) / method.bc_ramp
            beta = ahead * max(method.bc_first, method.bc_weight) + (1 - ahead) * method.bc_weight
            loss = (-smaller + beta * distance).mean()
            self.actor_optimiser.zero_grad()
            loss.backward()
            self.actor_optimiser.step()
        with torch.no_grad():
            next_state = torch.cat([batch.next_token, batch.next_rest], 1)
            action = self.mean(next_state, batch.next_reference, batch.next_reference)
            action = action + method.noise * torch.randn(action.shape, generator=self.random)
            inputs = torch.cat([next_state, action], 1)
            following = torch.min(*(target(inputs) for target in self.targets))[:, 0]
            target = (batch.reward + batch.discount * following).clamp(0.0, 1.0)
        inputs = torch.cat([state, batch.action], 1)
        loss = sum((critic(inputs)[:, 0] - target).square().mean() for critic in self.critics)
        self.critic_optimiser.zero_grad()
        loss.backward()
        self.critic_optimiser.step()
        with torch.no_grad():
            for critic, target_network in zip(self.critics, self.targets, strict=True):
                for value, slow in zip(critic.parameters(), target_network.parameters(), strict=True):
                    slow.lerp_(value, method.target_rate)

    def _of_steps(self, mask: Tensor) -> Tensor:
        """(B, C) to (B, C * D)."""
        return mask.repeat_interleave(self.actor[-1].out_features // mask.shape[1], 1)
