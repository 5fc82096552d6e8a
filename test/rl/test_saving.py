"""When the learner node saves: after updates, and not while it only waits."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from rlt_ros.config import Method
from rlt_ros.nodes.learner_node import LearnerNode
from rlt_ros.rl.learner import Learner
from rlt_ros.rl.networks import Sizes
from rlt_ros.rl.transitions import Transition

METHOD = Method(name='test', hidden=16, batch=4, chunk=2, delay=0, first_updates=3)


@pytest.mark.parametrize(('learning', 'saved'), [(False, 0), (True, 1)])
def test_a_checkpoint_is_of_updates_and_none_is_written_in_the_warm_up(learning: bool, saved: int) -> None:
    learner, written = Learner(METHOD, Sizes(2, 2, 4)), []
    zeros = dict.fromkeys(('state', 'reference', 'action', 'next_state', 'next_reference'), np.zeros(4, np.float32))
    for tick in range(8):
        learner.add(Transition(
            **zeros, reward=0.0, discount=0.0, token=2, steps=2, human=np.zeros(2, bool), terminated=True,
            truncated=False, policy_version=0, tick=tick), 'warmup')  # fmt: skip
    if learning:
        learner.begin()
    node = SimpleNamespace(
        collect=lambda now: None, learner=learner, method=METHOD, busy=0.0, encoder_hash='', published_at=0.0,
        published_updates=-1, checkpoint='there', checkpoint_at=-math.inf, save=lambda: written.append(learner),
    )  # fmt: skip
    for _ in range(3):
        LearnerNode.on_timer(node)
        node.checkpoint_at = -math.inf  # it is time again
    assert len(written) == saved and (node.busy > 0) == learning
