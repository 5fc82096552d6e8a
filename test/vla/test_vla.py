"""The built-in VLA: words, units, weights files, and that it learns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
import tiny_weights
import torch

from rlt_ros.config import RobotProfile, load
from rlt_ros.control.kinematics import Kinematics, home
from rlt_ros.data.dataset import Episode, Writer
from rlt_ros.errors import UserError
from rlt_ros.vla import normalisation, weights
from rlt_ros.vla.builtin import BuiltinBackend, Look
from rlt_ros.vla.examples import APPROACH_UNITS, GOAL_UNIT, Examples, from_episode, goal_rows, load_examples
from rlt_ros.vla.language import VOCABULARY, WORDS, tokenize
from rlt_ros.vla.proprioception import Proprioception
from rlt_ros.vla.train import VlaTraining, prepare, train

torch.set_num_threads(1)
ROBOT, TWO_ARMS = load(RobotProfile, 'single_arm'), load(RobotProfile, 'bimanual')
HOME, D = home(ROBOT), ROBOT.action_dim


def test_instructions_are_words_without_case_and_punctuation() -> None:
    tokens = tokenize('Plug it in!')
    assert tokens.shape == (WORDS,) and (tokens == tokenize('plug, IT in')).all()
    assert (tokens[3:] == 0).all() and (tokens[:3] > 0).all()
    assert (tokens != tokenize('pull it out')).any()
    long = tokenize('word ' * 100)
    assert (long > 0).all() and (long < VOCABULARY).all()
    assert (tokenize('') == 0).all() and (tokenize('日本') == 0).all()


def synthetic_examples(count: int = 40, episodes: int = 10) -> Examples:
    """What is to be done depends on how bright the picture is."""
    random = np.random.default_rng(0)
    bright = random.integers(0, 2, count)
    size = ROBOT.image_size
    images = bright[:, None, None, None, None] * 200 + random.integers(0, 50, (count, 1, size, size, 3))
    features = random.normal(0, 0.01, (count, 40))
    deltas = np.where(bright, 1.0, -1.0)[:, None, None] * np.linspace(0, 0.02, 10)[:, None] * np.ones(D)
    goal = np.where(bright, 1.0, -1.0)[:, None] * np.ones(4)
    return Examples(
        images=images.astype(np.uint8), words=np.tile(tokenize('plug it in'), (count, 1)), features=features,
        deltas=deltas.astype(np.float32), goal=goal.astype(np.float32), tip_in_socket=np.zeros((count, 3), np.float32),
        critical=np.ones(count, bool), known=np.ones((count, 10), bool), episode=np.arange(count) % episodes,
        instructions=['plug it in'],
    )  # fmt: skip


def test_units_are_those_of_the_examples() -> None:
    examples = synthetic_examples()
    _, unit = prepare(ROBOT, examples)
    assert (unit.scale >= normalisation.smallest_scale(ROBOT)).all() and (unit.scale > 0).all()
    standard = unit.proprioception(examples.features[~examples.held_out])
    assert np.abs(standard.mean(0)).max() < 1e-4 and standard.std(0).max() < 1.001
    assert np.abs(unit.proprioception(np.full(40, 1e9))).max() == normalisation.CLIP
    still = normalisation.fit(ROBOT, np.zeros((5, 40)), np.full(40, 0.01), np.zeros((5, 10, D)))
    assert np.isfinite(still.proprioception(np.zeros(40))).all() and (still.scale > 0).all(), 'joints that never move'


def test_training_examples_of_a_demonstration() -> None:
    t, stride = 6, 2
    position = np.tile(HOME, (t, 1)) + np.arange(t)[:, None] * 1e-3
    action = np.arange(t * stride, dtype=float).reshape(t, stride, 1) * np.ones(D)
    episode = Episode(np.zeros((t, 1, 96, 96, 3), np.uint8), position, np.zeros((t, D)), position + 1e-4, action,
                      np.zeros((t, 3)), np.ones(t, bool), np.zeros(t, bool), 'plug it in', True)  # fmt: skip
    kinematics = Kinematics(ROBOT)
    features, deltas, known, goal = from_episode(episode, kinematics, Proprioception(kinematics, HOME), horizon=5)
    assert known.all()
    assert features.shape == (t, 40) and deltas.shape == (t, 5, D) and goal.shape == (t, 4)
    np.testing.assert_allclose(deltas[2, :, 0] + position[2, 0], [4, 5, 6, 7, 8], atol=1e-5)
    np.testing.assert_allclose(deltas[5, :, 0] + position[5, 0], [10, 11, 11, 11, 11], atol=1e-5)
    assert np.abs(goal[-1]).max() < 1e-5 and np.abs(goal[0]).max() > 0.1
    # what it feels of contact: how far the tool is behind its command
    behind = kinematics.tool_positions(episode.command[0]) - kinematics.tool_positions(position[0])
    np.testing.assert_allclose(features[0, 7:10], behind[0], atol=1e-6)


def test_on_the_way_to_the_critical_phase_the_goal_is_the_next_grasp() -> None:
    t, kinematics = 9, Kinematics(ROBOT)
    position = np.tile(HOME, (t, 1)) + np.arange(t)[:, None] * 1e-3
    position[:, -1] = [0.02, 0.02, 0.016, 0.006, 0.006, 0.006, 0.006, 0.006, 0.006]
    critical = np.arange(t) >= 6
    zero = np.zeros((t, D))
    episode = Episode(np.zeros((t, 1, 96, 96, 3), np.uint8), position, zero, position, zero[:, None].repeat(2, 1),
                      np.zeros((t, 3)), critical, np.zeros(t, bool), 'plug it in', True)  # fmt: skip
    assert goal_rows(episode, kinematics).tolist() == [2, 2, 2, 5, 5, 5, 8, 8, 8]
    goal = from_episode(episode, kinematics, Proprioception(kinematics, HOME), 5)[3]
    points = np.array([kinematics.tool_positions(q)[0] for q in position])
    np.testing.assert_allclose(goal[0, :3], (points[2] - points[0]) / GOAL_UNIT[:3] / APPROACH_UNITS, rtol=1e-4)
    np.testing.assert_allclose(goal[6, :3], (points[8] - points[6]) / GOAL_UNIT[:3], rtol=1e-4)
    still = replace(episode, position=np.tile(HOME, (t, 1)))
    assert goal_rows(still, kinematics).tolist() == [5] * 6 + [8] * 3, 'a hand that does neither'
    trembling = replace(still, position=still.position + 1e-4 * (np.arange(t) % 2)[:, None])
    assert goal_rows(trembling, kinematics).tolist() == [5] * 6 + [8] * 3, 'nor is trembling a grasp'


def test_a_grasp_beside_the_part_is_nobodys_goal() -> None:
    """Where the person misses on purpose, and opens again: what they were on the way to is the grasp that follows."""
    t, kinematics = 9, Kinematics(ROBOT)
    position = np.tile(HOME, (t, 1))
    position[:, -1] = [0.02, 0.02, 0.002, 0.02, 0.02, 0.006, 0.006, 0.006, 0.006]
    straying, zero = (np.arange(t) == 1) | (np.arange(t) == 2), np.zeros((t, D))
    episode = Episode(np.zeros((t, 1, 96, 96, 3), np.uint8), position, zero, position, zero[:, None].repeat(2, 1),
                      np.zeros((t, 3)), np.arange(t) >= 7, straying, 'plug it in', True)  # fmt: skip
    assert goal_rows(episode, kinematics).tolist() == [4, 4, 4, 4, 4, 6, 6, 8, 8]


def test_nothing_is_learned_of_where_the_person_strays(tmp_path: Path) -> None:
    t, zero = 9, np.zeros((9, D))
    straying = (np.arange(t) == 4) | (np.arange(t) == 5)
    episode = Episode(np.zeros((t, 1, 96, 96, 3), np.uint8), zero, zero, zero, zero[:, None].repeat(2, 1),
                      np.zeros((t, 3)), np.ones(t, bool), straying, 'plug it in', True)  # fmt: skip
    kinematics = Kinematics(ROBOT)
    known = from_episode(episode, kinematics, Proprioception(kinematics, HOME), horizon=5)[2]
    assert known.sum(1).tolist() == [5, 5, 4, 2, 0, 0, 5, 5, 5], 'and nothing after it, which it led to'
    writer = Writer(tmp_path / 'set', ROBOT)
    for _ in range(10):
        writer.add(episode)
    writer.close()
    examples = load_examples([tmp_path / 'set'], ROBOT, horizon=5)
    assert len(examples.images) == 70 and examples.known[:, 0].all()


def test_it_learns_what_the_pictures_ask_for(tmp_path: Path) -> None:
    examples, losses = synthetic_examples(), []
    plan = VlaTraining(steps=30, batch=8)
    model, unit, curve = train(ROBOT, examples, plan, lambda _, point: losses.append(point))
    assert len(losses) == 30 and curve[-1]['step'] == 30
    for name in ('flow', 'goal'):
        first, last = (np.mean([p[name] for p in part]) for part in (losses[:5], losses[-5:]))
        assert last < 0.7 * first, name
    path = tmp_path / 'vla.safetensors'
    weights.save(path, model, unit, ROBOT.name, examples.instructions)
    backend = BuiltinBackend(path, ROBOT)
    looks = [Look(np.full((1, 96, 96, 3), value, np.uint8), HOME, np.zeros(D), HOME) for value in (25, 225)]
    result = backend.infer(looks, 'plug it in')
    assert result.prefix.shape == (2, 37, 128) and result.prefix.dtype == np.float16
    assert result.reference.shape == (2, 10, D) and np.isfinite(result.reference).all()
    assert result.reference[1, 9].mean() > result.reference[0, 9].mean() + 0.1, 'bright: up, dark: down'


def test_weights_come_back_as_they_were_and_frozen(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'vla.safetensors'
    model, unit = tiny_weights.vla(ROBOT)
    sha256 = weights.save(path, model, unit, ROBOT.name, ['plug it in'])
    back, back_unit = weights.load(path, ROBOT)
    assert weights.file_hash(path) == sha256 and back.sizes == model.sizes
    for name, value in model.state_dict().items():
        assert (back.state_dict()[name] == value).all()
    for name in normalisation.FIELDS:
        np.testing.assert_array_equal(getattr(back_unit, name), getattr(unit, name))
    assert not any(p.requires_grad for p in back.parameters()) and not back.training
    looks = [Look(np.zeros((1, 96, 96, 3), np.uint8), HOME, np.zeros(D), HOME)] * 2
    first, again = (BuiltinBackend(path, ROBOT, seed=3).infer(looks, 'plug it in') for _ in range(2))
    np.testing.assert_array_equal(first.reference, again.reference)
    assert np.abs(first.reference).max() <= normalisation.REFERENCE_LIMIT


def test_references_are_in_the_units_of_the_demonstrations_and_limited(tmp_path: Path) -> None:
    path = tmp_path / 'vla.safetensors'
    model, unit = tiny_weights.vla(ROBOT)
    mean = np.linspace(-60, 60, 20)[:, None] * np.ones(D)
    weights.save(
        path, model, replace(unit, chunk_mean=mean, chunk_deviation=np.zeros((20, D))), ROBOT.name, ['plug it in']
    )
    look = Look(np.zeros((1, 96, 96, 3), np.uint8), HOME, np.zeros(D), HOME)
    np.testing.assert_allclose(
        BuiltinBackend(path, ROBOT).infer([look], 'plug it in').reference[0], np.clip(mean, -40, 40), rtol=1e-6
    )


def refused(path: Path, robot: RobotProfile = ROBOT) -> str:
    with pytest.raises(UserError) as error:
        BuiltinBackend(path, robot)
    assert '\n' not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


def test_wrong_weights_files_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / 'vla.safetensors'
    assert 'does not exist; make it with: rlt train vla' in refused(path)
    tiny_weights.save_vla(path, ROBOT)
    assert 'robot bimanual has (3, 96, 14)' in refused(path, TWO_ARMS)
    data = path.read_bytes()
    for damaged in (b'', b'?', data[:100], data[:-1], data[:8] + b'x' * (len(data) - 8)):
        path.write_bytes(damaged)
        assert 'damaged' in refused(path)
    path.write_bytes(data)
    tensors, metadata = load_file(path), weights.read_tensors(path, 'vla')[1]
    for changes, message in (
        ({'kind': 'rl_token'}, 'is no vla file'),
        ({'sizes': '{"cameras": 1}'}, 'does not fit'),
        ({'sizes': '?'}, 'does not fit'),
    ):
        save_file(tensors, path, metadata | changes)
        assert message in refused(path)
    for missing in ('normalisation.scale', 'network.trunk.place'):
        save_file({k: v for k, v in tensors.items() if k != missing}, path, metadata)
        refused(path)
    fewer = {k: v[:-1] if k in ('normalisation.mean', 'normalisation.deviation') else v for k, v in tensors.items()}
    save_file(fewer, path, metadata)
    assert '13 pose features of 39, robot single_arm has 13 of 40; make it anew' in refused(path)
    save_file(tensors, path)
    assert 'kind: none' in refused(path)
    with pytest.raises(UserError, match='device "nonsense" is not available.*allowed: cpu, cuda'):
        BuiltinBackend(path, ROBOT, device='nonsense')
