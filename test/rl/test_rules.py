"""The twelve rules of a correct implementation, each held by a test of its own that fails where it is broken."""

from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import METHOD, SIZES, A, B, C, agent, batch, mixed, transition
import numpy as np
import pytest
import tiny_weights
import torch

from rlt_ros.bench.lockstep import LockStep
from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.control.chunks import ACTOR, VLA
from rlt_ros.control.executor import Executed, Executor
from rlt_ros.control.kinematics import Kinematics, rotation_vector, skew
from rlt_ros.rl.actor_critic import ActorCritic
from rlt_ros.rl.assembly import Assembly
from rlt_ros.rl.learner import Learner, sizes_of
from rlt_ros.rl.policy import unpack
from rlt_ros.rl.replay import Replay
from rlt_ros.rl.transitions import Ending, Seen, Step, Transition, TransitionBuilder
from rlt_ros.token.backend import TokenBackend
from rlt_ros.vla.builtin import BuiltinBackend
from rlt_ros.vla.pacing import Pacing
from rlt_ros.vla.proprioception import Proprioception
from rlt_ros.weights_files import file_hash

ROBOT = load(RobotProfile, 'single_arm')
HOME = np.array([joint.home for joint in ROBOT.joints])
D = len(HOME)
PUSH = np.append(np.full(D - 1, 0.2), 0.05)  # rad/s, gripper: m/s


# --- a robot that is driven by the real executor, and what becomes of it ---


@dataclass
class Shift:
    """An actor that adds a constant to the reference."""

    version: int = 1
    shift: float = 0.5

    def mean(self, state: np.ndarray, reference: np.ndarray) -> np.ndarray:
        return reference + np.float32(self.shift)


@dataclass
class Drive:
    """An episode of the real executor, chunk by chunk, on a robot that is always where it was told to be."""

    method: Method
    scale: np.ndarray
    actor: Shift | None = None

    def __post_init__(self) -> None:
        self.executor = Executor(ROBOT, self.method, self.scale)
        self.executor.actor = self.actor
        self.executor.episode(1, 'critical', 'online', 0, HOME)
        self.seen: dict[int, Seen] = {}
        self.executed: dict[int, Executed] = {}
        self.asked: dict[int, np.ndarray] = {}  # what chunks wanted

    def ticks(self, start: int, stop: int, velocity: np.ndarray | None = None) -> None:
        executor, n = self.executor, self.method.delay
        for tick in range(start, stop):
            position = executor.filter.command.copy()
            if tick % 2 == 0:
                reference = np.random.default_rng(tick).normal(0, 0.3, (self.method.reference_horizon, D))
                self.seen[tick] = Seen(np.float32([tick, 1]), np.float32([tick]), np.float32(reference), position)
            if tick % self.method.chunk == 0:
                chunk = executor.choose(1, tick + 1, self.seen[tick], tick, tick)
                if chunk is not None:
                    self.asked |= {tick + n + i: row for i, row in enumerate(chunk.action)}
            self.executed[tick] = executor.tick(tick, position, velocity)

    def transitions(self, ending: Ending | None = None) -> dict[int, Transition]:
        steps = {t: Step(e.command, e.source, e.policy_version) for t, e in self.executed.items()}
        ending = ending or Ending(len(steps), False, True)
        builder = TransitionBuilder(self.method, self.scale, ROBOT.stride)
        return {t.tick: t for t in builder.build(self.seen, steps, ending)}


def quiet(**changes: object) -> Method:
    return Method(name='test', **{'chunk': 4, 'delay': 2, 'reference_horizon': 20, 'noise': 0.0, **changes})


# --- 1: the target's actor is given the reference at x' ---


def test_rule_1_the_target_reads_the_next_reference_and_not_the_current_one() -> None:
    b, other = mixed(), mixed(5)
    reference = agent().targets(b)
    assert (agent().targets(replace(b, reference=other.reference)) == reference).all()
    assert (agent().targets(replace(b, next_reference=other.next_reference)) != reference).any()


def test_rule_1_the_next_reference_is_that_of_the_observation_in_which_the_next_chunk_begins() -> None:
    drive = Drive(quiet(), np.full(D, 1e-3))
    drive.ticks(0, 40)
    made = drive.transitions()
    going_on = [t for t in made.values() if t.discount]
    assert len(going_on) > 10
    for t in going_on:
        assert (t.next_reference == made[t.tick + 4].reference).all() and (t.next_reference != t.reference).any()
        assert (t.next_state == made[t.tick + 4].state).all()


# --- 2: rewards and the value behind them are discounted by the steps that were really executed ---


@given(chunk=st.integers(1, 6).map(lambda half: 2 * half), delay=st.integers(0, 5), steps=st.integers(1, 40),
       discount=st.floats(0.5, 0.999))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_rule_2_chunks_in_a_row_add_up_to_the_return(chunk: int, delay: int, steps: int, discount: float) -> None:
    delay = min(delay, chunk)
    method = quiet(chunk=chunk, delay=delay, discount=discount)
    end = delay + steps
    seen = {t: Seen(*[np.zeros(1, np.float32)] * 2, np.zeros((20, 1), np.float32), np.zeros(1))
            for t in range(0, end, 2)}  # fmt: skip
    log = {t: Step(np.zeros(1), VLA, 0) for t in range(end)}
    made = {t.tick: t for t in TransitionBuilder(method, np.ones(1)).build(seen, log, Ending(end, True, True))}
    tick, weight, total, real = 0, 1.0, 0.0, 0
    while weight:
        total += weight * made[tick].reward
        assert made[tick].discount in (0, pytest.approx(discount ** made[tick].steps))
        weight *= made[tick].discount
        real += made[tick].steps
        tick += chunk
    assert real == steps and total == pytest.approx(discount ** (steps - 1))


def test_rule_2_the_value_is_weighed_with_the_discount_of_its_transition() -> None:
    b = replace(batch(), reward=torch.zeros(B))
    full, less, none = (agent().targets(replace(b, discount=torch.full((B,), d))) for d in (1.0, 0.5, 0.0))
    inside = (full > 0) & (full < 1)
    assert inside.sum() > B / 3 and not none.any()
    torch.testing.assert_close(less[inside], 0.5 * full[inside])


# --- 3: success and failure end the value, time does not ---


PERIOD = 20_000_000


def assembled(outcome: str, approach: int = 0, **changes: object) -> list[Transition]:
    """An episode of 40 ticks as the learner puts it together from messages; the first ones of the approach."""
    assembly = Assembly(TransitionBuilder(quiet(**changes), np.ones(1)))
    for tick in range(40):
        phase = 'approach' if tick < approach else 'critical'
        assembly.add_step(tick, tick * PERIOD, PERIOD, 1, phase, Step(np.array([float(tick)]), VLA, 0))
        if tick % 2 == 0:
            seen = Seen(np.float32([tick]), np.float32([0]), np.zeros((20, 1), np.float32), np.zeros(1))
            assembly.add_state(1, tick * PERIOD, seen, last=tick == 38)
    assembly.end(1, 40 * PERIOD, outcome, 'online', now=0.0)
    (finished,) = assembly.finished(np.inf)
    return finished.transitions


@pytest.mark.parametrize(('outcome', 'terminated', 'truncated'), [
    ('success', [34, 36], []), ('failure', [34, 36], []), ('timeout', [], [34]), ('abort', [], []),
])  # fmt: skip
def test_rule_3_ends_and_time_outs_are_told_apart(outcome: str, terminated: list, truncated: list) -> None:
    made = assembled(outcome)
    assert [t.tick for t in made if t.terminated] == terminated and [t.tick for t in made if t.truncated] == truncated
    for t in made:
        assert t.discount == (0 if t.terminated else pytest.approx(quiet().discount ** 4))
        assert (t.reward > 0) == (t.terminated and outcome == 'success')
    if truncated:
        assert made[-1].tick == 34 and made[-1].steps == 4, 'what has no value behind it is dropped'


def test_rule_3_no_value_follows_an_end() -> None:
    b = replace(batch(), discount=torch.zeros(B))
    other = batch(3)
    changed = replace(b, next_token=other.next_token, next_rest=other.next_rest, next_reference=other.next_reference)
    assert (agent().targets(b) == b.reward).all() and (agent().targets(changed) == b.reward).all()


# --- 4: what was not executed counts nothing ---


def actor_gradients(bc_weight: float, executed: torch.Tensor, human: torch.Tensor | None = None) -> dict:
    made = agent(METHOD.model_copy(update={'bc_weight': bc_weight}))
    human = torch.zeros(B, C) if human is None else human
    made.update(replace(batch(), executed=executed, human=human * executed))
    return made.actor.gradients.named


@pytest.mark.parametrize('driver', [0.0, 1.0], ids=['policy', 'person'])
def test_rule_4_padding_is_not_held_to_the_reference(driver: float) -> None:
    human, last = torch.full((B, C), driver), f'b{METHOD.layers}'
    nothing = torch.zeros(B, C)
    free, held = (actor_gradients(weight, nothing, human) for weight in (0.0, 50.0))
    for name, value in free.items():
        assert (value == held[name]).all(), name
    first = torch.ones(B, C)
    first[:, 1] = 0
    free, held = (actor_gradients(weight, first, human)[last].view(C, -1) for weight in (0.0, 50.0))
    assert (free[0] != held[0]).all() and (free[1] == held[1]).all()


def test_rule_4_padding_earns_nothing_and_is_marked_in_the_batch() -> None:
    *_, whole, part = assembled('success')
    assert (whole.steps, part.steps) == (4, 2)
    assert whole.reward == pytest.approx(quiet().discount ** 3) and part.reward == pytest.approx(quiet().discount)
    memory = Replay(quiet(replay_capacity=1000), sizes_of(part))
    memory.add(part, 'online')
    assert memory.sample(1).executed.tolist() == [[1, 1, 0, 0]]


# --- 5: what is stored is what the robot did, in the actor's units ---


def test_rule_5_without_filter_and_people_the_stored_action_is_the_actors_output() -> None:
    drive = Drive(quiet(), np.full(D, 1e-4), Shift())
    drive.ticks(0, 40)
    made = drive.transitions()
    decided = [made[t] for t in range(0, 36, 4)]
    for t in decided:
        np.testing.assert_allclose(t.action, t.reference + 0.5, atol=2e-3)


def test_rule_5_the_stored_action_is_what_filter_and_person_left_of_it() -> None:
    drive = Drive(quiet(), np.full(D, 0.05), Shift(shift=2.0))
    drive.ticks(0, 18)
    drive.ticks(18, 24, velocity=PUSH)
    drive.ticks(24, 48)
    clipped = [t for t, e in drive.executed.items() if t in drive.asked and e.flags and e.source == ACTOR]
    assert len(clipped) > 8, 'too far for the filter'
    made, off = drive.transitions(), 0
    for t in made.values():
        position = drive.seen[t.tick].position
        rows = t.action.reshape(4, D)
        for i in range(t.steps):
            tick = t.tick + 2 + i
            np.testing.assert_allclose(rows[i], (drive.executed[tick].command - position) / 0.05, atol=1e-5)
            if tick in clipped:
                off = max(off, np.abs(rows[i] - (drive.asked[tick] - position) / 0.05).max())
        assert t.human.tolist() == [18 <= t.tick + 2 + i < 24 and i < t.steps for i in range(4)]
    assert off > 1, 'not what the actor wanted'


# --- 6: a person's steps, in both modes ---


def taken_over(intervention: str) -> tuple[Drive, dict[int, Transition]]:
    drive = Drive(quiet(intervention=intervention), np.full(D, 1e-3), Shift())
    drive.ticks(0, 11)
    drive.ticks(11, 18, velocity=PUSH)
    drive.ticks(18, 40)
    return drive, drive.transitions()


@pytest.mark.parametrize('intervention', ['replace', 'keep'])
def test_rule_6_what_a_person_did_replaces_the_stored_reference_or_leaves_it(intervention: str) -> None:
    drive, made = taken_over(intervention)
    touched = 0
    for t in made.values():
        after = made.get(t.tick + 4)
        for name, tick, human in (
            ('reference', t.tick, t.human),
            ('next_reference', t.tick + 4, after.human if after and t.discount else None),
        ):
            if human is None:
                continue
            vla = drive.seen[tick].reference[2:6]
            did = np.array([drive.executed[min(tick + 2 + i, 39)].command for i in range(4)])
            did = (did - drive.seen[tick].position) / 1e-3
            expected = np.where(human[:, None], did, vla) if intervention == 'replace' else vla
            np.testing.assert_allclose(getattr(t, name).reshape(4, D), expected, atol=1e-4)
            touched += human.any()
    assert touched > 8
    assert {''.join('-h'[int(h)] for h in t.human) for t in made.values()} >= {'---h', 'hhhh', 'hh--', '----'}


@pytest.mark.parametrize('intervention', ['replace', 'keep'])
def test_rule_6_the_actor_is_pulled_to_the_person_step_by_step(intervention: str) -> None:
    _, made = taken_over(intervention)
    method = quiet(intervention=intervention, batch=32, bc_weight=100.0, hidden=32, learning_rate=3e-3,
                   reference_dropout=0.0, critic_updates_per_actor_update=1, replay_capacity=1000)  # fmt: skip
    some = made[10]  # a person drove in its steps 0 to 3
    some = replace(some, human=np.array([True, True, False, False]))
    memory, learner = Replay(method, sizes_of(some)), ActorCritic(method, sizes_of(some))
    memory.add(some, 'online')
    b = memory.sample(32)
    did, vla = some.action.reshape(4, D), some.reference.reshape(4, D)
    if intervention == 'keep':
        assert np.abs(did - vla).min(1).max() > 0.05
    learner.update(b)
    first = learner.statistics['bc_distance']
    assert first == pytest.approx(((did - vla)[:2] ** 2).sum(), rel=1e-3, abs=1e-9), 'at first the policy is the VLA'
    for _ in range(400):
        learner.update(b)
    mean = learner.mean(b.token, b.rest, b.reference)[0][0].reshape(4, D).numpy()
    np.testing.assert_allclose(mean, np.concatenate([did[:2], vla[2:]]), atol=0.1)


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
    hashes = [tiny_weights.save_vla(vla_file, ROBOT)]
    hashes.append(tiny_weights.save_token(token_file, ROBOT, hashes[0]))
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
    assert [file_hash(vla_file), file_hash(token_file)] == hashes == [vla.hash, token.hash]


# --- 12: the critical phase alone ---


@pytest.mark.parametrize('store_approach', [False, True])
def test_rule_12_nothing_of_the_approach_is_stored_unless_asked_for(store_approach: bool) -> None:
    made = assembled('success', approach=11, store_approach=store_approach)
    assert [t.tick for t in made] == list(range(0 if store_approach else 12, 38, 2))


@pytest.mark.parametrize('store_approach', [False, True])
def test_rule_12_nothing_of_the_approach_waits_for_the_vla_unless_asked_for(store_approach: bool) -> None:
    pacing = Pacing(100, store_approach)
    for phase, stamps in (('approach', range(0, 500, 20)), ('critical', range(500, 1000, 20))):
        pacing.episode(1, phase, 'online', stamps[0])
        decided = [stamp for stamp in stamps if pacing.offer(stamp, stamp)]
        assert decided == list(stamps[::5])
    pacing.episode(1, 'ended', 'online', 1000)
    first = 0 if store_approach else 500
    assert [item.stamp for item in pacing.backlog(100)] == [s for s in range(first, 1000, 20) if s % 100]
