"""Starts the nodes of the graph as processes, watches them, and leaves none behind.

Used where there is no `ros2 launch`, and preferred for a run of its own: what drives a robot may not outlive its
supervisor, and the nodes stop in the order that leaves robot and data in a known state.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
import contextlib
import ctypes
import itertools
import json
import os
from pathlib import Path
import re
import signal
import sys
import tempfile
import time
from typing import BinaryIO

from rlt_ros import security
from rlt_ros.errors import UserError
from rlt_ros.graph import ENVIRONMENT, NodeSpec, installed

FINISHED, FAILED, REFUSED = 0, 1, 2
RESPAWNS, RESPAWN_WINDOW = 5, 60.0
# How a node may end after it was told to: by itself, or by the signal where it had not yet set up to handle it.
CLEAN = (0, -signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM)
NOTEWORTHY = re.compile(rb'\[(WARN|ERROR|FATAL)\]|Traceback \(most recent call last\)|^\w*(Error|Exception)\b')
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """Environment of the nodes: `base`, and what the graph needs where `base` does not say."""
    return {**ENVIRONMENT, 'AMENT_PREFIX_PATH': sys.prefix, 'PYTHONUNBUFFERED': '1', **base}


def command(spec: NodeSpec, namespace: str, folder: Path) -> list[str]:
    """Command line of a node; its parameters go to `folder`/<name>.yaml.

    One file with the node's full name as key: ROS prefers the more specific key, so that parameters given with -p or
    under a wildcard could lose against a file without a word.
    """
    parameters = folder / f'{spec.name}.yaml'
    content = {security.full_name(namespace, spec.name): {'ros__parameters': spec.parameters}}
    parameters.write_text(json.dumps(content))  # JSON is YAML
    if spec.better:
        program = [str(installed(spec.better))]
    else:
        script = [spec.executable] if '/' in spec.executable else ['-m', f'rlt_ros.nodes.{spec.executable}']
        program = [sys.executable, '-u', *script]
    return [*program, '--ros-args', '-r', f'__node:={spec.name}',
            '-r', f'__ns:=/{namespace.strip("/")}', '--params-file', str(parameters),
            *security.arguments(namespace, spec.name)]


class Process:
    """A running node: its output goes to a file, and what a person should see to `say`."""

    def __init__(self, spec: NodeSpec, process: asyncio.subprocess.Process, log: BinaryIO, say: Callable[[str], None]):
        self.spec, self.process, self.log, self.say = spec, process, log, say
        self.last: deque[str] = deque(maxlen=3)  # lines a person has not seen
        self.log_broken = False
        self.ended = asyncio.create_task(process.wait())
        self.output = asyncio.create_task(self._pump())

    @classmethod
    async def start(cls, spec: NodeSpec, words: list[str], log: Path, say: Callable[[str], None]) -> 'Process':
        parent = os.getpid()

        def set_up() -> None:
            # The kernel ends the node with the supervisor, however that ends: not even a stuck node goes on.
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            os.nice(spec.nice)

        # Own session: Ctrl-C in a terminal reaches the supervisor alone, which passes it on in order and once.
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            start_new_session=True, preexec_fn=set_up, env=environment(os.environ))
        return cls(spec, process, log.open('ab'), say)

    async def _pump(self) -> None:
        rest = b''
        while block := await self.process.stdout.read(1 << 16):
            self._write(block)
            *lines, rest = (rest + block).split(b'\n')
            rest = rest[-4096:]
            for line in lines:
                text = line[:500].decode(errors='replace').rstrip()
                if NOTEWORTHY.search(line):
                    self.say(f'{self.spec.name}: {text}')
                elif text:
                    self.last.append(text)

    def _write(self, block: bytes) -> None:
        """A full disk costs the log, not the run: a pipe that nobody reads would block the node."""
        try:
            self.log.write(block)
            self.log.flush()
        except OSError as error:
            if not self.log_broken:
                self.say(f'{self.spec.name}: the log cannot be written: {error.strerror}')
            self.log_broken = True

    def send(self, number: signal.Signals) -> None:
        """Signal the node and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    async def close(self) -> int:
        """Wait for the end; returns the exit code (negative: signal)."""
        code = await self.ended
        # A child of the node may hold the pipe open.
        await asyncio.wait({self.output}, timeout=0.5)
        self.output.cancel()
        self.send(signal.SIGKILL)
        with contextlib.suppress(OSError):
            self.log.close()
        return code


class Supervisor:
    """Runs a list of nodes until the run is finished, a required one ends, or somebody stops it."""

    def __init__(self, specs: list[NodeSpec], namespace: str, run_folder: Path,
                 say: Callable[[str], None] = print, grace: float = 10.0):
        """`say` gets lines for a person; `grace` s is all the time that stopping may take."""
        self.specs, self.namespace, self.run_folder, self.grace = specs, namespace, run_folder, grace
        self._print = say
        self.processes: dict[str, Process] = {}
        self.result: int | None = None
        self.stopping = asyncio.Event()

    def say(self, text: str) -> None:
        """A terminal that went away does not stop a robot half-way."""
        with contextlib.suppress(OSError):
            self._print(text)

    def stop(self, result: int, reason: str) -> None:
        """Ask for the end; the first reason decides the result."""
        if self.result is None:
            self.result = result
            self.say(reason)
            self.stopping.set()

    async def run(self) -> int:
        """Start all, watch, stop all. Returns 0 finished or stopped by a person, 1 a node failed, 2 one refused.

        Raises UserError when the run folder cannot be written.
        """
        logs = self.run_folder / 'log'
        try:
            logs.mkdir(parents=True, exist_ok=True)
            for spec in self.specs:
                (logs / f'{spec.name}.log').open('ab').close()
        except OSError as error:
            raise UserError(f'run folder {self.run_folder} cannot be written: {error.strerror}') from None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop, FINISHED, f'stopping ({number.name})')
        with tempfile.TemporaryDirectory(prefix='rlt-') as folder:
            watches = [asyncio.create_task(self._keep(spec, command(spec, self.namespace, Path(folder)), logs))
                       for spec in self.specs]
            try:
                await self.stopping.wait()
            finally:
                await self._stop_all()
                await asyncio.gather(*watches)
        return self.result

    async def _keep(self, spec: NodeSpec, words: list[str], logs: Path) -> None:
        """One node's life: start, and start again where that is allowed."""
        starts: deque[float] = deque(maxlen=RESPAWNS + 1)
        while not self.stopping.is_set():
            starts.append(time.monotonic())
            try:
                node = await Process.start(spec, words, logs / f'{spec.name}.log', self.say)
            except OSError as error:
                return self.stop(FAILED, f'{spec.name} cannot be started: {error.strerror}')
            self.processes[spec.name] = node
            if self.stopping.is_set():
                node.send(signal.SIGKILL)  # it came too late to be stopped in order
            code = await node.close()
            del self.processes[spec.name]
            if self.stopping.is_set():
                if code not in CLEAN:
                    self._report(node, code, 'while stopping')
                    self.result = self.result or FAILED
                return
            if spec.finishes and code == 0:
                return self.stop(FINISHED, 'the run is finished')
            self._report(node, code)
            if code == REFUSED:
                return self.stop(REFUSED, f'{spec.name} refused its configuration: stopping')
            if spec.respawn_delay is None:
                return self.stop(FAILED, f'{spec.name} is required: stopping') if spec.required else None
            if len(starts) > RESPAWNS and starts[-1] - starts[0] < RESPAWN_WINDOW:
                return self.stop(FAILED, f'{spec.name} ended {len(starts)} times in {RESPAWN_WINDOW:.0f} s: stopping')
            self.say(f'{spec.name} is started again in {spec.respawn_delay:g} s')
            await asyncio.wait({asyncio.create_task(self.stopping.wait())}, timeout=spec.respawn_delay)

    def _report(self, node: Process, code: int, when: str = '') -> None:
        how = f'was ended by {signal.Signals(-code).name}' if code < 0 else f'ended with exit code {code}'
        self.say(f'{node.spec.name} {how}{" " + when if when else ""} (log: {node.log.name})')
        for line in node.last:
            self.say(f'{node.spec.name}: {line}')

    async def _stop_all(self) -> None:
        """SIGINT in the order of the specs, each group given time to end before the next; then SIGTERM, SIGKILL."""
        begin = time.monotonic()
        running = sorted(self.processes.values(), key=lambda node: node.spec.stop_order)
        groups = [list(group) for _, group in itertools.groupby(running, lambda node: node.spec.stop_order)]
        share = 0.7 * self.grace / max(len(groups), 1)
        for group in groups:
            await self._signal(group, signal.SIGINT, share)
        await self._signal(running, signal.SIGINT, begin + 0.7 * self.grace - time.monotonic(), send=False)
        await self._signal(running, signal.SIGTERM, begin + 0.9 * self.grace - time.monotonic())
        await self._signal(running, signal.SIGKILL, self.grace)

    async def _signal(self, nodes: list[Process], number: signal.Signals, patience: float, send: bool = True) -> None:
        """Signal those of `nodes` that still run and wait up to `patience` s for their end."""
        alive = [node for node in nodes if not node.ended.done()]
        if send:
            for node in alive:
                node.send(number)
        if alive:
            await asyncio.wait({node.ended for node in alive}, timeout=max(patience, 0.0))
