"""What lock-step costs: which runs are made, and whose they may replace."""

from pathlib import Path

import pytest

from rlt_ros.bench.cells import DONE, alone
from rlt_ros.bench.cost import measure
from rlt_ros.errors import UserError


def nothing(*_: object) -> object:
    return lambda *_: None


def test_cells_of_another_benchmark_that_still_computes_stay(tmp_path: Path) -> None:
    done = tmp_path / 'ethernet-critical-rlt-0' / DONE
    done.parent.mkdir()
    done.touch()
    with alone({tmp_path}), pytest.raises(UserError, match='another benchmark computes'):
        measure([1], [1], 'ethernet', 0.01, 'bimanual', tmp_path, nothing)
    assert done.exists()


def test_workers_that_would_have_nothing_to_do_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='2 workers are more than 1 seeds'):
        measure([2, 3], [1], 'ethernet', 0.01, 'bimanual', tmp_path, nothing)
