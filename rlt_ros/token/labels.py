"""What probes try to read off a representation, told by what happened later. None of it reaches policy or critic."""

import numpy as np

from rlt_ros.config import RobotProfile
from rlt_ros.sim.operator import LIFT_SPEED
from rlt_ros.sim.tasks.base import Person
from rlt_ros.vla.examples import Examples
from rlt_ros.vla.proprioception import POSE_PER_ARM

HOVER = Person.hover  # m of the tip above the mouth, where attempts begin; in some tasks a millimetre lower
NOT_IN_YET = 5e-4  # m below the mouth; jams stop there
PHASES = ('approach', 'descend', 'lift')
LIFTING = LIFT_SPEED * 2 / 3  # m/s upwards; coming back to the hover after a lift is slower
DESCENDING = 0.008  # m/s downwards; the last of an approach is slower
RISE = 0.002  # m that the tip comes up when an attempt is given up; pushing and tremor move it less


def phases(examples: Examples, profile: RobotProfile) -> np.ndarray:
    """(T,) index into PHASES, by the tool's commanded vertical speed; examples: every observation of each episode."""
    first = POSE_PER_ARM * (len(profile.arms) - 1)  # the last arm holds the tool
    height = examples.features[:, first + 2] + examples.features[:, first + 9]  # measured + (commanded - measured)
    speed = np.append(np.diff(height), 0.0) * profile.observation_rate
    ends = np.append(examples.episode[1:] != examples.episode[:-1], True)
    speed[ends] = speed[np.flatnonzero(ends) - 1]
    below = examples.tip_in_socket[:, 2] < HOVER + 5e-4
    return np.where(speed > LIFTING, 2, np.where(below & (speed < -DESCENDING), 1, 0))


def undecided(examples: Examples) -> np.ndarray:
    """(T,) bool: under way, between hover and mouth, where the plug's height does not yet tell how it ends."""
    depth = examples.tip_in_socket[:, 2]
    return (depth > -NOT_IN_YET) & (depth < HOVER)


def goes_in(examples: Examples, inside: float) -> np.ndarray:
    """(T,) bool: from here on the plug goes in without being lifted again; examples: every observation.

    inside: m below the mouth, where none that jams ends (`SimTask.inside`).

    This, not the end of the episode, is what the critic must tell: most episodes succeed sooner or later, and what a
    state is worth is decided by whether the attempt that is going on is aligned or jams.
    """
    out = np.zeros(len(examples.episode), bool)
    for number in np.unique(examples.episode):
        rows = np.flatnonzero(examples.episode == number)
        depth = examples.tip_in_socket[rows, 2]
        if depth[-1] < -inside:
            # the highest that is still to come, seen from each observation
            later = np.maximum.accumulate(depth[::-1])[::-1]
            given_up = np.flatnonzero(later - depth > RISE)
            out[rows[given_up[-1] + 1 if len(given_up) else 0 :]] = True
    return out
