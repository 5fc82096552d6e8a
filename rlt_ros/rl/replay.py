"""Replay memory: preallocated contiguous arrays, oldest transitions overwritten, uniform or mixed sampling."""

import numpy as np
import torch

from rlt_ros.config import Method
from rlt_ros.rl.actor_critic import Batch
from rlt_ros.rl.networks import Sizes
from rlt_ros.rl.transitions import Transition

KINDS = ('online', 'warmup', 'human')  # of who made a transition: the actor, the VLA, or a person in any of its steps


class Ring:
    """Row numbers of one kind, oldest first, within a preallocated array."""

    def __init__(self, capacity: int):
        self.rows = np.zeros(capacity, np.int32)
        self.first = self.count = 0

    def push(self, row: int) -> None:
        self.rows[(self.first + self.count) % len(self.rows)] = row
        self.count += 1

    def pop(self) -> None:
        self.first, self.count = (self.first + 1) % len(self.rows), self.count - 1

    def pick(self, positions: np.ndarray) -> np.ndarray:
        """Row numbers of positions in [0, count)."""
        return self.rows[(self.first + positions) % len(self.rows)]


class Replay:
    """Up to `replay_capacity` transitions; memory is taken as it fills (the system gives pages on first use).

    A transition is one row of `numbers` and one of `tokens`, so that a sample costs two scattered reads whatever the
    number of fields. Tokens are of the method's precision, as the networks read them.
    """

    def __init__(self, method: Method, sizes: Sizes, seed: int = 0):
        self.capacity, self.sizes, self.shares = method.replay_capacity, sizes, method.shares
        self.token_noise = method.token_noise
        self.noises = {'rest': method.rest_noise, 'next_rest': method.rest_noise, 'action': method.action_noise}
        widths = {'rest': sizes.rest, 'reference': sizes.chunk, 'action': sizes.chunk, 'next_rest': sizes.rest,
                  'next_reference': sizes.chunk, 'executed': method.chunk, 'human': method.chunk,
                  'reward': 1, 'discount': 1}  # fmt: skip
        ends = np.cumsum(list(widths.values())).tolist()
        self.parts = {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}
        self.numbers = torch.from_numpy(np.zeros((self.capacity, ends[-1]), np.float32))
        half = method.token_precision == 'bfloat16'
        tokens = np.zeros((self.capacity, 2 * sizes.token), np.int16 if half else np.float32)
        self.tokens = torch.from_numpy(tokens).view(torch.bfloat16 if half else torch.float32)
        self.kinds = np.zeros(self.capacity, np.uint8)
        self.rings = [Ring(self.capacity) for _ in KINDS]
        self.added = 0
        self.random = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    @property
    def row_bytes(self) -> int:
        """Bytes that a stored transition takes."""
        return self.numbers.element_size() * self.numbers.shape[1] + self.tokens.element_size() * self.tokens.shape[1]

    def add(self, transition: Transition, mode: str) -> None:
        """mode: warmup or online. Raises ValueError where sizes do not fit or a number is not finite."""
        row, z = self.added % self.capacity, self.sizes.token
        if mode not in KINDS:
            raise ValueError(f'a transition of mode "{mode}" is not learned from')
        steps = np.arange(len(transition.human)) < transition.steps
        values = {
            'rest': transition.state[z:], 'reference': transition.reference, 'action': transition.action,
            'next_rest': transition.next_state[z:], 'next_reference': transition.next_reference,
            'executed': steps, 'human': transition.human,
            'reward': [transition.reward], 'discount': [transition.discount],
        }  # fmt: skip
        line = np.concatenate(list(values.values()), dtype=np.float32)
        tokens = np.concatenate([transition.state[:z], transition.next_state[:z]], dtype=np.float32)
        fits = all(len(values[name]) == part.stop - part.start for name, part in self.parts.items())
        if not fits or transition.token != z or tokens.shape != self.tokens.shape[1:]:
            raise ValueError(f'a transition of {len(tokens)} + {len(line)} numbers does not fit {self.sizes}')
        if not (np.isfinite(line).all() and np.isfinite(tokens).all()):
            raise ValueError('a transition is not finite')
        if self.added >= self.capacity:
            self.rings[self.kinds[row]].pop()  # the oldest of all is the oldest of its kind
        self.numbers[row] = torch.from_numpy(line)
        self.tokens[row] = torch.from_numpy(tokens)
        self.kinds[row] = KINDS.index('human' if transition.human.any() else mode)
        self.rings[self.kinds[row]].push(row)
        self.added += 1

    def sample(self, size: int) -> Batch:
        """A batch drawn with replacement, uniform or by shares; at least one transition must be stored.

        Its states and executed chunks have fresh noise, of token_noise, rest_noise and action_noise.
        """
        rows = self._rows(size)
        numbers, tokens = (torch.index_select(array, 0, rows) for array in (self.numbers, self.tokens))
        z = self.sizes.token
        fields = {name: numbers[:, part] for name, part in self.parts.items()}
        noisy = [(tokens, self.token_noise), *((fields[name], sigma) for name, sigma in self.noises.items())]
        for exact, sigma in noisy:
            if sigma:
                exact.add_(torch.randn(exact.shape, generator=self.random, dtype=exact.dtype), alpha=sigma)
        fields |= {name: fields[name][:, 0] for name in ('reward', 'discount')}
        return Batch(token=tokens[:, :z], next_token=tokens[:, z:], **fields)

    def _rows(self, size: int) -> torch.Tensor:
        if self.shares is None:
            return torch.randint(len(self), (size,), generator=self.random)
        # kinds that have nothing yet leave their share to the others
        shares = np.array([getattr(self.shares, kind) for kind in KINDS])
        there = np.array([ring.count > 0 for ring in self.rings])
        weights = torch.from_numpy(np.where(there, np.maximum(shares, 0 if (shares * there).any() else 1), 0.0))
        kinds = torch.multinomial(weights, size, replacement=True, generator=self.random).numpy()
        where = torch.rand(size, generator=self.random, dtype=torch.float64).numpy()
        rows = np.empty(size, np.int64)
        for kind, ring in enumerate(self.rings):
            chosen = kinds == kind
            rows[chosen] = ring.pick((where[chosen] * ring.count).astype(np.int64))
        return torch.from_numpy(rows)
