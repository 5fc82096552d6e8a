"""Alignment by stamps: the nearest samples, nothing invented, stale when something is missing."""

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from rlt_ros.camera.sync import ObservationSync

MS = 1_000_000
PERIOD, SKEW, DELAY = 40 * MS, 20 * MS, 200 * MS
START = 1_000_000 * MS


def make(*sources):
    return ObservationSync(sources, PERIOD, SKEW, DELAY)


def drain(sync, now):
    found = []
    while aligned := sync.poll(now):
        found.append(aligned)
    return found


def started(*sources):
    """A sync that has said already that nothing came yet."""
    sync = make(*sources)
    assert [aligned.problem for aligned in drain(sync, START)] == [f'{sources[0]} is silent']
    return sync


def test_a_frame_waits_for_companions_with_the_same_stamp():
    sync = started('a', 'b', 'joints')
    assert sync.add('a', START + 5 * MS, 'A', START + 6 * MS) == ''
    assert drain(sync, START + 6 * MS) == []
    sync.add('b', START + 5 * MS, 'B', START + 7 * MS)
    sync.add('joints', START + 3 * MS, 'J3', START + 7 * MS)
    sync.add('joints', START + 13 * MS, 'J13', START + 13 * MS)
    (aligned,) = drain(sync, START + 13 * MS)
    assert {name: part.value for name, part in aligned.parts.items()} == {'a': 'A', 'b': 'B', 'joints': 'J3'}
    assert aligned.stamp == START + 5 * MS and not aligned.stale and abs(aligned.max_skew - 0.002) < 1e-9


def test_a_frame_does_not_wait_for_a_sample_that_would_be_farther_away():
    sync = started('a', 'joints')
    for t in (0, 10):
        sync.add('joints', START + t * MS, t, START + t * MS)
    sync.add('a', START + 14 * MS, 'A', START + 14 * MS)
    (aligned,) = drain(sync, START + 14 * MS)
    assert aligned.parts['joints'].value == 10


def test_a_companion_that_is_missing_or_too_far_is_told_after_the_wait():
    sync = started('a', 'b')
    sync.add('a', START + 1 * MS, 'A', START + 1 * MS)
    assert drain(sync, START + 20 * MS) == []
    (aligned,) = drain(sync, START + 21 * MS)
    assert aligned.problem == 'b is missing' and aligned.parts['b'] is None and aligned.max_skew == float('inf')
    sync.add('b', START + 10 * MS, 'B', START + 22 * MS)
    sync.add('a', START + 41 * MS, 'A', START + 41 * MS)
    (aligned,) = drain(sync, START + 61 * MS)
    assert aligned.problem == 'b is -31 ms away' and aligned.parts['b'].value == 'B'


def test_a_newer_frame_ends_the_wait_of_the_older_one():
    sync = started('a', 'b')
    sync.add('a', START + 1 * MS, 1, START + 30 * MS)
    sync.add('a', START + 41 * MS, 2, START + 41 * MS)
    assert [aligned.parts['a'].value for aligned in drain(sync, START + 41 * MS)] == [1]


def test_a_silent_first_camera_gives_stale_alignments_every_period_until_it_is_back():
    sync = started('a')
    sync.add('a', START + 1 * MS, 'A', START + 1 * MS)
    assert [aligned.stale for aligned in drain(sync, START + 1 * MS)] == [False]
    stale = [(t, aligned) for t in range(2, 300, 2) for aligned in drain(sync, START + t * MS)]
    times = [t for t, _ in stale]
    assert 90 <= times[0] <= 110 and all(38 <= b - a <= 42 for a, b in zip(times, times[1:], strict=False))
    assert all(aligned.problem == 'a is silent' and aligned.stamp == START + 1 * MS for _, aligned in stale)
    sync.add('a', START + 301 * MS, 'A', START + 301 * MS)
    assert [aligned.stale for aligned in drain(sync, START + 301 * MS)] == [False]


@pytest.mark.fault('stamps', 'frames without a stamp are refused')
def test_a_missing_stamp_is_refused_and_so_is_the_same_frame_again():
    sync = started('a')
    assert sync.add('a', 0, 'A', START) == 'no stamp'
    assert sync.add('a', START + MS, 'A', START + MS) == ''
    assert 'not newer' in sync.add('a', START + MS, 'A', START + 2 * MS)
    assert 'not newer' in sync.add('a', START, 'A', START + 2 * MS)


@pytest.mark.fault('stamps', 'frames of another time are marked stale')
def test_frames_of_another_time_are_stale():
    sync = started('a')
    sync.add('a', START - 300 * MS, 'old', START)
    sync.add('a', START + 300 * MS, 'future', START)
    assert [aligned.problem for aligned in drain(sync, START)] == [
        'a came 300 ms after its stamp',
        'a has a stamp in the future',
    ]


@pytest.mark.fault('clock', 'a camera whose clock was set back is heard again')
def test_a_driver_whose_clock_was_set_back_or_leapt_once_is_heard_again():
    for first in (START + 10_000 * MS, START + 3_600_000 * MS):
        sync = started('a', 'b')
        for source in ('b', 'a'):
            sync.add(source, first, 'before', START)
        drain(sync, START)
        for t in (1, 41, 81):
            for source in ('b', 'a'):
                assert sync.add(source, START + t * MS, t, START + t * MS) == ''
            (aligned,) = drain(sync, START + t * MS)
            assert not aligned.stale and aligned.parts['b'].value == t


def rate_out(camera_period_ms, seconds=4):
    sync = started('a')
    count = 0
    for i in range(int(seconds * 1000 / camera_period_ms)):
        t = START + int(i * camera_period_ms * MS)
        sync.add('a', t, i, t)
        count += sum(not aligned.stale for aligned in drain(sync, t))
    return count / seconds


def test_a_faster_camera_is_thinned_to_the_rate_and_a_slower_one_is_not():
    assert abs(rate_out(40) - 25) < 0.5
    assert abs(rate_out(20) - 25) < 0.5
    assert abs(rate_out(1000 / 30) - 25) < 1
    assert abs(rate_out(1000 / 15) - 15) < 0.5


def test_memory_is_bounded_by_time_and_number():
    sync = started('a', 'b')
    for i in range(5000):
        sync.add('b', START + i * MS, i, START)
    assert len(sync.sources['b'].samples) <= 300
    for i in range(5000):
        sync.add('b', START + 6000 * MS + i, i, START)
    assert len(sync.sources['b'].samples) <= 1100


SOURCES = ('a', 'b', 'joints')
arrivals = st.lists(
    st.tuples(
        st.sampled_from((*SOURCES, 'time passes')),
        st.integers(-60, 60) | st.sampled_from([-5000, 5000, -START // MS]),  # ms from now to the stamp
        st.integers(0, 45),  # ms until it comes
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(arrivals)
def test_whatever_comes_in_nothing_is_invented(events):
    sync, now, given_stamps = make(*SOURCES), START, {name: {} for name in SOURCES}
    for number, (source, offset, pause) in enumerate(events):
        now += pause * MS
        if source != 'time passes':
            stamp = now + offset * MS
            if not sync.add(source, stamp, number, now):
                given_stamps[source][number] = stamp
        for aligned in drain(sync, now):
            for name, part in aligned.parts.items():
                assert part is None or given_stamps[name][part.value] == part.stamp
            if not aligned.stale:
                assert aligned.stamp == aligned.parts['a'].stamp
                assert aligned.max_skew <= SKEW * 1e-9 + 1e-12
                assert -SKEW <= now - aligned.stamp <= DELAY


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 39),
    st.integers(2, 30),
    st.lists(st.integers(0, 3), min_size=12, max_size=12),
    st.randoms(use_true_random=False),
)
def test_regular_sources_give_every_frame_once_with_its_nearest_companions(phase, joint_period, jitter, random):
    """In whatever order samples of the same moment come: every frame, never stale, the nearest of what was there."""
    events = [(START + (40 * i + jitter[i]) * MS, 'a') for i in range(12)]
    events += [(START + (40 * i + phase) % 480 * MS, 'b') for i in range(12)]
    events += [(START + t * MS, 'joints') for t in range(0, 500, joint_period)]
    random.shuffle(events)
    events.sort(key=lambda event: event[0])
    sync, frames = make(*SOURCES), []
    for stamp, source in events:
        sync.add(source, stamp, stamp, stamp)
        frames += [aligned for aligned in drain(sync, stamp) if aligned.problem != 'a is silent']
    stamps = [aligned.stamp for aligned in frames]
    assert stamps == sorted(set(stamps)) and len(stamps) >= 11
    for aligned in frames[1:]:
        assert aligned.skew('joints') <= joint_period * 1e-3 / 2 + 1e-9
        assert abs(aligned.skew('b')) <= 0.022 or aligned.stale
