"""What the operating system grants a process that must be on time: scheduling, memory, a core of its own."""

import ctypes
from dataclasses import dataclass, field
import os
import resource
import sys

MCL_CURRENT, MCL_FUTURE = 1, 2


@dataclass
class Granted:
    """What was asked for and permitted."""

    priority: int = 0  # of SCHED_FIFO, 0: ordinary scheduling
    memory_locked: bool = False
    cpu: int = -1  # -1: any
    refused: list[str] = field(default_factory=list)  # what was not permitted, and why

    def __str__(self) -> str:
        parts = [f'SCHED_FIFO {self.priority}' if self.priority else 'ordinary scheduling']
        parts += ['memory locked'] * self.memory_locked + [f'core {self.cpu}'] * (self.cpu >= 0)
        return ', '.join([*parts, *(f'refused: {text}' for text in self.refused)])


def claim(priority: int, lock_memory: bool, cpu: int) -> Granted:
    """Claim them for the whole process; what is not permitted is listed, and the process goes on without.

    priority: 1 to 99, 0: leave as it is. cpu: -1: leave as it is. All threads get scheduling and core, the middleware's
    too, which would otherwise hold the interpreter's lock while something else has their core; later ones inherit it.
    """
    granted = Granted()
    sys.setswitchinterval(0.0005)  # s, the interpreter's lock changes hands in time
    threads = [int(name) for name in os.listdir('/proc/self/task')]
    if priority:
        try:
            for thread in threads:
                os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))
            granted.priority = priority
        except OSError as error:
            granted.refused.append(f'SCHED_FIFO {priority} ({error.strerror}): deadlines depend on the load')
    if cpu >= 0:
        try:
            for thread in threads:
                os.sched_setaffinity(thread, {cpu})
            granted.cpu = cpu
        except OSError as error:
            granted.refused.append(f'core {cpu} ({error.strerror})')
    if lock_memory:
        if reason := _lock_memory():
            granted.refused.append(f'locked memory ({reason})')
        granted.memory_locked = not reason
    return granted


def _lock_memory() -> str:
    """Keep all pages in memory, also those to come; '' or why not."""
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    # with a limit, locking may succeed now and an allocation fail later, which ends the process
    if limit != resource.RLIM_INFINITY and os.geteuid() != 0:
        return f'RLIMIT_MEMLOCK is {limit // 1024} kB, not unlimited'
    libc = ctypes.CDLL(None, use_errno=True)
    return '' if libc.mlockall(MCL_CURRENT | MCL_FUTURE) == 0 else os.strerror(ctypes.get_errno())
