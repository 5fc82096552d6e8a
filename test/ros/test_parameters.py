"""A node's parameters: what a user gives wrong is refused by name."""

from typing import Literal

from pydantic import Field
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from rlt_ros.config import Strict
from rlt_ros.errors import UserError
from rlt_ros.ros.parameters import declare


class Example(Strict):
    """Every kind of parameter."""

    rate: float = Field(default=50.0, gt=0, le=100, description='Hz')
    count: int = Field(default=3, ge=1, description='how many')
    mode: Literal['fast', 'slow'] = 'fast'
    record: bool = False
    axes: list[int] = [0, 1]
    robot: str = 'bimanual'


@pytest.fixture
def make():
    made = []

    def build(*arguments: str) -> Node:
        context = Context()
        rclpy.init(args=['--ros-args', *arguments], context=context)
        made.append(Node('example', context=context))
        return made[-1]

    yield build
    for node in made:
        node.destroy_node()
        node.context.try_shutdown()


def test_defaults(make):
    assert declare(make(), Example) == Example()


def test_command_line_values_with_a_whole_number_for_a_float(make):
    values = declare(make('-p', 'rate:=20', '-p', 'mode:=slow', '-p', 'axes:=[4, 5]', '-p', 'record:=true'), Example)
    assert values == Example(rate=20.0, mode='slow', axes=[4, 5], record=True)


def test_parameter_file(make, tmp_path):
    path = tmp_path / 'parameters.yaml'
    path.write_text('/**:\n  ros__parameters:\n    count: 7\n    use_sim_time: false\n')
    assert declare(make('--params-file', str(path)), Example).count == 7


@pytest.mark.fault('parameter', 'the node does not start; value and what is allowed are named')
@pytest.mark.parametrize(
    ('argument', 'words'),
    [
        ('rate:=0.0', ['rate', '0.0', 'greater than 0']),
        ('rate:=fast', ['rate', "'fast'", 'number']),
        ('count:=0', ['count', '0', 'greater than or equal to 1']),
        ('mode:=medium', ['mode', "'medium'", "'fast' or 'slow'"]),
        ('axis:=3', ['unknown', 'axis', 'axes']),
    ],
)
def test_wrong_values_are_named_with_what_is_allowed(make, argument, words):
    with pytest.raises(UserError) as error:
        declare(make('-p', argument), Example)
    for word in words:
        assert word in str(error.value)
    assert '\n' not in str(error.value)


def test_descriptor_tells_description_range_and_choices(make):
    node = make()
    declare(node, Example)
    rate, count, mode = node.describe_parameters(['rate', 'count', 'mode'])
    assert rate.description == 'Hz'
    assert 0 < rate.floating_point_range[0].from_value < 1e-9 and rate.floating_point_range[0].to_value == 100
    assert count.integer_range[0].from_value == 1
    assert 'fast, slow' in mode.additional_constraints
    assert all(each.read_only for each in (rate, count, mode))


@pytest.mark.fault('parameter', 'a change at run time is refused, and says why')
@pytest.mark.parametrize('value', [25.0, 500.0, float('nan'), 'fast'])
def test_a_change_at_run_time_is_refused(make, value):
    node = make()
    declare(node, Example)
    (result,) = node.set_parameters([Parameter('rate', value=value)])
    assert not result.successful and 'read-only' in result.reason
    assert node.get_parameter('rate').value == 50.0
