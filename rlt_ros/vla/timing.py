"""How long VLA and token take on this machine, and how many ticks of delay that needs.

`python -m rlt_ros.vla.timing JSON` measures in a process of its own, which gives the device back: JSON holds the
parameters of vla_node and rl_token_node; prints the seconds.
"""

from collections.abc import Callable, Sequence
import json
import math
import os
import subprocess
import sys
import time

import numpy as np

from rlt_ros.errors import UserError
from rlt_ros.graph import NodeSpec
from rlt_ros.supervisor import REFUSED, environment

WARM_UP, CALLS = 5, 30
TRANSPORT = 0.02  # s, allowed for the rest: camera to observation, three messages over DDS, slower calls


def answer_time(answer: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Median s of a call, the first ones left aside: others who use the machine meanwhile should not decide."""
    seconds = []
    for _ in range(WARM_UP + CALLS):
        begin = clock()
        answer()
        seconds.append(clock() - begin)
    return float(np.median(seconds[WARM_UP:]))


def ticks(seconds: float, rate: float) -> int:
    """Ticks of delay for answers that take so long to compute; rate: Hz of the control loop."""
    return math.ceil((seconds + TRANSPORT) * rate - 1e-6)


def measure(specs: Sequence[NodeSpec]) -> float:
    """answer_time() of the VLA and token that these nodes will run. Raises UserError where they cannot be run."""
    given = {spec.name: spec.parameters for spec in specs}
    words = json.dumps({name: given[name] for name in ('vla_node', 'rl_token_node')})
    done = subprocess.run([sys.executable, '-m', 'rlt_ros.vla.timing', words], capture_output=True, text=True,
                          env=environment(os.environ))  # fmt: skip
    if done.returncode == REFUSED:
        raise UserError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        sys.stderr.write(done.stderr)
        done.check_returncode()
    return float(done.stdout)


def main() -> int:
    from rlt_ros.config import RobotProfile, Task, load
    from rlt_ros.token.backend import TokenBackend
    from rlt_ros.vla import normalisation
    from rlt_ros.vla.backends import open_backend
    from rlt_ros.vla.builtin import Look
    from rlt_ros.weights_files import path_of, vla_hash

    given = json.loads(sys.argv[1])
    node, token_node = given['vla_node'], given['rl_token_node']
    profile, task = load(RobotProfile, node['robot']), load(Task, node['task'])
    try:
        vla = open_backend(node.get('weights', ''), profile, task, node['device'])
        path = path_of('vla', profile.name, token_node.get('vla_weights', ''))
        token = TokenBackend(path_of('rl_token', profile.name, token_node.get('weights', '')), vla_hash(path),
                             normalisation.read(path).hash, token_node['device'])  # fmt: skip
    except UserError as error:
        print(error, file=sys.stderr)
        return REFUSED
    look = Look.blank(profile)
    print(answer_time(lambda: token.encode(vla.infer([look], task.instruction).prefix)))
    return 0


if __name__ == '__main__':
    sys.exit(main())
