"""`rlt watch` in a real terminal, with a person at the keys and teleop_node at the other end."""

import contextlib
import json
import os
from pathlib import Path
import pty
import select
import signal
import sys
import termios

import pytest
from sensor_msgs.msg import JointState
import yaml

from rlt_ros.config import RobotProfile, load
from rlt_ros.msg import EpisodeEvent, Intervention
from rlt_ros.ros.qos import RELIABLE

HERE = Path(__file__).parent
PROFILE = load(RobotProfile, 'bimanual')


class Screen:
    """A terminal in which a shell runs `rlt watch` of a run that goes on."""

    def __init__(self, bench):
        self.bench, self.text = bench, ''
        folder = bench.folder / 'run'
        folder.mkdir()
        (folder / 'config.yaml').write_text(yaml.safe_dump({'arguments': {'minutes': 30.0, 'namespace': 'rlt'}}))
        (folder / 'status.json').write_text(json.dumps({'phase': 'critical', 'episode': 1, 'mode': 'online'}))
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGHUP):  # whoever runs the tests in the background ignores them
                signal.signal(number, signal.SIG_DFL)
            words = [str(HERE / 'job_shell.py'), sys.executable, '-m', 'rlt_ros.cli', 'watch', str(folder)]
            environment = {**os.environ, 'PYTHONPATH': str(HERE.parents[1]), 'TERM': 'xterm', 'COLUMNS': '200'}
            os.execve(sys.executable, [sys.executable, *words], environment)
        self.before = termios.tcgetattr(self.file)
        bench.node.create_timer(0.02, self.read)

    def read(self):
        while select.select([self.file], [], [], 0)[0]:
            try:
                self.text += os.read(self.file, 65536).decode(errors='replace')
            except OSError:  # the shell has ended
                return

    def type(self, keys):
        os.write(self.file, keys.encode())

    def shows(self, text):
        self.bench.until(lambda: text in self.text)
        self.text = ''

    def echoes(self):
        return bool(termios.tcgetattr(self.file)[3] & (termios.ECHO | termios.ICANON))


@pytest.fixture
def screen(bench):
    screen = Screen(bench)
    yield screen
    with contextlib.suppress(OSError):  # a test that failed leaves its job in the foreground
        group = os.tcgetpgrp(screen.file)
        if group > 0:  # 0: nobody is left, and would mean this process
            os.killpg(group, signal.SIGKILL)
    os.close(screen.file)  # hangs up
    os.waitpid(screen.pid, 0)


def test_keys_drive_the_robot_and_the_terminal_is_left_as_it_was(bench, screen):
    interventions = bench.listen(Intervention, 'intervention', RELIABLE(50))
    events = bench.listen(EpisodeEvent, 'episode_event', RELIABLE(10))
    joints = bench.node.create_publisher(JointState, PROFILE.joint_state_topic, RELIABLE(10))
    state = JointState(name=PROFILE.joint_names, position=[joint.home for joint in PROFILE.joints])
    bench.node.create_timer(0.02, lambda: joints.publish(state))
    bench.start('teleop_node')
    screen.shows('space takeover')
    assert not screen.echoes()
    bench.until(lambda: bench.node.count_publishers('/rlt/episode_event'))
    bench.spin(0.5)  # both ends have found each other

    screen.type('y')
    bench.until(lambda: events)
    assert (events[0].event, events[0].source) == (EpisodeEvent.SUCCESS, 'keyboard')
    screen.type(' ')
    bench.until(lambda: interventions and interventions[-1].active)
    screen.shows('TAKEOVER')
    assert interventions[-1].device == 'keyboard' and not any(interventions[-1].velocity)
    screen.type('w')
    bench.until(lambda: any(any(m.velocity) for m in interventions))
    bench.until(lambda: interventions[-1].active and not any(interventions[-1].velocity))

    screen.type('\x1a')  # Ctrl-Z
    screen.shows('job stopped')
    assert termios.tcgetattr(screen.file) == screen.before
    bench.until(lambda: 'keyboard is lost during a takeover' in bench.log('teleop_node'))
    screen.type('fg\n')
    bench.until(lambda: not screen.echoes())
    screen.type('n')
    bench.until(lambda: len(events) == 2)
    assert events[1].event == EpisodeEvent.FAILURE
    bench.until(lambda: not interventions[-1].active)

    screen.type('\x03')  # Ctrl-C
    screen.shows('job ended with 0')
    assert termios.tcgetattr(screen.file) == screen.before
