"""Which action is due at a tick."""

import numpy as np
import pytest

from rlt_ros.control.chunks import ACTOR, HOLD, VLA, Chunk, ChunkSchedule


def chunk(sequence: int, first_tick: int, episode: int = 1) -> Chunk:
    """Four steps of the actor, then two of the VLA; every number tells its tick and its chunk."""
    ticks = first_tick + np.arange(6)[:, None] + 1000.0 * sequence
    return Chunk(episode, sequence, first_tick, ACTOR, 7, ticks[:4], ticks[4:])


def schedule(*chunks: Chunk) -> ChunkSchedule:
    made = ChunkSchedule()
    made.clear(episode=1, not_before=0)
    for one in chunks:
        assert made.offer(one, observed=one.first_tick, now=one.first_tick)
    return made


@pytest.mark.fault('underrun', "the rest of the VLA's reference, then a hold")
def test_after_the_action_comes_the_rest_of_the_reference_and_then_a_hold() -> None:
    made = schedule(chunk(1, 10))
    due = [made.due(tick) for tick in range(9, 18)]
    assert [d.source for d in due] == [HOLD, *[ACTOR] * 4, *[VLA] * 2, *[HOLD] * 2]
    assert [d.target[0] for d in due if d.target is not None] == [1010 + k for k in range(6)]
    assert [d.index for d in due] == [-1, 0, 1, 2, 3, 4, 5, -1, -1]
    assert [d.policy_version for d in due] == [0, 7, 7, 7, 7, 0, 0, 0, 0]


def test_the_chunk_in_flight_plays_on_until_the_next_one_begins() -> None:
    made = schedule(chunk(1, 10))
    assert made.offer(chunk(2, 14), observed=12, now=13)
    assert [made.due(t).target[0] for t in range(12, 17)] == [1012, 1013, 2014, 2015, 2016]
    assert made.offer(chunk(3, 18), observed=16, now=16)
    assert [made.due(t).target[0] for t in range(16, 20)] == [2016, 2017, 3018, 3019]


def test_a_chunk_that_has_not_begun_is_not_lost_to_one_that_begins_later() -> None:
    """Two decisions in quick succession, as at a handover: the second was made with the first one's ticks committed."""
    made = schedule(chunk(1, 10))
    assert made.offer(chunk(2, 14), observed=11, now=12)
    assert made.offer(chunk(3, 16), observed=13, now=13)
    assert [made.due(t).target[0] for t in range(12, 18)] == [1012, 1013, 2014, 2015, 3016, 3017]
    assert made.offer(chunk(4, 16), observed=14, now=14), 'for the same ticks the newest counts'
    assert [made.due(t).target[0] for t in range(14, 18)] == [2014, 2015, 4016, 4017]


@pytest.mark.fault('chunk-late', 'the steps that passed are left out, a chunk that is over is dropped and counted')
def test_a_chunk_that_comes_late_starts_in_its_middle_and_one_that_is_over_is_dropped() -> None:
    made = schedule()
    assert made.offer(chunk(1, 10), observed=8, now=12)
    assert made.due(12).index == 2
    assert not made.offer(chunk(2, 14), observed=12, now=18)
    assert made.dropped == {'foreign': 0, 'old': 0, 'late': 1, 'invalid': 0}
    assert made.due(18).source == HOLD


@pytest.mark.fault('chunk-foreign', 'dropped and counted')
@pytest.mark.fault('chunk-again', 'the newest counts, others are dropped and counted')
def test_old_duplicate_and_foreign_chunks_change_nothing() -> None:
    made = schedule(chunk(5, 10))
    wrong = ((chunk(5, 10), 10), (chunk(4, 12), 12), (chunk(6, 12, episode=2), 12), (chunk(6, 9), 9))
    for one, observed in wrong:  # the last is numbered as newer, and observed before
        assert not made.offer(one, observed, now=12)
    assert made.dropped == {'foreign': 1, 'old': 3, 'late': 0, 'invalid': 0}
    assert made.due(12).target[0] == 5012


@pytest.mark.fault('stamps', 'a chunk from the future is dropped')
def test_an_answer_to_what_nobody_can_have_seen_yet_is_dropped() -> None:
    made = schedule(chunk(5, 10))
    assert not made.offer(chunk(6, 500), observed=498, now=11)
    assert made.dropped['invalid'] == 1
    assert made.offer(chunk(7, 13), observed=11, now=11), 'the next one counts'


def test_after_clear_only_answers_to_newer_observations_count() -> None:
    made = schedule(chunk(5, 10))
    made.clear(episode=1, not_before=13)
    assert made.due(12).source == HOLD
    assert not made.offer(chunk(6, 14), observed=12, now=13)
    assert made.offer(chunk(7, 15), observed=13, now=13)
    assert made.due(15).target[0] == 7015
