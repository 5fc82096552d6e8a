"""The whole graph for real: simulated robot, DDS, 50 Hz, learner. Slow by nature, so it is one story in few runs."""

import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from rlt_ros.rl.journal import records

SHORT = {'name': 'rlt', 'evaluation_episodes': 1, 'warmup_episodes': 2, 'first_updates': 20, 'batch': 32, 'hidden': 32}
TASK = {'name': 'ethernet', 'instruction': 'plug the ethernet connector into the socket', 'scene': 'ethernet'}


@pytest.fixture
def start(tmp_path, ros_domain):
    """Start `rlt demo` in its own process; whatever is left of it is killed afterwards."""
    (tmp_path / 'method.yaml').write_text(yaml.safe_dump(SHORT))
    (tmp_path / 'task.yaml').write_text(yaml.safe_dump(TASK | {'time_limit': 2.0}))
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(ros_domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    started: list[subprocess.Popen] = []

    def run(*words: str) -> subprocess.Popen:
        files = ['--task', str(tmp_path / 'task.yaml'), '--method', str(tmp_path / 'method.yaml')]
        command = [sys.executable, '-m', 'rlt_ros.cli', 'demo', '--headless', '--name', 'short', *files, *words]
        started.append(subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        ))  # fmt: skip
        return started[-1]

    yield run
    for process in started:
        for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            child.kill()
        process.kill()
        process.communicate()


def wait_for(condition, process: subprocess.Popen, seconds: float = 90.0):
    """What condition() returns once it is true; fails when the process ends or time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        if process.poll() is not None:
            pytest.fail(f'ended with {process.returncode}:\n{process.stdout.read()}')
        time.sleep(0.1)
    pytest.fail('did not happen in time')


def status(folder: Path) -> dict:
    try:
        return json.loads((folder / 'status.json').read_text())
    except (OSError, ValueError):
        return {}


def node(process: subprocess.Popen, name: str) -> psutil.Process:
    """A node's process of a running graph."""
    for child in psutil.Process(process.pid).children(recursive=True):
        if f'rlt_ros.nodes.{name}' in ' '.join(child.cmdline()):
            return child
    raise AssertionError(f'{name} is not running')


def count(folder: Path) -> int:
    path = folder / 'journal' / 'transitions.rltj'
    return sum(1 for _ in records(path)) if path.exists() else 0


@pytest.mark.fault('learner-dies', 'the run goes on with the last actor and finishes')
def test_a_run_learns_survives_a_killed_learner_and_finishes(start, tmp_path):
    process, folder = start('--minutes', '0.35'), tmp_path / 'runs' / 'short'
    wait_for(lambda: count(folder) > 20, process)
    stored = count(folder)
    node(process, 'learner_node').send_signal(signal.SIGKILL)
    wait_for(lambda: status(folder).get('policy_version', 0) > 0, process)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert 'learner_node' in output  # its death was reported by name
    assert count(folder) > stored  # what was on disk stayed, and more came
    summary = json.loads((folder / 'summary.json').read_text())
    assert summary['vla']['episodes'] == 1
    assert summary['robot_minutes'] >= 0.35
    assert summary['transitions'] == count(folder)
    assert summary['updates'] > 20 and summary['policy_versions'] > 0
    assert summary['ticks'] > 500 and summary['deadline_error_ms']['p99'] > 0
    assert (folder / 'plots' / 'learning_curve.png').stat().st_size > 10_000
    versions = {json.loads(line)['policy_version'] for line in (folder / 'episodes.jsonl').read_text().splitlines()}
    assert max(versions) > 0  # the actor that was learned has driven the robot


@pytest.mark.fault('signals', 'SIGINT stops the whole graph in order; the run can be resumed')
def test_ctrl_c_leaves_nothing_behind_and_resume_goes_on(start, tmp_path):
    process, folder = start('--minutes', '5'), tmp_path / 'runs' / 'short'
    wait_for(lambda: count(folder) > 20, process)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert not [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    stored, episodes = count(folder), (folder / 'episodes.jsonl').read_text().splitlines()
    again = start('--minutes', '5', '--resume')
    wait_for(lambda: count(folder) > stored, again)
    again.send_signal(signal.SIGINT)
    output, _ = again.communicate(timeout=30)
    assert again.returncode == 0, output
    after = (folder / 'episodes.jsonl').read_text().splitlines()
    assert after[: len(episodes)] == episodes
    numbers = [json.loads(line)['episode'] for line in after]
    assert numbers == sorted(set(numbers)) and len(numbers) > len(episodes)


@pytest.mark.fault('vla-dies', 'the graph stops in order, and says why')
def test_a_required_node_that_dies_stops_the_graph_by_name(start, tmp_path):
    process = start('--minutes', '5')
    wait_for(lambda: status(tmp_path / 'runs' / 'short').get('phase') == 'critical', process)
    node(process, 'vla_node').send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert 'vla_node' in output
