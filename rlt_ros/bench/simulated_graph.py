"""The simulated graph of a benchmark: in a temporary run folder, and alone in a ROS domain of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import tempfile

import yaml

from rlt_ros import graph
from rlt_ros.config import Method
from rlt_ros.run_folder import check_network, prepare

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
