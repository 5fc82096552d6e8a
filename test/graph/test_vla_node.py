"""The VLA's node as a process: what it answers in which phase."""

import numpy as np
from robot_bench import HOME, PROFILE
from sensor_msgs.msg import Image
import tiny_weights
import torch

from rlt_ros.msg import EpisodeState, Observation, VlaOutput
from rlt_ros.ros.qos import LATCHED, RELIABLE
from rlt_ros.vla import weights
from rlt_ros.vla.approach import Approach
from rlt_ros.vla.builtin import BuiltinBackend, Look

D, SIZE = PROFILE.action_dim, PROFILE.image_size


def test_the_approach_never_answers_once_the_critical_phase_has_begun(bench, tmp_path):
    """It would here, had it its way: it takes every picture for one of the approach."""
    path, bare = tmp_path / 'vla.safetensors', tmp_path / 'bare.safetensors'
    network, unit = tiny_weights.vla(PROFILE)
    weights.save(bare, network, unit, PROFILE.name, ['plug it in'])
    network.approach = Approach(network.sizes)
    torch.nn.init.constant_(network.approach.turn_head.bias, 100.0)
    weights.save(path, network, unit, PROFILE.name, ['plug it in'])
    episode = bench.node.create_publisher(EpisodeState, 'episode_state', LATCHED)
    observation = bench.node.create_publisher(Observation, 'observation', RELIABLE(10))
    answers = bench.listen(VlaOutput, 'vla_output', RELIABLE(10))
    bench.start('vla_node', robot='single_arm', weights=str(path))
    bench.until(lambda: observation.get_subscription_count() and bench.node.count_publishers('/rlt/vla_output'))

    def answer(phase: str) -> tuple[np.ndarray, np.ndarray]:
        """The node's, and the bare VLA's, which has no approach."""
        episode.publish(EpisodeState(episode=1, phase=phase, mode='online'))
        bench.spin(0.5)  # the phase has arrived; the next observation is decided on at once
        answers.clear()
        black = [Image(height=SIZE, width=SIZE, encoding='rgb8', step=3 * SIZE, data=bytes(3 * SIZE * SIZE))
                 for _ in PROFILE.cameras]  # fmt: skip
        message = Observation(
            camera_names=[camera.name for camera in PROFILE.cameras], images=black, joint_names=PROFILE.joint_names,
            position=HOME.tolist(), velocity=[0.0] * D, command=HOME.tolist(), instruction='plug it in',
        )  # fmt: skip
        message.header.stamp.sec = 7
        observation.publish(message)
        heard = bench.until(lambda: answers and answers[-1])
        images = np.zeros((len(PROFILE.cameras), SIZE, SIZE, 3), np.uint8)
        look = Look(images, HOME, np.zeros(D), HOME, 7 * 10**9)
        wanted = BuiltinBackend(bare, PROFILE).infer([look], 'plug it in').reference[0]
        return np.array(heard.reference).reshape(wanted.shape), wanted

    there, bare_chunk = answer('approach')
    assert np.abs(there - bare_chunk).max() > 1e-2
    np.testing.assert_allclose(*answer('critical'), atol=1e-5)
