"""One bench per test: nodes as processes in a ROS domain of their own."""

from collections.abc import Iterator
from pathlib import Path

from node_bench import NodeBench
import pytest


@pytest.fixture
def bench(tmp_path: Path, ros_domain: int) -> Iterator[NodeBench]:
    bench = NodeBench(tmp_path, ros_domain)
    yield bench
    bench.close()
