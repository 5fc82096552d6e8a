"""Which demonstrations do for training, and what is said of those that do not."""

from pathlib import Path

import demonstrations
import numpy as np
import pytest

from rlt_ros.errors import UserError
from rlt_ros.vla.examples import HELD_OUT, load_examples


def test_episodes_without_what_is_learned_do_not_count(tmp_path: Path) -> None:
    folder = demonstrations.write(tmp_path / 'set', [0, 4] * (HELD_OUT - 1), rows=4)
    with pytest.raises(UserError, match='set: 9 episodes with observations of the critical phase; at least 10'):
        load_examples([folder], demonstrations.ROBOT, 5, approach=False)
    assert len(np.unique(load_examples([folder], demonstrations.ROBOT, 5).episode)) == 18


def test_every_tenth_of_those_that_count_is_held_out(tmp_path: Path) -> None:
    critical = [4] * HELD_OUT
    critical.insert(HELD_OUT - 1, 0)
    folder = demonstrations.write(tmp_path / 'set', critical, rows=4)
    examples = load_examples([folder], demonstrations.ROBOT, 5, approach=False)
    assert examples.held_out.sum() == 4 and len(examples.images) == 40


def test_a_data_set_given_twice_is_refused(tmp_path: Path) -> None:
    folder = demonstrations.write(tmp_path / 'set', [4] * HELD_OUT, rows=4)
    (tmp_path / 'link').symlink_to(folder)
    other = demonstrations.write(tmp_path / 'other', [4] * HELD_OUT, rows=4)
    for again in (folder, tmp_path / 'other' / '..' / 'set', tmp_path / 'link'):
        with pytest.raises(UserError, match=f'data set {folder} is given 2 times; allowed: once'):
            load_examples([folder, other, again], demonstrations.ROBOT, 5)
    assert len(load_examples([folder, other], demonstrations.ROBOT, 5).images) == 80
