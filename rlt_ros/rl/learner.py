"""The learner: replay, update budget, policy versions. Knows neither ROS nor time."""

from dataclasses import dataclass
import hashlib

import numpy as np
import torch

from rlt_ros.config import Method
from rlt_ros.rl.actor_critic import ActorCritic
from rlt_ros.rl.networks import Sizes
from rlt_ros.rl.policy import pack
from rlt_ros.rl.replay import Replay
from rlt_ros.rl.transitions import Transition

Q_LIMIT = 3.0  # no return is larger than 1; a mean this far off means that values run away


@dataclass(frozen=True)
class PolicyVersion:
    """What is published."""

    version: int
    weights: bytes
    sha256: str


def sizes_of(transition: Transition) -> Sizes:
    """What networks for such transitions read."""
    return Sizes(transition.token, len(transition.state) - transition.token, len(transition.action))


class Learner:
    """Adds transitions, updates as far as the data allows, and gives out versions of the actor."""

    def __init__(self, method: Method, sizes: Sizes, seed: int = 0, agent: type[ActorCritic] = ActorCritic):
        self.method, self.sizes = method, sizes
        self.agent = agent(method, sizes, seed)
        self.replay = Replay(method, sizes, seed + 1)
        self.version = 0
        self.encoder_hash = ''  # of the RL token that it learns from, as far as anybody said
        self.learning = False
        self.added_in_warmup = 0
        self.recoveries = 0
        self._sound = {name: value.clone() for name, value in self.agent.tensors().items()}

    def add(self, transition: Transition, mode: str) -> None:
        """Store a transition of a warmup or online episode; raises ValueError for one that is wrong."""
        self.replay.add(transition, mode)

    def begin(self) -> None:
        """The warm-up is over: from now on there are updates."""
        self.learning, self.added_in_warmup = True, self.replay.added

    @property
    def budget(self) -> int:
        """Updates that the stored transitions still allow: `first_updates` and UTD per transition since the warm-up."""
        if not self.learning or len(self.replay) < self.method.batch:
            return 0
        since = self.replay.added - self.added_in_warmup
        return self.method.first_updates + int(since * self.method.updates_per_transition) - self.agent.updates

    @property
    def ready(self) -> bool:
        """Whether the actor has learned enough to be let at the robot."""
        return self.agent.updates >= self.method.first_updates

    def update(self) -> None:
        """One update; only while `budget` is positive."""
        self.agent.update(self.replay.sample(self.method.batch))

    def check(self) -> str:
        """'' where the networks are sound, and remembers them; else what is wrong, after going back to the last sound.

        The updates made since count as made and new batches are drawn, so that what went wrong is not repeated.
        """
        trouble = self._trouble()
        current = self.agent.tensors()
        if not trouble:
            self._sound = {name: value.clone() for name, value in current.items()}
            return ''
        for name, value in current.items():
            value.copy_(self._sound[name])
        self.agent.weights_changed()
        self.agent.statistics.clear()
        self.recoveries += 1
        return trouble

    def _trouble(self) -> str:
        for name, value in self.agent.tensors().items():
            if not torch.isfinite(value.sum()):
                return f'{name} is not finite'
        q = self.agent.statistics.get('q_mean', 0.0)
        if not -Q_LIMIT <= q <= Q_LIMIT:
            return f'Q is {q:.3g}, although no return is outside [0, 1]'
        return ''

    def counters(self) -> dict[str, int]:
        """Whole numbers that a checkpoint keeps."""
        return {'updates': self.agent.updates, 'version': self.version, 'learning': int(self.learning),
                'added_in_warmup': self.added_in_warmup}  # fmt: skip

    def set_counters(self, counters: dict[str, int]) -> None:
        self.agent.updates, self.version = counters['updates'], counters['version']
        self.learning, self.added_in_warmup = bool(counters['learning']), counters['added_in_warmup']

    def predicted(self, transitions: list[Transition]) -> np.ndarray:
        """(N,) the smaller Q of each transition's state and executed action."""
        z = self.sizes.token
        states = torch.from_numpy(np.stack([t.state for t in transitions]))
        actions = torch.from_numpy(np.stack([t.action for t in transitions]))
        token = states[:, :z].to(self.replay.tokens.dtype)
        return self.agent.values(token, states[:, z:], actions).amin(0).numpy()

    def packed(self) -> bytes:
        """The actor as it is now, as the robot side reads it."""
        weights = {name: value[0].numpy() for name, value in self.agent.actor.weights.named.items()}
        weights['w0'] = np.concatenate([weights.pop(name) for name in ('token', 'rest', 'chunk')])
        return pack(weights, self.version)

    def publish(self, after: int = 0) -> PolicyVersion:
        """A new version of the actor. after: one that is known to have been published, before a restart maybe."""
        self.version = max(self.version, after) + 1
        data = self.packed()
        return PolicyVersion(self.version, data, hashlib.sha256(data).hexdigest())
