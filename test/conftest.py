"""Keeps the ROS traffic of the tests apart: from other machines, from other test runs, and from each other."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
import os
import sys

import domain_coordinator
import pytest

pytest_plugins = ['fault_table']

# Before anything imports rclpy. Held until the process ends; one fresh domain per test comes from the fixture below.
_domain_of_process = domain_coordinator.domain_id()
os.environ['ROS_DOMAIN_ID'] = str(_domain_of_process.__enter__())
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ.setdefault('MUJOCO_GL', 'egl')


_domains = ExitStack()
# Those whose ports are not among the ones that Linux gives to anybody; more than tests that need one.
_numbers = cycle([*range(1, 101), *range(215, 233)])


def fresh_domain() -> int:
    """A ROS domain that no other test uses.

    Kept until the process ends: what a killed node leaves in shared memory must not meet the next test.
    """
    return _domains.enter_context(domain_coordinator.domain_id(lambda: next(_numbers)))


@pytest.fixture(autouse=True)
def _denormal_numbers() -> Iterator[None]:
    """Learning flushes denormal numbers to zero in the whole process; other tests need them."""
    yield
    if 'torch' in sys.modules:
        sys.modules['torch'].set_flush_denormal(False)


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A ROS domain of a test's own; set for this process and those it starts."""
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
