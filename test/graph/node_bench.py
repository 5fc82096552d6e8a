"""Starts nodes as real processes and talks to them over DDS from the test."""

from collections.abc import Callable
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
import rclpy
from rclpy.context import Context
from rclpy.experimental.events_executor import EventsExecutor
import yaml

CHECKOUT = Path(__file__).parents[2]


class NodeBench:
    """A node in the test's process, in namespace /rlt, and the processes under test. Only `until` and `spin` spin."""

    def __init__(self, folder: Path, domain: int):
        self.folder, self.processes, self.clients = folder, [], {}
        self.context = Context()
        rclpy.init(args=[], context=self.context, domain_id=domain)
        self.node = rclpy.create_node('bench', namespace='rlt', context=self.context)
        self.executor = EventsExecutor(context=self.context)
        self.executor.add_node(self.node)

    def start(self, name: str, **parameters: object) -> subprocess.Popen:
        """Start rlt_ros.nodes.<name> with parameters; its output goes to <name>.log in the test's folder."""
        file = self.folder / f'{name}.yaml'
        file.write_text(yaml.safe_dump({'/**': {'ros__parameters': parameters}}) if parameters else '{}')
        arguments = ['--ros-args', '-r', '__ns:=/rlt', *(['--params-file', str(file)] if parameters else [])]
        with open(self.folder / f'{name}.log', 'a') as log:
            process = subprocess.Popen(
                [sys.executable, '-u', '-m', f'rlt_ros.nodes.{name}', *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, 'PYTHONPATH': str(CHECKOUT)},
                cwd=self.folder,
            )
        self.processes.append(process)
        return process

    def stop(self, process: subprocess.Popen) -> int:
        """Stop a process as Ctrl-C does; its exit code."""
        process.send_signal(signal.SIGINT)
        return process.wait(timeout=20)

    def log(self, name: str) -> str:
        return (self.folder / f'{name}.log').read_text()

    def change(self, name: str, transition: str) -> bool:
        """Ask a node for a transition as `ros2 lifecycle set` does; whether it happened."""
        request = ChangeState.Request(transition=Transition(label=transition))
        return self.call(ChangeState, f'{name}/change_state', request).success

    def state(self, name: str) -> str:
        """A node's lifecycle state as `ros2 lifecycle get` tells it."""
        return self.call(GetState, f'{name}/get_state').current_state.label

    def call(self, kind: type, service: str, request: Any = None) -> Any:
        """A service's answer; an empty request by default."""
        if service not in self.clients:
            client = self.clients[service] = self.node.create_client(kind, service)
            self.until(client.service_is_ready)
            self.spin(0.5)  # that the service knows of the client, too, nobody tells; until then answers are lost
        client = self.clients[service]
        self.until(client.service_is_ready)  # a node that was started again
        return self.until(client.call_async(request or kind.Request()).result)

    def listen(self, kind: type, topic: str, qos: Any) -> list:
        """Messages of a topic as they come."""
        messages: list = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def spin(self, seconds: float) -> None:
        """Let time pass."""
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=rest)

    def until(self, condition: Callable[[], Any], timeout: float = 30.0) -> Any:
        """Spin until a condition holds and return it; fails with the logs after `timeout` s or if a process ended."""
        end = time.monotonic() + timeout
        while not (result := condition()):
            ended = [process.args[3] for process in self.processes if process.poll() not in (None, 0)]
            if ended or time.monotonic() > end:
                logs = '\n'.join(f'{path.name}:\n{path.read_text()}' for path in self.folder.glob('*.log'))
                raise AssertionError(f'{f"{ended} ended" if ended else "timeout"}\n{logs}')
            self.executor.spin_once(timeout_sec=0.02)
        return result

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.processes:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.node.destroy_node()
        self.context.try_shutdown()
