"""A pydantic model as a node's ROS parameters: declared, described and checked at the start; fixed from then on."""

from array import array
import math
import sys
from typing import Any, Literal, TypeVar, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from rlt_ros.config import Strict, validate

Model = TypeVar('Model', bound=Strict)

# Parameters rclpy itself declares or understands on any node.
ROS_OWN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')
INTEGER_LIMIT = 2**63 - 1


def declare(node: Node, model: type[Model]) -> Model:
    """Declare every field of `model` as a ROS parameter of the same name and return the values given at the start.

    Fields need defaults of type bool, int, float, str or a list of one of these. None may change at run time: what a
    run was made with is what its folder says.

    Raises UserError that names the parameter, its value and what is allowed, also for an unknown parameter.
    """
    values = validate(model, given(node), f'{node.get_name()} parameters')
    node.declare_parameters(
        '',
        [(name, getattr(values, name), descriptor(field)) for name, field in model.model_fields.items()],
        ignore_override=True,
    )
    return values


def given(node: Node) -> dict[str, Any]:
    """What the node was started with, by parameter name; unchecked."""
    # rclpy has no public access to overrides before they are declared, and declares only with the exact type:
    # reading them here lets `rate:=50` be a float and gives one message for everything that is wrong.
    return {
        name: _plain(parameter.value)
        for name, parameter in node._parameter_overrides.items()
        if not name.startswith(ROS_OWN)
    }


def descriptor(field: FieldInfo) -> ParameterDescriptor:
    """What `ros2 param describe` shows of a field: description, range, allowed values, read-only."""
    result = ParameterDescriptor(description=field.description or '', read_only=True)
    if get_origin(field.annotation) is Literal:
        result.additional_constraints = 'one of: ' + ', '.join(str(value) for value in get_args(field.annotation))
    low, high = _bounds(field)
    if field.annotation is float and (low is not None or high is not None):
        result.floating_point_range = [
            FloatingPointRange(
                from_value=-sys.float_info.max if low is None else float(low),
                to_value=sys.float_info.max if high is None else float(high),
            )
        ]
    if field.annotation is int and (low is not None or high is not None):
        result.integer_range = [
            IntegerRange(
                from_value=-INTEGER_LIMIT if low is None else int(low),
                to_value=INTEGER_LIMIT if high is None else int(high),
                step=1,
            )
        ]
    return result


def _bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """Inclusive limits of a number; None where it has none."""
    low = high = None
    is_integer = field.annotation is int
    for limit in field.metadata:
        if isinstance(limit, Ge):
            low = limit.ge
        elif isinstance(limit, Gt):
            low = limit.gt + 1 if is_integer else math.nextafter(limit.gt, math.inf)
        elif isinstance(limit, Le):
            high = limit.le
        elif isinstance(limit, Lt):
            high = limit.lt - 1 if is_integer else math.nextafter(limit.lt, -math.inf)
    return low, high


def _plain(value: Any) -> Any:
    """ROS hands arrays of numbers over as array.array."""
    return list(value) if isinstance(value, (array, tuple)) else value
