"""The supervisor with real processes: small scripts stand in for nodes and note what happens to them."""

import os
from pathlib import Path
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from rlt_ros.supervisor import environment

WAIT = 30.0

NODE = """
import os, signal, sys, time
from pathlib import Path
name, events = Path(__file__).stem, Path(__file__).with_name('events')
def note(what):
    with events.open('a') as file:
        file.write(f'{name} {what} {os.getpid()}\\n')
def interrupted(*_):
    note('interrupted')
    print('closed in order', flush=True)
    sys.exit(0)
signal.signal(signal.SIGINT, interrupted)
"""
STAY = "note('started')\nwhile True: time.sleep(0.05)\n"
STUBBORN = 'signal.signal(signal.SIGINT, signal.SIG_IGN)\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n' + STAY

DRIVER = """
import asyncio, sys
from pathlib import Path
from rlt_ros.graph import NodeSpec
from rlt_ros.supervisor import Supervisor
folder = Path({folder!r})
sys.exit(asyncio.run(Supervisor([{specs}], 'rlt', folder, lambda text: print(text, flush=True), {grace}).run()))
"""


class Graph:
    """A supervisor process over scripted nodes."""

    def __init__(self, folder: Path, grace: float = 5.0):
        self.folder, self.grace, self.specs, self.process = folder, grace, [], None

    def add(self, name: str, body: str, **options) -> None:
        script = self.folder / f'{name}.py'
        script.write_text(NODE + textwrap.dedent(body))
        words = ''.join(f', {key}={value!r}' for key, value in options.items())
        self.specs.append(f'NodeSpec({str(script)!r}{words})')

    def start(self, started: int) -> None:
        """Start the supervisor and wait until `started` nodes run."""
        code = DRIVER.format(folder=str(self.folder), specs=', '.join(self.specs), grace=self.grace)
        self.process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, env=environment(os.environ))
        self.wait(lambda: len(self.noted('started')) >= started)

    def wait(self, condition) -> None:
        end = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < end, f'never happened; events: {self.events()}'
            time.sleep(0.02)

    def events(self) -> list[list[str]]:
        file = self.folder / 'events'
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def noted(self, what: str) -> list[str]:
        return [name for name, event, _ in self.events() if event == what]

    def pids(self, name: str = '') -> list[int]:
        return [int(pid) for who, event, pid in self.events() if event == 'started' and name in ('', who)]

    def ended(self) -> tuple[int, str]:
        """(exit code, what it printed) of the supervisor; nothing may be left of its nodes."""
        output, _ = self.process.communicate(timeout=WAIT)
        assert not [pid for pid in self.pids() if psutil.pid_exists(pid)]
        return self.process.returncode, output


@pytest.fixture
def make(tmp_path):
    graphs = []

    def build(**options) -> Graph:
        graphs.append(Graph(tmp_path, **options))
        return graphs[-1]

    yield build
    for graph in graphs:
        if graph.process and graph.process.poll() is None:
            graph.process.kill()
            graph.process.wait()


@pytest.mark.fault('signals', 'SIGINT, SIGTERM: who commands stops first, who records last')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_in_order_and_is_no_failure(make, number):
    graph = make()
    for name, order in (('sim', 6), ('monitor', 7), ('executor', 1), ('episode', 0)):
        graph.add(name, STAY, stop_order=order, required=True)
    graph.start(4)
    graph.process.send_signal(number)
    code, output = graph.ended()
    assert code == 0
    assert graph.noted('interrupted') == ['episode', 'executor', 'sim', 'monitor']
    assert f'stopping ({number.name})' in output
    assert 'closed in order' in (graph.folder / 'log' / 'executor.log').read_text()
    assert 'closed in order' not in output


def test_a_finished_run_stops_the_graph_with_success(make):
    graph = make()
    graph.add('robot', STAY, required=True)
    graph.add('episode', "note('started')\ntime.sleep(0.3)\n", required=True, finishes=True)
    graph.start(2)
    code, output = graph.ended()
    assert code == 0 and 'finished' in output and graph.noted('interrupted') == ['robot']


def test_a_node_that_may_is_started_again(make):
    graph = make()
    graph.add('robot', STAY, required=True)
    graph.add('learner', STAY, respawn_delay=0.05, nice=5)
    graph.start(2)
    first, = graph.pids('learner')
    assert psutil.Process(first).nice() == psutil.Process(graph.process.pid).nice() + 5
    os.kill(first, signal.SIGKILL)
    graph.wait(lambda: len(graph.pids('learner')) == 2)
    graph.process.send_signal(signal.SIGINT)
    code, output = graph.ended()
    assert code == 0 and 'learner was ended by SIGKILL' in output and 'learner is started again' in output


@pytest.mark.fault('out-of-memory', 'a learner that keeps failing stops the graph')
def test_a_node_that_keeps_dying_stops_the_graph(make):
    graph = make()
    graph.add('robot', STAY, required=True)
    graph.add('learner', "note('started')\nsys.exit('no space left')\n", respawn_delay=0.0)
    graph.start(2)
    code, output = graph.ended()
    assert code == 1 and len(graph.pids('learner')) == 6
    assert 'learner ended with exit code 1' in output and 'no space left' in output


def test_a_required_node_that_dies_stops_the_graph_and_is_named(make):
    graph = make()
    graph.add('robot', "note('started')\nraise ValueError('motor is off')\n", required=True)
    graph.add('learner', STAY, respawn_delay=0.0)
    graph.start(1)
    code, output = graph.ended()
    assert code == 1
    assert 'robot ended with exit code 1' in output and 'robot: ValueError: motor is off' in output
    assert 'robot is required: stopping' in output


@pytest.mark.parametrize('options', [{'required': True}, {'respawn_delay': 0.0}])
def test_a_node_that_refuses_its_configuration_gives_exit_code_2(make, options):
    graph = make()
    graph.add('robot', STAY, required=True)
    graph.add('camera', "note('started')\nprint('source /dev/video9 does not exist')\nsys.exit(2)\n", **options)
    graph.start(1)
    code, output = graph.ended()
    assert code == 2 and 'camera: source /dev/video9 does not exist' in output
    assert len(graph.pids('camera')) == 1


@pytest.mark.fault('signals', 'a node that does not listen is killed, exit code 1')
def test_a_stuck_node_is_killed_and_that_is_a_failure(make):
    graph = make(grace=1.0)
    graph.add('robot', STAY, required=True)
    graph.add('stuck', STUBBORN, required=True)
    graph.start(2)
    graph.process.send_signal(signal.SIGINT)
    code, output = graph.ended()
    assert code == 1 and 'stuck was ended by SIGKILL while stopping' in output


@pytest.mark.fault('signals', 'SIGKILL of the supervisor: nothing outlives it')
def test_nothing_outlives_a_killed_supervisor(make):
    graph = make()
    graph.add('robot', STAY, required=True)
    graph.add('stuck', STUBBORN, required=True)
    graph.start(2)
    graph.process.kill()
    graph.wait(lambda: not any(psutil.pid_exists(pid) for pid in graph.pids()))


def test_what_a_node_started_ends_with_it(make):
    graph = make()
    graph.add('robot', """
        import subprocess
        child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
        (events.parent / 'child').write_text(str(child.pid))
        note('started')
        while True: time.sleep(0.05)
        """, required=True)
    graph.start(1)
    graph.process.send_signal(signal.SIGINT)
    code, _ = graph.ended()
    child = int((graph.folder / 'child').read_text())
    assert code == 0
    graph.wait(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_long_and_binary_output_does_not_stop_a_node(make):
    graph = make()
    graph.add('robot', r"""
        sys.stdout.buffer.write(b'x' * 300_000 + b'\n\xff\xfe[WARN] odd bytes\n')
        sys.stdout.flush()
        note('started')
        while True: time.sleep(0.05)
        """, required=True)
    graph.start(1)
    graph.process.send_signal(signal.SIGINT)
    code, output = graph.ended()
    assert code == 0 and '[WARN] odd bytes' in output
    assert (graph.folder / 'log' / 'robot.log').stat().st_size > 300_000
