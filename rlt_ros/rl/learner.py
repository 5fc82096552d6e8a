"""The learner: replay, update budget, policy versions. Knows neither ROS nor time."""

from dataclasses import dataclass
import hashlib

from rlt_ros.config import Method
from rlt_ros.rl.actor_critic import ActorCritic
from rlt_ros.rl.policy import pack
from rlt_ros.rl.replay import Replay
from rlt_ros.rl.transitions import Transition


@dataclass(frozen=True)
class PolicyVersion:
    """What is published."""

    version: int
    weights: bytes
    sha256: str


class Learner:
    """Adds transitions, updates as far as the data allows, and gives out versions of the actor."""

    def __init__(self, method: Method, state_size: int, chunk_size: int, seed: int = 0):
        self.method = method
        self.agent = ActorCritic(method, state_size, chunk_size, seed)
        self.replay = Replay(method.replay_capacity, state_size, chunk_size, seed + 1)
        self.version = 0
        self.learning = False
        self.added_in_warmup = 0

    def add(self, transition: Transition) -> None:
        self.replay.add(transition)

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

    def packed(self) -> bytes:
        """The actor as it is now, as the robot side reads it."""
        weights = {name: value.numpy() for name, value in self.agent.actor.weights.items()}
        return pack(weights, self.method.layers, self.version)

    def publish(self) -> PolicyVersion:
        """A new version of the actor."""
        self.version += 1
        data = self.packed()
        return PolicyVersion(self.version, data, hashlib.sha256(data).hexdigest())
