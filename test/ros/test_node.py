"""Starting and stopping a node as a process, stamps and array fields."""

import os
from pathlib import Path
import signal
import subprocess
import sys

import numpy as np
import pytest

from rlt_ros.msg import ExecutedStep, VlaOutput
from rlt_ros.ros.node import fill_array, ns_to_stamp, read_array, stamp_to_ns, stamp_to_seconds

NODE = '''
import sys
from rclpy.node import Node
from rlt_ros.errors import UserError
from rlt_ros.ros.node import run

class Example(Node):
    def __init__(self):
        super().__init__('example')
        if 'user_error' in sys.argv:
            raise UserError('robot "x" does not exist; there are: y')
        self.create_timer(0.01, self.tick)
        self.ticks = 0

    def tick(self):
        self.ticks += 1
        if self.ticks == 1:
            print('ready', flush=True)
        if self.ticks > 3 and 'defect' in sys.argv:
            raise RuntimeError('defect')

    def close(self):
        print('closed', flush=True)

sys.exit(run(Example))
'''


def start(*arguments: str) -> subprocess.Popen:
    environment = {
        **os.environ,
        'PYTHONPATH': str(Path(__file__).parents[2]),
    }
    return subprocess.Popen(
        [sys.executable, '-c', NODE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize('signals', [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_a_signal_ends_the_node_after_its_clean_up(signals):
    process = start()
    assert process.stdout.readline() == 'ready\n'
    for number in signals:
        process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, 'closed\n', '')


def test_user_error_is_one_line_and_exit_code_2():
    process = start('user_error')
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (2, '')
    assert errors == 'Example: robot "x" does not exist; there are: y\n'


def test_wrong_ros_arguments_are_one_line_and_exit_code_2():
    process = start('--ros-args', '-p', 'nonsense')
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert 'nonsense' in errors and 'Traceback' not in errors


@pytest.mark.fault('out-of-memory', 'the node ends, as if it was killed')
def test_a_defect_in_a_callback_ends_the_node_with_a_traceback_after_its_clean_up():
    process = start('defect')
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert 'closed' in output and 'RuntimeError: defect' in errors


def test_stamps_go_there_and_back():
    nanoseconds = 1_764_000_000_123_456_789
    assert stamp_to_ns(ns_to_stamp(nanoseconds)) == nanoseconds
    assert stamp_to_seconds(ns_to_stamp(1_500_000_000)) == 1.5


def test_array_fields():
    step = ExecutedStep()
    fill_array(step, 'command', np.arange(14, dtype=np.float32))
    np.testing.assert_array_equal(read_array(step, 'command', (2, 7)), np.arange(14.0).reshape(2, 7))
    output = VlaOutput()
    prefix = np.random.default_rng(0).normal(size=(16, 8)).astype(np.float16)
    fill_array(output, 'prefix', prefix.T)
    np.testing.assert_array_equal(read_array(output, 'prefix', (8, 16), np.float16), prefix.T)
    assert read_array(VlaOutput(), 'reference', (0, 14)).shape == (0, 14)


@pytest.mark.parametrize('shape', [(13,), (15,), (-1,), (-2, -7), (2, 8)])
def test_array_fields_of_another_length_are_refused(shape):
    step = ExecutedStep()
    fill_array(step, 'command', np.zeros(14))
    with pytest.raises(ValueError, match='ExecutedStep.command'):
        read_array(step, 'command', shape)
