"""RLT without one of its parts: what the learner and the robot see then."""

from pathlib import Path

import numpy as np
import pytest
import tiny_weights
import torch

from rlt_ros import cli
from rlt_ros.bench.image_encoder import SIZE, ImageEncoder
from rlt_ros.bench.lockstep import LockStep, open_lockstep
from rlt_ros.bench.parts import RLT, Parts
from rlt_ros.bench.variations import ABLATIONS, VARIATIONS, varied
from rlt_ros.config import Method, RobotProfile, Task, check_fit, load
from rlt_ros.control.chunks import ACTOR, HOLD
from rlt_ros.data.dataset import Episode, Writer
from rlt_ros.errors import UserError
from rlt_ros.token.backend import TokenBackend
from rlt_ros.vla.builtin import BuiltinBackend
from rlt_ros.vla.examples import HELD_OUT

torch.set_num_threads(1)
ROBOT = load(RobotProfile, 'single_arm')
TASK = load(Task, 'ethernet').model_copy(update={'time_limit': 0.5})
METHOD = Method(name='test', chunk=4, delay=2, hidden=16, batch=8, first_updates=5,
                warmup_episodes=1)  # fmt: skip
D = ROBOT.action_dim


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('weights')
    tiny_weights.save_token(folder / 'token', ROBOT, tiny_weights.save_vla(folder / 'vla', ROBOT))
    return folder


def made(weights: Path, parts: Parts, profile: RobotProfile = ROBOT, method: Method = METHOD) -> LockStep:
    vla = BuiltinBackend(weights / 'vla', profile)
    token = TokenBackend(weights / 'token', vla.hash, vla.unit.hash)
    return LockStep(profile, TASK, method, vla, token, 0, parts=parts)


def learned(runner: LockStep) -> tuple:
    """A warm-up episode, ten updates, and an episode of the actor."""
    learner = runner.learner(0)
    result = runner.episode('warmup', every=True)
    for transition in result.transitions:
        learner.add(transition, 'warmup')
    learner.begin()
    for _ in range(10):
        learner.update()
    runner.use(learner)
    return learner, result.transitions, runner.episode('online', every=True).transitions


def test_without_pass_through_the_actor_does_not_depend_on_the_reference(weights: Path) -> None:
    method = METHOD.model_copy(update={'reference_dropout': 1.0})
    runner = made(weights, Parts(pass_through=False), method=method)
    learner, stored, _ = learned(runner)
    state, reference = stored[0].state, stored[0].reference
    assert np.abs(reference).max() > 0
    mean = runner.executor.actor.mean(state, reference)
    assert (mean == runner.executor.actor.mean(state, -reference)).all() and (mean != 0).any()
    fresh = runner.learner(0)
    assert (learner.agent.actor.weights['chunk'] == fresh.agent.actor.weights['chunk']).all(), 'they are of no use'
    assert (learner.agent.actor.weights['rest'] != fresh.agent.actor.weights['rest']).any()
    own = [torch.from_numpy(part)[None] for part in (state[:16], state[16:], reference)]
    np.testing.assert_allclose(learner.agent.mean(*own)[0][0], mean, atol=1e-5)
    usual = made(weights, RLT)
    usual.use(usual.learner(0))
    assert (usual.executor.actor.mean(state, reference) == reference).all(), 'with it, it begins as the VLA'


def test_without_latency_awareness_the_state_is_shorter_and_the_reference_not_shifted(weights: Path) -> None:
    usual, unaware = made(weights, RLT), made(weights, Parts(latency_aware=False))
    assert usual.sizes.rest - unaware.sizes.rest == METHOD.delay * D
    _, stored, online = learned(unaware)
    assert len(stored) == len(online) == 10 and len(stored[0].state) == unaware.sizes.state
    shifted = usual.episode('warmup', every=True).transitions[0]
    # from the same start the same VLA chunk: its steps 2 to 6 for the one, 0 to 4 for the other
    np.testing.assert_allclose(stored[0].reference[METHOD.delay * D :], shifted.reference[: -METHOD.delay * D])
    sources = []
    tick = unaware.executor.tick
    unaware.executor.tick = lambda *arguments: sources.append(tick(*arguments)) or sources[-1]  # listens in
    unaware.episode('online')
    assert [s.source for s in sources[:3]] == [HOLD, HOLD, ACTOR], 'executed as late as ever'


def test_every_ablation_fits_the_robot_and_one_without_chunks_runs(weights: Path) -> None:
    for name in ABLATIONS:
        if not VARIATIONS[name].weights_needed:
            profile, method, _ = varied('bimanual', 'rlt', name)
            check_fit(profile, method)
    profile, method, parts = varied('single_arm', 'rlt', 'no-chunk')
    assert (profile.observation_rate, method.chunk, method.stride, parts) == (50.0, 1, 1, RLT)
    small = METHOD.model_copy(update={'chunk': method.chunk, 'stride': method.stride, 'delay': method.delay})
    _, stored, online = learned(made(weights, RLT, profile, small))
    assert [t.tick for t in online] == list(range(24)), 'a transition at every tick but the last, which has no next'
    assert all(len(t.action) == D and t.steps == 1 for t in stored)


def test_weights_must_fit_the_variation(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='"no-context-dropout" needs weights of rlt train token --context-dropout 0'):
        varied('bimanual', 'rlt', 'no-context-dropout')
    with pytest.raises(UserError, match='"no-bc" takes no weights'):
        varied('bimanual', 'rlt', 'no-bc', str(tmp_path))
    wrong = tmp_path / 'wrong.safetensors'
    wrong.write_bytes(b'nothing')
    with pytest.raises(UserError, match='is no image encoder for robot single_arm.*make one with: rlt bench encoder'):
        ImageEncoder(ROBOT, str(wrong))


def test_the_image_encoder_is_trained_by_one_command(tmp_path: Path) -> None:
    profile, random = load(RobotProfile, 'bimanual'), np.random.default_rng(0)
    writer, home = Writer(tmp_path / 'data', profile), np.array([joint.home for joint in profile.joints])
    for _ in range(HELD_OUT):
        position = home + random.normal(0, 1e-3, (4, len(home)))
        writer.add(Episode(
            images=random.integers(0, 256, (4, 3, 96, 96, 3), np.uint8), position=position, velocity=0 * position,
            command=position, action=np.repeat(position[:, None], 2, 1), tip_in_socket=np.zeros((4, 3)),
            critical=np.ones(4, bool), straying=np.zeros(4, bool), instruction='plug it in', success=True,
        ))  # fmt: skip
    writer.close()
    out = tmp_path / 'encoder.safetensors'
    words = ['bench', 'encoder', '--dataset', str(tmp_path / 'data'), '--out', str(out), '--steps', '2', '--batch', '4']
    assert cli.main([*words, '--every', '1']) == 0
    assert ImageEncoder(profile, str(out)).trained


def test_random_image_encoder_is_the_same_each_time_and_sees_the_pictures() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (3, len(ROBOT.cameras), ROBOT.image_size, ROBOT.image_size, 3), np.uint8)
    one, other = ImageEncoder(ROBOT), ImageEncoder(ROBOT)
    for encoder in (one, other):
        encoder.network.standardise(images)
    found = one.encode(images)
    assert found.shape == (3, SIZE) and found.dtype == np.float32 and (found == other.encode(images)).all()
    np.testing.assert_allclose(found.std(0, ddof=1), 1.0, rtol=1e-2)
    assert 4e6 < sum(p.numel() for p in one.network.blocks.parameters()) < 6e6, 'the size of a ResNet-10'


def test_a_random_encoder_says_the_same_in_a_critical_phase_and_in_the_whole_task() -> None:
    """RLT goes over from the one to the other with the networks that it has."""
    robot, whole = load(RobotProfile, 'bimanual'), load(Task, 'ethernet_full').model_copy(update={'time_limit': 0.3})
    encoders = [open_lockstep(robot, task, load(Method, 'rlt'), 0, parts=Parts(sees='images')).token
                for task in (whole.alone(), whole)]  # fmt: skip
    images = np.random.default_rng(0).integers(0, 256, (2, len(robot.cameras), 96, 96, 3)).astype(np.uint8)
    one, other = (encoder.encode(images) for encoder in encoders)
    np.testing.assert_array_equal(one, other)
