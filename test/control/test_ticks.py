"""Ticks on an absolute clock."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from rlt_ros.control.ticks import DeadlineClock, Durations, Ticks, observation_ticks

PERIOD = 20_000_000
TICKS = Ticks(1_700_000_000_123_456_789, PERIOD)


@given(st.integers(-(10**12), 10**12))
def test_a_stamp_belongs_to_the_first_tick_that_is_not_earlier(offset: int) -> None:
    stamp = TICKS.start + offset
    tick = TICKS.at_or_after(stamp)
    assert TICKS.due(tick) - PERIOD < stamp <= TICKS.due(tick)


@given(st.integers(0, PERIOD - 1), st.lists(st.floats(-0.14, 0.14), min_size=2, max_size=50))
def test_jitter_keeps_observations_two_ticks_apart_wherever_they_fall_in_a_period(
    phase: int, jitter: list[float]
) -> None:
    stamps = TICKS.start + phase + 2 * PERIOD * np.arange(len(jitter)) + (np.array(jitter) * PERIOD).astype(np.int64)
    ticks = observation_ticks(stamps, TICKS)
    assert (np.diff(ticks) == 2).all()
    assert abs(ticks[0] - phase / PERIOD) < 1.5


def test_a_lost_observation_leaves_a_gap_and_a_drifting_camera_is_followed() -> None:
    stamps = TICKS.start + 5_000_000 + 2 * PERIOD * np.array([0, 1, 2, 5, 6])
    assert observation_ticks(stamps, TICKS).tolist() == [1, 3, 5, 11, 13]
    drifting = TICKS.start + np.array([round(k * 2.004 * PERIOD) for k in range(1000)])
    exact = (drifting - TICKS.start) / PERIOD
    late = observation_ticks(drifting, TICKS) - exact
    assert late.min() > -0.31 and late.max() < 1.31


@pytest.mark.fault('overrun', 'whole periods are skipped and counted, never caught up')
def test_late_ticks_are_counted_and_skipped_never_caught_up() -> None:
    clock = DeadlineClock(Ticks(1000, 100))
    woken = [clock.woke(now) for now in (1000, 1103, 1290, 1555, 1600, 1695, 3000)]
    assert woken == [(0, 0), (1, 3), (2, 90), (5, 55), (6, 0), (7, -5), (20, 0)]
    assert clock.missed == 2 + 12
    assert clock.wake_at() == 1000 + 21 * 100


def test_percentiles_are_of_the_last_durations_alone() -> None:
    durations = Durations(100)
    assert durations.percentiles(50, 100) == [0, 0]
    durations.add(9.0)
    assert durations.percentiles(50, 100) == [9, 9]
    for i in range(100):
        durations.add(i / 100)
    np.testing.assert_allclose(durations.percentiles(50, 99, 100), [0.495, 0.9801, 0.99])
