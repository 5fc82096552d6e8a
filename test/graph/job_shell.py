"""A shell that knows one job, its command line, and one word, `fg`: for tests of what Ctrl-Z does."""

import os
import signal
import sys

signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # so that it can give the terminal away and take it back
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        print(f'job ended with {os.waitstatus_to_exitcode(status)}', flush=True)
        sys.exit()
    print('job stopped', flush=True)
    assert sys.stdin.readline() == 'fg\n'
    os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
