"""Rules of a correct implementation, on actor, updates and what is stored; each fails where its rule is broken."""

from dataclasses import replace
from pathlib import Path

from driven import HOME, ROBOT, D, Drive, Shift, assembled, quiet
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import METHOD, SIZES, A, B, agent, batch, transition
import numpy as np
import pytest
import tiny_weights
import torch

from rlt_ros.bench.lockstep import LockStep
from rlt_ros.config import Task, load
from rlt_ros.control.kinematics import Kinematics, rotation_vector, skew
from rlt_ros.rl.actor_critic import ActorCritic
from rlt_ros.rl.learner import Learner, sizes_of
from rlt_ros.rl.policy import unpack
from rlt_ros.token.backend import TokenBackend
from rlt_ros.vla.builtin import BuiltinBackend
from rlt_ros.vla.pacing import Pacing
from rlt_ros.vla.proprioception import Proprioception
from rlt_ros.weights_files import file_hash, vla_hash

# --- 7: reference dropout ---


def dropout(chance: float, size: int = B) -> ActorCritic:
    made = agent(METHOD.model_copy(update={'reference_dropout': chance}))
    made.update(batch(size=size))
    return made


def test_rule_7_a_hidden_reference_is_hidden_as_a_whole_and_sample_by_sample() -> None:
    assert not dropout(1.0).actor.gradients['chunk'].any()
    assert dropout(0.0).actor.gradients['chunk'].any(2).all()
    made, hidden = agent(), []
    for i in range(60):  # one sample each: the gradient at the input tells which of its numbers were seen
        made.update(batch(i, size=1))
        seen = made.actor.gradients['chunk'][0].any(1)
        assert seen.all() or not seen.any(), 'all steps or none'
        hidden.append(not seen.any())
    assert 15 < sum(hidden) < 45
    mixed_up = 0
    for i in range(60):  # as many samples as numbers of a chunk: each sample shows one number, if it shows any
        made.update(replace(batch(i, size=A), reference=torch.eye(A)))
        seen = made.actor.gradients['chunk'][0].any(1)
        mixed_up += bool(seen.any() and not seen.all())
    assert mixed_up > 40, 'each for itself'


def test_rule_7_the_distance_is_to_the_whole_reference_although_it_is_hidden() -> None:
    made = ActorCritic(METHOD.model_copy(update={'reference_dropout': 1.0}), SIZES)
    made.update(batch())
    assert made.statistics['bc_distance'] == 0, 'the first policy is the reference, seen or not'
    assert dropout(1.0).statistics['bc_distance'] > 0


def test_rule_7_nothing_is_hidden_in_the_target_and_at_the_robot() -> None:
    b = batch()
    targets = [agent(METHOD.model_copy(update={'reference_dropout': p})).targets(b) for p in (0.0, 0.5, 1.0)]
    assert (targets[0] == targets[1]).all() and (targets[0] == targets[2]).all()
    learner = Learner(METHOD.model_copy(update={'reference_dropout': 1.0}), SIZES)
    learner.agent = agent(learner.method)
    data = learner.publish()
    policy = unpack(data.weights, 1, data.sha256, SIZES.state, A)
    state, reference = transition(0).state, transition(0).reference
    moved = policy.mean(state, reference + np.float32([1, 0, 0, 0])) - policy.mean(state, reference)
    assert (np.abs(moved[1:]) > 1e-4).all(), 'what the network makes of the reference, beyond passing it through'


# --- 8: updates per transition ---


def test_rule_8_updates_are_counted_by_transitions_and_not_by_chunks() -> None:
    drive = Drive(quiet(updates_per_transition=5.0, batch=4, first_updates=0), np.full(D, 1e-3))
    drive.ticks(0, 42)
    made = list(drive.transitions().values())
    learner = Learner(drive.method, sizes_of(made[0]))
    learner.begin()
    for t in made:
        learner.add(t, 'online')
    assert len(made) == 20, 'one every two ticks, although a chunk has four'
    assert learner.budget == 5 * 20


def test_rule_8_every_update_draws_a_new_batch() -> None:
    learner = Learner(METHOD.model_copy(update={'batch': 8}), SIZES)
    for number in range(50):
        learner.add(transition(number), 'online')
    drawn, update = [], learner.agent.update
    learner.agent.update = lambda b: (drawn.append(b.action.clone()), update(b))  # listens in
    for _ in range(5):
        learner.update()
    assert not any((one == other).all() for i, one in enumerate(drawn) for other in drawn[:i])


# --- 9: policy versions ---


def test_rule_9_new_weights_wait_for_the_next_chunk_and_transitions_name_theirs() -> None:
    drive = Drive(quiet(), np.full(D, 1e-3), Shift(version=1))
    drive.ticks(0, 9)
    drive.executor.actor = Shift(version=2, shift=-0.5)  # arrives within a chunk
    drive.ticks(9, 30)
    versions = [drive.executed[t].policy_version for t in range(2, 30)]
    assert versions == [1] * 12 + [2] * 16, 'decided at 8 with the old one: until 13'
    for t in range(10, 14):
        np.testing.assert_allclose(drive.executed[t].command, drive.asked[t], atol=1e-6)
    made = drive.transitions()
    assert [made[t].policy_version for t in range(0, 24, 2)] == [1] * 6 + [2] * 6


# --- 10: angles have no seam, chunks and stored windows shift together ---


def rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    k = skew(axis / np.linalg.norm(axis))
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


AXES = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array).filter(lambda axis: np.linalg.norm(axis) > 0.1)


@given(AXES, st.floats(-7, 7), AXES, st.floats(-0.1, 0.1))
@settings(max_examples=200, deadline=None)
def test_rule_10_a_small_rotation_is_small_wherever_it_begins(axis, angle, small_axis, small) -> None:
    start = rotation(axis, angle)
    nearest = angle - 2 * np.pi * np.round(angle / (2 * np.pi))  # the same rotation, at most half a turn
    if abs(nearest) < 3.1:
        np.testing.assert_allclose(rotation_vector(start), nearest * axis / np.linalg.norm(axis), atol=1e-7)
    end = rotation(small_axis, small) @ start
    np.testing.assert_allclose(
        rotation_vector(end @ start.T), small * small_axis / np.linalg.norm(small_axis), atol=1e-7
    )


@pytest.mark.parametrize('yaw', [-np.pi, np.pi, 0.0])
def test_rule_10_proprioception_has_no_jump_where_an_angle_wraps(yaw: float) -> None:
    """Wherever home is, at half a turn as well, features move as little as the joints do, behind a whole turn too."""
    turned = ROBOT.model_copy(update={'arms': [ROBOT.arms[0].model_copy(update={'base_yaw': yaw})]})
    kinematics = Kinematics(turned)
    home = HOME.copy()
    home[0] = np.pi  # the first joint is at the seam
    feel = Proprioception(kinematics, home)
    for joint in range(D - 1):
        swing = np.linspace(-0.2, 0.2, 81)
        rows = []
        for angle in swing:
            q = home.copy()
            q[joint] += angle
            command = q.copy()
            command[joint] = (q[joint] + 0.02 + np.pi) % (2 * np.pi) - np.pi  # the same joint angle, wrapped
            rows.append(feel.features(q, np.zeros(D), command))
        steps = np.abs(np.diff(rows, axis=0))
        assert steps.max() < 0.01, joint
        assert np.abs(np.array(rows)[:, 10:13]).max() < 0.021, 'commanded minus measured rotation'
        assert np.abs(rows[40][3:6]).max() < 1e-9, 'at home the rotation is none'


@given(st.integers(0, 8), st.integers(1, 4).map(lambda half: 2 * half))
@settings(max_examples=30, deadline=None)
def test_rule_10_the_stored_window_shifts_with_the_delay(delay: int, chunk: int) -> None:
    delay = min(delay, chunk)  # later chunks would replace those that have not begun
    drive = Drive(quiet(delay=delay, chunk=chunk), np.full(D, 1e-4))
    drive.ticks(0, 40)
    made = drive.transitions()
    decided = [made[t] for t in range(0, 40 - delay - chunk, chunk)]
    assert decided
    for t in decided:  # the VLA drives, so what is done at every tick is the reference for that tick
        np.testing.assert_allclose(t.action, t.reference, atol=2e-3)


# --- 11: VLA and encoder are frozen ---


def test_rule_11_learning_leaves_vla_and_encoder_as_they_are(tmp_path: Path) -> None:
    vla_file, token_file = tmp_path / 'vla', tmp_path / 'token'
    tiny_weights.save_token(token_file, ROBOT, tiny_weights.save_vla(vla_file, ROBOT))
    hashes = [file_hash(vla_file), file_hash(token_file)]
    vla = BuiltinBackend(vla_file, ROBOT)
    token = TokenBackend(token_file, vla.hash, vla.unit.hash)
    before = {(i, name): value.clone() for i, model in enumerate((vla.model, token.model))
              for name, value in model.state_dict().items()}  # fmt: skip
    task = load(Task, 'ethernet').model_copy(update={'time_limit': 0.4})
    method = quiet(batch=8, hidden=16, first_updates=20, replay_capacity=1000)
    runner = LockStep(ROBOT, task, method, vla, token, seed=0)
    learner = runner.learner(0)
    for mode in ('warmup', 'online'):
        for t in runner.episode(mode, every=True).transitions:
            learner.add(t, mode)
        if mode == 'warmup':
            learner.begin()
        while learner.budget > 0:
            learner.update()
        runner.use(learner)
    assert learner.agent.updates > 40 and not learner.check()
    for i, model in enumerate((vla.model, token.model)):
        assert not model.training and not any(p.requires_grad or p.grad is not None for p in model.parameters())
        for name, value in model.state_dict().items():
            assert (value == before[i, name]).all(), name
    assert [file_hash(vla_file), file_hash(token_file)] == hashes
    assert [vla_hash(vla_file), hashes[1]] == [vla.hash, token.hash]


# --- 12: the critical phase alone ---


@pytest.mark.parametrize('store_approach', [False, True])
def test_rule_12_nothing_of_the_approach_is_stored_unless_asked_for(store_approach: bool) -> None:
    made = assembled('success', approach=11, store_approach=store_approach)
    assert [t.tick for t in made] == list(range(0 if store_approach else 12, 38, 2))


@pytest.mark.parametrize('store_approach', [False, True])
def test_rule_12_nothing_of_the_approach_waits_for_the_vla_unless_asked_for(store_approach: bool) -> None:
    pacing = Pacing(100, 100, 10_000, store_approach)
    for phase, stamps in (('approach', range(0, 500, 20)), ('critical', range(500, 1000, 20))):
        pacing.episode(1, phase, 'online', stamps[0])
        decided = [stamp for stamp in stamps if pacing.offer(stamp, stamp)]
        assert decided == list(stamps[::5])
    pacing.episode(1, 'ended', 'online', 1000)
    first = 0 if store_approach else 500
    assert [item.stamp for item in pacing.backlog(100, 1000)] == [s for s in range(first, 1000, 20) if s % 100]
