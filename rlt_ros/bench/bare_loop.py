"""What the machine itself does to a loop: processes that only wake up at the control rate, before everything else.

One on each core, at a higher priority than the executor. When one of them is late, its core did not run what had to run
(the host of a virtual machine had it paused, say), and whatever was on it was late. When all are late at once, the
machine stood still, and no program could have been in time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
import gc
import multiprocessing
from multiprocessing.synchronize import Event
import os
from pathlib import Path
import time

import numpy as np

from rlt_ros.control.realtime import claim
from rlt_ros.control.ticks import DeadlineClock, Ticks

PRIORITY = 80


def watch(core: int, period: int, start: int, out: Path, stop: Event) -> None:
    """Wake up every `period` ns from `start`, monotonic ns, until stopped; writes (N, 2): tick and error, ns."""
    claim(PRIORITY, True, core)
    gc.disable()
    clock, rows = DeadlineClock(Ticks(start, period)), []
    while not stop.is_set():
        due = clock.wake_at()
        time.sleep(max(0, due - time.monotonic_ns()) * 1e-9)
        now = time.monotonic_ns()
        rows.append((clock.next, now - due))
        clock.woke(now)
    np.save(out, np.array(rows, np.int64).reshape(-1, 2))


@contextmanager
def bare_loops(rate: float, folder: Path) -> Iterator[list[np.ndarray]]:
    """Runs one on each core this process may use; when it ends, the list holds for each what `watch` wrote."""
    spawn, found = multiprocessing.get_context('spawn'), []
    stop, start, period = spawn.Event(), time.monotonic_ns() + 10**9, round(1e9 / rate)
    files = {core: folder / f'bare_loop_{core}.npy' for core in sorted(os.sched_getaffinity(0))}
    processes = [spawn.Process(target=watch, args=(core, period, start, out, stop), daemon=True)
                 for core, out in files.items()]  # fmt: skip
    for process in processes:
        process.start()
    try:
        yield found
    finally:
        stop.set()
        for process in processes:
            process.join()
    found += [np.load(out) for out in files.values()]


def pauses(loops: list[np.ndarray]) -> np.ndarray:
    """(T, cores) s: how late each core was, at every tick that all of them waited for."""
    errors = [dict(loop.tolist()) for loop in loops]
    ticks = set(errors[0]).intersection(*errors[1:])
    return np.array([[error[tick] for error in errors] for tick in sorted(ticks)]) * 1e-9
