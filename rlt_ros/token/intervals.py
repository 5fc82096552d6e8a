"""95 % intervals by bootstrap over episodes: observations of one episode are no independent samples."""

from collections.abc import Callable

import numpy as np

DRAWS = 1000


def interval(statistic: Callable[[np.ndarray], float], episode: np.ndarray) -> tuple[float, list[float]]:
    """Value of a statistic and its interval [low, high].

    statistic: from weights (T,) of the observations to a number; nan where it has none. episode: (T,) of which each is.
    """
    _, number = np.unique(episode, return_inverse=True)
    count = number.max() + 1
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
    values = [statistic(draw[number].astype(float)) for draw in draws]
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(statistic(np.ones(len(number)))), [float(low), float(high)]


def mean(values: np.ndarray) -> Callable[[np.ndarray], float]:
    """Statistic: weighted mean of values (T,)."""
    return lambda weights: weights @ values / weights.sum()


def ratio(above: np.ndarray, below: np.ndarray) -> Callable[[np.ndarray], float]:
    """Statistic: sum of above (T,) over sum of below (T,)."""
    return lambda weights: (weights @ above) / (weights @ below)


def root_mean_square(squares: np.ndarray) -> Callable[[np.ndarray], float]:
    """Statistic: root of the weighted mean of squares (T,)."""
    return lambda weights: np.sqrt(weights @ squares / weights.sum())


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> Callable[[np.ndarray], float]:
    """Statistic: chance that a positive (T,) bool scores above a negative, ties half; nan with one kind only."""
    _, level = np.unique(score, return_inverse=True)

    def area(weights: np.ndarray) -> float:
        for_, against = (np.bincount(level, weights * kind) for kind in (positive, ~positive))
        total = for_.sum() * against.sum()
        return for_ @ (np.cumsum(against) - against / 2) / total if total else np.nan

    return area
