"""The method once more, slow and plain: ordinary layers, automatic differentiation, one transition at a time."""

import torch
from torch import Tensor, nn

from rlt_ros.config import Method
from rlt_ros.rl.actor_critic import ActorCritic, Batch
from rlt_ros.rl.networks import Weights


def network(weights: Weights, member: int, layers: int, norm: bool) -> nn.Sequential:
    """A member of the fast networks as ordinary layers with the same numbers."""
    w = lambda name: weights[name][member].detach()  # noqa: E731
    parts: list[nn.Module] = []
    for i in range(layers + 1):
        matrix = torch.cat([w('token'), w('rest'), w('chunk')]) if i == 0 else w(f'w{i}')
        linear = nn.Linear(*matrix.shape)
        linear.load_state_dict({'weight': matrix.T, 'bias': w(f'b{i}')[0]})
        parts.append(linear)
        if i < layers:
            if norm:
                parts.append(nn.LayerNorm(matrix.shape[1], elementwise_affine=False))
            parts.append(nn.ReLU())
    return nn.Sequential(*parts)


class Reference:
    """Begins where an ActorCritic stands and draws the same random numbers: who is hidden first, then the noise."""

    def __init__(self, made: ActorCritic):
        self.method: Method = made.method
        self.actor = network(made.actor.weights, 0, self.method.layers, norm=False)
        self.critics = [network(made.critics.weights, i, self.method.layers, norm=True) for i in (0, 1)]
        self.targets = [network(made.target, i, self.method.layers, norm=True) for i in (0, 1)]
        rate = self.method.learning_rate
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), rate)
        self.critic_optimiser = torch.optim.Adam([p for q in self.critics for p in q.parameters()], rate)
        self.random = torch.Generator()
        self.random.set_state(made.random.get_state())
        self.updates = 0
        self.critic_loss = self.bc_distance = 0.0

    def mean(self, state: Tensor, reference: Tensor, shown: Tensor | None = None) -> Tensor:
        return reference + self.actor(torch.cat([state, reference if shown is None else shown], -1))

    def q(self, state: Tensor, action: Tensor, networks: list[nn.Sequential] | None = None) -> list[Tensor]:
        return [one(torch.cat([state, action], -1)).squeeze(-1) for one in networks or self.critics]

    @torch.no_grad()
    def target(self, batch: Batch, noise: Tensor) -> Tensor:
        values = []
        for i in range(len(batch.reward)):
            state = torch.cat([batch.next_token[i], batch.next_rest[i]])
            action = self.mean(state, batch.next_reference[i]) + self.method.noise * noise[i]
            following = min(q.item() for q in self.q(state, action, self.targets))
            value = batch.reward[i].item() + batch.discount[i].item() * following
            values.append(min(max(value, 0.0), 1.0))
        return torch.tensor(values)

    def loss_of_actor(self, batch: Batch, kept: Tensor) -> Tensor:
        """Eq. 5, step by step of every sample."""
        state = torch.cat([batch.token, batch.rest], 1)
        mean = self.mean(state, batch.reference, batch.reference * kept)
        chunk = self.method.chunk
        losses, distances = [], []
        for i, (q1, q2) in enumerate(zip(*self.q(state, mean), strict=True)):
            rows = [a[i].reshape(chunk, -1) for a in (mean, batch.reference, batch.action)]
            distance = torch.zeros(())
            for step, (mine, reference, done) in enumerate(zip(*rows, strict=True)):
                if batch.executed[i, step]:
                    wanted = done if batch.human[i, step] else reference
                    distance = distance + (mine - wanted).square().sum()
            distances.append(distance.item())
            losses.append(-torch.minimum(q1, q2) + self.beta() * distance)
        self.bc_distance = sum(distances) / len(distances)
        return torch.stack(losses).mean()

    def beta(self) -> float:
        method = self.method
        if self.updates >= method.bc_ramp or method.bc_first <= method.bc_weight:
            return method.bc_weight
        return method.bc_first + (method.bc_weight - method.bc_first) * self.updates / method.bc_ramp

    def update(self, batch: Batch) -> None:
        self.updates += 1
        size = len(batch.reward)
        if self.updates % self.method.critic_updates_per_actor_update == 0:
            kept = torch.rand(size, 1, generator=self.random) >= self.method.reference_dropout
            loss = self.loss_of_actor(batch, kept)
            self.actor_optimiser.zero_grad()
            loss.backward()
            self.actor_optimiser.step()
        target = self.target(batch, torch.randn(batch.action.shape, generator=self.random))
        values = self.q(torch.cat([batch.token, batch.rest], 1), batch.action)
        loss = sum((q - target).square().mean() for q in values)
        self.critic_optimiser.zero_grad()
        loss.backward()
        self.critic_optimiser.step()
        self.critic_loss = loss.item() / 2
        rate = self.method.target_rate
        with torch.no_grad():
            for slow, fast in zip(self.targets, self.critics, strict=True):
                for p, q in zip(slow.parameters(), fast.parameters(), strict=True):
                    p.copy_((1 - rate) * p + rate * q)
