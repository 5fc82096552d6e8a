"""A node in a process whose wall clock the test sets: `movable_clock.py <node> ...`, then SIGUSR1 puts it an hour on.

Nothing else is changed: the machine's clock belongs to everybody who works on it.
"""

import importlib
import signal
import sys
import time

HOUR = 3600 * 10**9  # ns
offset, true = [0], time.time_ns
time.time_ns = lambda: true() + offset[0]
main = importlib.import_module(f'rlt_ros.nodes.{sys.argv.pop(1)}').main


def jump(*_: object) -> None:
    offset[0] += HOUR


signal.signal(signal.SIGUSR1, jump)
sys.exit(main())
