"""joy_node as a process, with a game controller that SDL simulates: plugged in and out, moved, and shaken."""

import os
from pathlib import Path
import subprocess
import sys

import pytest
from sensor_msgs.msg import Joy, JoyFeedback

from rlt_ros.ros.qos import RELIABLE

HERE = Path(__file__).parent


class Pad:
    """The process under test and the virtual controller in it."""

    def __init__(self, bench):
        self.bench, self.messages = bench, bench.listen(Joy, 'joy', RELIABLE(10))
        self.feedback = bench.node.create_publisher(JoyFeedback, 'joy/set_feedback', RELIABLE(10))
        with (bench.folder / 'joy_node.log').open('w') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-u', str(HERE / 'virtual_pad.py'), '--ros-args', '-r', '__ns:=/rlt'],
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, text=True,
                env={**os.environ, 'PYTHONPATH': str(HERE.parents[1])},
            )  # fmt: skip
        bench.processes.append(self.process)
        bench.until(lambda: bench.node.count_publishers('/rlt/joy') and self.feedback.get_subscription_count())

    def do(self, command: str) -> None:
        self.process.stdin.write(command + '\n')
        self.process.stdin.flush()

    def said(self, text: str) -> bool:
        return text in self.bench.log('joy_node')


@pytest.fixture
def pad(bench):
    return Pad(bench)


@pytest.mark.fault('joy-unplugged', 'silence, and heard again when plugged in')
def test_a_controller_is_found_read_shaken_lost_and_found_again(pad, bench):
    bench.spin(0.3)
    assert not pad.messages, 'without a controller there is nothing to say'
    pad.do('plug Pad yes')
    bench.until(lambda: pad.messages)
    assert pad.said('Pad')
    bench.until(lambda: not any(pad.messages[-1].axes))
    assert len(pad.messages[-1].axes) == 6 and len(pad.messages[-1].buttons) == 21

    begin = len(pad.messages)
    bench.spin(2.0)
    assert 40 < len(pad.messages) - begin <= 110, 'about 50 a second while nothing changes'

    for command in ('axis 0 -32768', 'axis 1 -16384', 'axis 3 1000', 'axis 5 32767', 'button 10 1'):
        pad.do(command)
    last = bench.until(lambda: pad.messages[-1].buttons[10] and pad.messages[-1])
    assert last.axes[0] == pytest.approx(1.0) and last.axes[1] == pytest.approx(0.45 / 0.95, abs=1e-3)
    assert last.axes[3] == 0 and last.axes[5] == pytest.approx(-1.0), 'the dead zone; triggers go to -1'
    assert sum(last.buttons) == 1

    pad.feedback.publish(JoyFeedback(type=JoyFeedback.TYPE_RUMBLE, intensity=2.0))
    pad.feedback.publish(JoyFeedback(type=JoyFeedback.TYPE_LED, intensity=1.0))
    pad.feedback.publish(JoyFeedback(type=JoyFeedback.TYPE_RUMBLE, intensity=0.5))
    bench.until(lambda: pad.said('rumble 32767 32767'))
    assert pad.bench.log('joy_node').count('rumble') == 1
    pad.feedback.publish(JoyFeedback(type=JoyFeedback.TYPE_RUMBLE, intensity=0.0))
    bench.until(lambda: pad.said('rumble 0 0'))

    pad.do('unplug')
    bench.until(lambda: pad.said('Pad -> none'))
    pad.messages.clear()
    bench.spin(0.3)
    assert not pad.messages, 'silence releases the robot'
    pad.do('plug Other yes')
    bench.until(lambda: pad.messages)
    assert not any(pad.messages[-1].buttons) and pad.said('none -> Other')
    assert bench.stop(pad.process) == 0


def test_a_joystick_without_a_layout_is_left_alone_and_told(pad, bench):
    pad.do('plug Strange no')
    bench.until(lambda: pad.said('no layout'))
    bench.spin(0.2)
    assert not pad.messages
