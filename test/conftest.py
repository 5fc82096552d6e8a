"""Keeps the ROS traffic of the tests apart: from other machines, from other test runs, and from each other."""

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
import os
from pathlib import Path
import re
import sys

import domain_coordinator
import pytest

pytest_plugins = ['fault_table']

# Before anything imports rclpy. Held until the process ends; one fresh domain per test comes from the fixture below.
_domain_of_process = domain_coordinator.domain_id()
os.environ['ROS_DOMAIN_ID'] = str(_domain_of_process.__enter__())
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ.setdefault('MUJOCO_GL', 'egl')


KEPT = 60  # domains of the last tests: there are a hundred, and more tests
_domains: deque[tuple[int, ExitStack]] = deque()


def fresh_domain() -> int:
    """A ROS domain that none of the last tests has used: what a killed node leaves must not meet the next test."""
    if len(_domains) == KEPT:
        oldest, held = _domains.popleft()
        held.close()
        for file in Path('/dev/shm').glob('*fastdds_port*'):
            port = int(re.search(r'port(\d+)', file.name)[1])
            if 0 <= port - 7400 - 250 * oldest < 250:
                file.unlink(missing_ok=True)
    held = ExitStack()
    domain = held.enter_context(domain_coordinator.domain_id())
    _domains.append((domain, held))
    return domain


@pytest.fixture(autouse=True)
def _denormal_numbers() -> Iterator[None]:
    """Learning flushes denormal numbers to zero in the whole process; other tests need them."""
    yield
    if 'torch' in sys.modules:
        sys.modules['torch'].set_flush_denormal(False)


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A ROS domain (1 to 100) for one test, see `fresh_domain`; set for this process and those it starts."""
    domain = fresh_domain()
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
    yield domain


@pytest.fixture(scope='module')
def module_domain() -> Iterator[int]:
    """As ros_domain, one for all tests of a file."""
    with pytest.MonkeyPatch.context() as patch:
        domain = fresh_domain()
        patch.setenv('ROS_DOMAIN_ID', str(domain))
        yield domain
