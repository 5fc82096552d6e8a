"""Which observations the VLA looks at during an episode, and which after it."""

import pytest

from rlt_ros.vla.pacing import Pacing

MS = 1_000_000
CHUNK = 200 * MS


def at_25_hz(pacing: Pacing, start: int, stop: int, jitter: tuple[int, ...] = (0, 1, -1, 2, -2)) -> list[int]:
    """Offer an observation every 40 ms; the stamps (ms) of those to decide on."""
    decided = []
    for i, stamp in enumerate(range(start, stop, 40)):
        if pacing.offer((stamp + jitter[i % len(jitter)]) * MS, f'look {stamp}'):
            decided.append(stamp)
            assert pacing.decision[2] == f'look {stamp}'
    return decided


def paced(mode: str = 'online', store_approach: bool = False) -> Pacing:
    pacing = Pacing(CHUNK, store_approach)
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
    assert pacing.backlog(100) == []
    pacing.episode(1, 'ended', 'online', 700 * MS)
    batches = [pacing.backlog(4) for _ in range(5)]
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
    waiting = pacing.backlog(100)
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
    while batch := pacing.backlog(16):
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
    assert pacing.backlog(16) == []
