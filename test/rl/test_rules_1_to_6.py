"""Rules of a correct implementation, on transitions; each test fails where its rule is broken."""

from dataclasses import replace

from driven import PUSH, D, Drive, Shift, assembled, quiet
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import METHOD, B, C, agent, batch, mixed
import numpy as np
import pytest
import torch

from rlt_ros.control.chunks import ACTOR, VLA
from rlt_ros.rl.actor_critic import ActorCritic
from rlt_ros.rl.learner import sizes_of
from rlt_ros.rl.replay import Replay
from rlt_ros.rl.transitions import Ending, Seen, Step, Transition, TransitionBuilder

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
