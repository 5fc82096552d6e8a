"""RLT without one of its parts, as ablations need it. The defaults are RLT itself."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rlt_ros.control.executor import Actor
from rlt_ros.rl.actor_critic import ActorCritic
from rlt_ros.rl.transitions import Seen, TransitionBuilder


@dataclass(frozen=True)
class Parts:
    """What a runner is made of."""

    sees: Literal['token', 'images', 'nothing'] = 'token'  # z_rl, a ResNet-10 of its own, proprioception alone
    weights: str = ''  # of what it sees; '': the robot's own RL token, or a frozen random ResNet
    latency_aware: bool = True  # the state has the committed commands, and the reference begins after them
    pass_through: bool = True  # the actor sees the reference and adds to it


RLT = Parts()


class WithoutPassThrough(ActorCritic):
    """Its actor neither sees the reference nor adds to it; the BC term still pulls it there.

    To be used with reference_dropout 1, so that the weights of the reference it does not see get no gradient.
    """

    def mean(self, token: Tensor, rest: Tensor, reference: Tensor, seen: Tensor | None = None) -> tuple[Tensor, list]:
        return super().mean(token, rest, torch.zeros_like(reference))


class BlindToReference:
    """The same on the robot side."""

    def __init__(self, actor: Actor):
        self.actor, self.version = actor, actor.version

    def mean(self, state: np.ndarray, reference: np.ndarray) -> np.ndarray:
        return self.actor.mean(state, np.zeros_like(reference))


class LatencyUnaware(TransitionBuilder):
    """As if a chunk began at the observation it answers, while it is executed `method.delay` ticks later.

    What was committed meanwhile is no part of the state, and the reference is taken from its first step on.
    """

    def committed(self, commands: np.ndarray, position: np.ndarray) -> np.ndarray:
        return np.zeros(0, np.float32)

    def reference(self, seen: Seen) -> np.ndarray:
        return seen.reference[: self.method.chunk].astype(np.float32).ravel()
