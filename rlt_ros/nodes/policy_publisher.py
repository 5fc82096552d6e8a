"""A saved actor on the learner's topics, for `rlt bench agreement`: nothing learns. No node of the graph."""

import hashlib
from pathlib import Path
import sys

import numpy as np
from pydantic import Field
from rclpy.node import Node

from rlt_ros.config import Strict
from rlt_ros.msg import LearnerStatus, Policy
from rlt_ros.ros.node import fill_array, run
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.qos import LATCHED, RELIABLE
from rlt_ros.weights_files import file_hash, path_of

PERIOD = 0.2  # s


class Parameters(Strict):
    robot: str = Field(default='bimanual', description='name of the robot, whose RL token the actor reads')
    actor: str = Field(default='', description='actor.safetensors of a run')


class PolicyPublisher(Node):
    def __init__(self):
        super().__init__('policy_publisher')
        parameters = declare(self, Parameters)
        data = Path(parameters.actor).read_bytes()
        policy = Policy(version=1, encoder_hash=file_hash(path_of('rl_token', parameters.robot)),
                        sha256=hashlib.sha256(data).hexdigest())  # fmt: skip
        policy.header.stamp = self.get_clock().now().to_msg()
        fill_array(policy, 'weights', np.frombuffer(data, np.uint8))
        self.policies = self.create_publisher(Policy, 'policy', LATCHED)
        self.policies.publish(policy)
        self.statuses = self.create_publisher(LearnerStatus, 'learner_status', RELIABLE(5))
        self.create_timer(PERIOD, lambda: self.statuses.publish(LearnerStatus(policy_version=1)))


def main() -> int:
    return run(PolicyPublisher)


if __name__ == '__main__':
    sys.exit(main())
