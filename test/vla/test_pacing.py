"""Which observations the VLA looks at during an episode, and which after it."""

import pytest

from rlt_ros.vla.pacing import Pacing

MS = 1_000_000
CHUNK = 200 * MS
ROOM, PATIENCE = 3000, 4000 * MS


def at_25_hz(pacing: Pacing, start: int, stop: int, jitter: tuple[int, ...] = (0, 1, -1, 2, -2)) -> list[int]:
    """Offer an observation every 40 ms; the stamps (ms) of those to decide on."""
    decided = []
    for i, stamp in enumerate(range(start, stop, 40)):
        if pacing.offer((stamp + jitter[i % len(jitter)]) * MS, f'look {stamp}'):
            decided.append(stamp)
            assert pacing.decision[2] == f'look {stamp}'
    return decided


def paced(mode: str = 'online', store_approach: bool = False) -> Pacing:
    pacing = Pacing(CHUNK, ROOM, PATIENCE, store_approach)
    pacing.episode(1, 'reset', mode, 0)
    assert not pacing.offer(0, 'unwanted')
    pacing.episode(1, 'approach', mode, 0)
    return pacing


def test_one_decision_per_chunk_in_spite_of_jitter_and_at_once_in_a_new_phase() -> None:
    pacing = paced()
    assert at_25_hz(pacing, 0, 1000) == [0, 200, 400, 600, 800]
    pacing.episode(1, 'critical', 'online', 1000 * MS)
    assert at_25_hz(pacing, 1000, 1500) == [1000, 1200, 1400]
    pacing.episode(1, 'critical', 'online', 1500 * MS)  # said again: no new phase
    assert at_25_hz(pacing, 1520, 1600) == []


def test_after_a_lost_observation_the_next_one_decides() -> None:
    pacing = paced()
    at_25_hz(pacing, 0, 180)
    assert pacing.offer(240 * MS, 'late')


def test_all_other_looks_of_the_critical_phase_come_after_its_end_in_order_and_the_last_says_so() -> None:
    pacing = paced()
    at_25_hz(pacing, 0, 200)
    pacing.episode(1, 'critical', 'online', 200 * MS)
    decided = at_25_hz(pacing, 200, 800)
    assert pacing.backlog(100, 0) == []
    pacing.episode(1, 'ended', 'online', 700 * MS)
    batches = [pacing.backlog(4, 0) for _ in range(5)]
    assert [len(batch) for batch in batches] == [4, 4, 2, 0, 0]
    waiting = [item for batch in batches for item in batch]
    stamps = [int(item.look.split()[1]) for item in waiting]
    assert stamps == [s for s in range(200, 681, 40) if s not in decided], 'of the approach none, after the end none'
    assert [item.last for item in waiting] == [False] * 9 + [True]
    sequences = [item.sequence for item in waiting]
    assert sequences == sorted(set(sequences)) and {item.episode for item in waiting} == {1}


def test_where_the_approach_is_stored_its_looks_come_too() -> None:
    pacing = paced(store_approach=True)
    decided = at_25_hz(pacing, 0, 400)
    pacing.episode(1, 'critical', 'online', 400 * MS)
    decided += at_25_hz(pacing, 400, 800)
    pacing.episode(1, 'ended', 'online', 800 * MS)
    waiting = pacing.backlog(100, 0)
    assert [int(item.look.split()[1]) for item in waiting] == [s for s in range(0, 800, 40) if s not in decided]
    assert [item.last for item in waiting] == [False] * (len(waiting) - 1) + [True]


def test_while_an_arm_moves_the_backlog_comes_in_small_portions() -> None:
    pacing = paced('warmup')
    pacing.episode(1, 'critical', 'warmup', 0)
    at_25_hz(pacing, 0, 400)
    pacing.episode(1, 'ended', 'warmup', 400 * MS)
    pacing.episode(2, 'critical', 'warmup', 500 * MS)
    assert at_25_hz(pacing, 500, 540) == [500]
    sizes = []
    while batch := pacing.backlog(16, 0):
        sizes.append(len(batch))
        assert {item.episode for item in batch} == {1}
    assert sizes == [2, 2, 2, 2]


@pytest.mark.parametrize('store_approach', [False, True])
def test_nothing_waits_for_an_evaluation(store_approach: bool) -> None:
    pacing = paced('evaluation', store_approach)
    assert at_25_hz(pacing, 0, 200) == [0]
    pacing.episode(1, 'critical', 'evaluation', 0)
    assert at_25_hz(pacing, 0, 500) == [0, 200, 400]
    pacing.episode(1, 'ended', 'evaluation', 500 * MS)
    assert pacing.backlog(16, 0) == []


def run(cost: int, episodes: int) -> tuple[list[int], list[tuple[int, int]], Pacing]:
    """Episodes of 9 s and a second between them, with a VLA that takes `cost` ms for each look.

    Returns how many looks were held after each; of those that were taken while the next one was under way, the
    episode and the ms since its end; and the pacing.
    """
    pacing, free = Pacing(CHUNK, ROOM, PATIENCE), 0
    held, late = [], []
    for number in range(1, episodes + 1):
        start = 10_000 * number
        for phase, begin, end in (('critical', start, start + 9000), ('ended', start + 9000, start + 10_000)):
            pacing.episode(number, phase, 'online', begin * MS)
            for now in range(begin, end, 20):
                if now % 40 == 0 and pacing.offer(now * MS, 'look'):
                    free = max(free, now) + cost
                if free <= now:
                    batch = pacing.backlog(8, now * MS)
                    free = now + cost * len(batch)
                    late += [(item.episode, now - item.ended // MS) for item in batch if phase == 'critical']
        held.append(len(pacing.waiting) + len(pacing.ready))
    return held, late, pacing


def test_a_vla_slower_than_the_data_drops_what_comes_too_late_and_says_how_much() -> None:
    held, late, pacing = run(cost=100, episodes=40)
    one_episode = 9 * 25 * 4 // 5  # a fifth is decided on
    assert max(held) <= one_episode, 'it does not grow'
    assert max(ms for _, ms in late) <= PATIENCE // MS, 'what it looks at is still wanted'
    assert {episode for episode, _ in late} == set(range(1, 40)), 'and it looks at some of each episode'
    assert 0 < pacing.dropped < 40 * one_episode


def test_a_vla_that_keeps_up_drops_nothing() -> None:
    _, _, pacing = run(cost=10, episodes=10)
    assert pacing.dropped == 0


def test_an_episode_longer_than_there_is_room_for_keeps_the_newest() -> None:
    pacing = Pacing(CHUNK, 10, PATIENCE)
    pacing.episode(1, 'critical', 'online', 0)
    at_25_hz(pacing, 0, 800)  # 16 wait
    assert pacing.dropped == 6
    pacing.episode(1, 'ended', 'online', 800 * MS)
    pacing.episode(2, 'critical', 'online', 900 * MS)
    at_25_hz(pacing, 900, 1100)  # 4 wait: what is left of the older episode goes first
    assert pacing.dropped == 10
    pacing.episode(2, 'ended', 'online', 1100 * MS)
    waiting = pacing.backlog(100, 1200 * MS)
    assert [item.episode for item in waiting] == [1] * 6 + [2] * 4
    assert [item.last for item in waiting] == [False] * 5 + [True] + [False] * 3 + [True]


def test_while_nothing_else_begins_the_backlog_has_time() -> None:
    pacing = paced()
    pacing.episode(1, 'critical', 'online', 0)
    at_25_hz(pacing, 0, 400)
    pacing.episode(1, 'ended', 'online', 400 * MS)
    assert len(pacing.backlog(4, 50_000 * MS)) == 4 and pacing.dropped == 0
