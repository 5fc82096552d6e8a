"""Percentiles without keeping the numbers."""

import json

from hypothesis import given
from hypothesis import strategies as st
import numpy as np

from rlt_ros.monitor.histogram import Histogram


@given(st.lists(st.floats(2e-6, 10.0), min_size=1, max_size=300), st.sampled_from([50, 99]))
def test_percentiles_are_right_to_two_percent(durations, percent):
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    exact = np.percentile(durations, percent, method='inverted_cdf')
    assert exact * 0.999 <= histogram.percentile(percent) <= exact * 1.021
    assert histogram.largest == max(durations)


def test_nothing_negative_endless_and_no_number():
    histogram = Histogram()
    assert histogram.percentile(50) is None
    for duration in (float('nan'), float('inf'), -1.0, 0.0, 1e9):
        histogram.add(duration)
    assert histogram.percentile(50) == 1e-6 and histogram.largest == 1e9


def test_goes_on_from_what_was_written():
    histogram = Histogram()
    for duration in np.linspace(1e-5, 1e-2, 1000):
        histogram.add(duration)
    again = Histogram(json.loads(json.dumps(histogram.counts)), histogram.largest)
    assert again.percentile(99) == histogram.percentile(99)
