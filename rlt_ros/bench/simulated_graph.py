"""The simulated graph of a benchmark: in a temporary run folder, and alone in a ROS domain of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
import os
from pathlib import Path
import tempfile

import yaml

from rlt_ros import graph
from rlt_ros.config import Method
from rlt_ros.run_folder import check_network, prepare
from rlt_ros.supervisor import FINISHED, Supervisor

DOMAIN = '101'  # the last one that is safe on Linux


@contextmanager
def prepared(method: Method, **arguments: graph.Value) -> Iterator[tuple[Path, dict[str, graph.Value]]]:
    """Its run folder and the arguments to start it with: those given, the method and the folder; raises UserError."""
    os.environ['ROS_DOMAIN_ID'] = DOMAIN
    with tempfile.TemporaryDirectory(prefix='rlt-bench-') as name, check_network('rlt'):
        file = Path(name, 'method.yaml')
        file.write_text(yaml.safe_dump(method.model_dump()))
        every = arguments | {'method': str(file), 'run_folder': str(Path(name, 'run'))}
        yield prepare(every), every


@asynccontextmanager
async def supervised(
    specs: list[graph.NodeSpec], folder: Path, say: Callable[[str], None]
) -> AsyncIterator[tuple[Supervisor, asyncio.Task[int]]]:
    """Its nodes under a supervisor, and the task that is done once they have ended; stopped in order at the end."""
    supervisor = Supervisor(specs, 'rlt', folder, say, grace=20.0)
    running = asyncio.create_task(supervisor.run())
    try:
        yield supervisor, running
    finally:
        supervisor.stop(FINISHED, 'measured')
        await running
