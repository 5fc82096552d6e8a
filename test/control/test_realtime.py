"""What the system grants a control process, with rights and without."""

import os
import subprocess
import sys

import pytest

# a thread that exists before, as the middleware's do
CODE = '''
import os, sys, threading
{before}
from rlt_ros.control.realtime import claim
done = threading.Event()
thread = threading.Thread(target=done.wait)
thread.start()
granted = claim({arguments})
policies = {{os.sched_getscheduler(int(t)) for t in os.listdir('/proc/self/task')}}
cores = [os.sched_getaffinity(int(t)) for t in os.listdir('/proc/self/task')]
locked = int(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmLck')))
done.set()
print(policies, set.union(*cores), locked > 0, sep='|')
print(granted)
'''


def run(arguments: str, before: str = '') -> tuple[list[str], str]:
    """What the kernel says of a process after its claim, and what the process says."""
    code = CODE.format(arguments=arguments, before=before)
    output = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    facts, said = output.strip().split('\n')
    return facts.split('|'), said


@pytest.mark.skipif(os.geteuid() != 0, reason='needs rights')
def test_with_rights_every_thread_gets_what_was_asked_for() -> None:
    core = min(os.sched_getaffinity(0))
    assert run(f'50, True, {core}') == (
        [f'{{{os.SCHED_FIFO}}}', f'{{{core}}}', 'True'], f'SCHED_FIFO 50, memory locked, core {core}'
    )  # fmt: skip


def test_what_nobody_asked_for_stays() -> None:
    facts, said = run('0, False, -1')
    assert facts == [f'{{{os.SCHED_OTHER}}}', str(os.sched_getaffinity(0)), 'False']
    assert said == 'ordinary scheduling'


def test_without_rights_it_says_what_it_lost_and_goes_on() -> None:
    nobody = '''
import resource
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0)); resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
import rlt_ros.control.realtime  # while it may be read
if os.geteuid() == 0: os.setuid(65534)
'''
    facts, said = run('50, True, 1023', nobody)
    assert facts[0] == f'{{{os.SCHED_OTHER}}}' and facts[2] == 'False'
    for lost in ('ordinary scheduling', 'SCHED_FIFO 50 (Operation not permitted)', 'core 1023 (Invalid argument)',
                 'locked memory (RLIMIT_MEMLOCK is 64 kB'):  # fmt: skip
        assert lost in said
