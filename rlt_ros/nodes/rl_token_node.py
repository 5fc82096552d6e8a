"""The frozen RL-token encoder: prefix embeddings in, RL states out."""

import sys
import time

import numpy as np
from pydantic import Field

from rlt_ros.config import RobotProfile, load
from rlt_ros.msg import RlState, VlaOutput
from rlt_ros.ros.lifecycle import Managed, ManagedNode
from rlt_ros.ros.node import fill_array, read_array, run, stamp_to_ns
from rlt_ros.ros.qos import RELIABLE, STORED
from rlt_ros.token.backend import TokenBackend
from rlt_ros.vla import normalisation
from rlt_ros.weights_files import path_of, vla_hash


class Parameters(Managed):
    robot: str = Field(default='bimanual', description='robot profile, name or path')
    weights: str = Field(default='', description="weights file; empty: the robot's own")
    vla_weights: str = Field(
        default='', description="the VLA's weights file, whose hash must fit; empty: the robot's own"
    )
    device: str = Field(default='cpu', description='cpu or cuda')


class RlTokenNode(ManagedNode):
    Parameters = Parameters

    def __init__(self):
        super().__init__('rl_token_node')

    def configure(self, parameters: Parameters) -> None:
        profile = load(RobotProfile, parameters.robot)
        path = path_of('rl_token', profile.name, parameters.weights)
        vla = path_of('vla', profile.name, parameters.vla_weights)
        self.vla_hash = vla_hash(vla)
        self.token = TokenBackend(path, self.vla_hash, normalisation.read(vla).hash, parameters.device)
        sizes = self.token.model.sizes
        self.shape = (sizes.tokens, sizes.width)
        for _ in range(3):
            self.token.encode(np.zeros((1, *self.shape), np.float16))
        self.create_subscription(VlaOutput, 'vla_output', self.on_output, RELIABLE(10))
        self.create_subscription(VlaOutput, 'vla_output_backfill', self.on_output, STORED)
        self.get_logger().info(f'RL token {self.token.hash[:12]} ready')

    def activate(self) -> None:
        self.publisher = self.create_publisher(RlState, 'rl_state', RELIABLE(10))
        self.backfill_publisher = self.create_publisher(RlState, 'rl_state_backfill', STORED)

    def release(self) -> None:
        self.token = None

    def on_output(self, message: VlaOutput) -> None:
        if not self.active:
            return
        if message.vla_hash != self.vla_hash:
            self.get_logger().error(
                f'VLA {message.vla_hash[:12]} is not the one this encoder was trained on ({self.vla_hash[:12]})',
                throttle_duration_sec=5.0,
            )
            return
        try:
            prefix = read_array(message, 'prefix', (message.num_tokens, message.token_dim), np.float16)
            z = self.token.encode(prefix[None])[0]
        except ValueError as error:
            self.get_logger().error(f'VLA output dropped: {error}', throttle_duration_sec=1.0)
            return
        if not np.isfinite(z).all():
            self.get_logger().error('VLA output dropped: the token is not finite', throttle_duration_sec=1.0)
            return
        state = RlState(
            header=message.header, episode=message.episode, sequence=message.sequence, encoder_hash=self.token.hash,
            horizon=message.horizon, action_dim=message.action_dim, backfill=message.backfill, last=message.last,
            proprioception=message.proprioception, reference=message.reference, position=message.position,
            latency=(time.time_ns() - stamp_to_ns(message.header.stamp)) * 1e-9,
        )  # fmt: skip
        fill_array(state, 'token', z)
        (self.backfill_publisher if message.backfill else self.publisher).publish(state)


def main() -> int:
    return run(RlTokenNode)


if __name__ == '__main__':
    sys.exit(main())
