"""What every node shares: starting and stopping, stamps, and array fields of messages without Python loops."""

import signal
import sys
from typing import Any

from builtin_interfaces.msg import Time
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from rlt_ros.errors import UserError

NANOSECONDS = 1_000_000_000


def run(node_class: type[Node]) -> int:
    """Start ROS, build the node, spin it until SIGINT or SIGTERM, clean up; returns the process's exit code.

    0: stopped when asked; 2: a UserError, printed as one line. Any other exception goes through, after the clean-up.
    A node's optional `start_up()` runs before it is spun, and `close()` before it is destroyed; both may publish. It
    says that its work is `done`; while it is `loading`, or still being built, a signal interrupts that.
    """
    node, stopping = None, False

    def stop(number: int, frame: Any) -> None:
        # Ctrl-C reaches a launched node twice, by terminal and launcher: the second must not disturb the clean-up.
        nonlocal stopping
        is_first, stopping = not stopping, True
        if is_first and (node is None or getattr(node, 'loading', False)):
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        _start_ros()
        node = node_class()
        executor = EventsExecutor()
        executor.add_node(node)
        if hasattr(node, 'start_up'):
            node.start_up()
        # Not spin(): without a timeout, this executor is a busy loop that delivers nothing.
        while not (stopping or getattr(node, 'done', False)) and rclpy.ok():
            executor.spin_once(timeout_sec=0.1)
    except UserError as error:
        print(f'{node_class.__name__}: {error}', file=sys.stderr)
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):  # the latter: the node has ended its own work
        pass
    finally:
        stopping = True
        if node is not None:
            if hasattr(node, 'close'):
                node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _start_ros() -> None:
    """rclpy.init() with wrong --ros-args as UserError."""
    try:
        # rclpy's own handlers would pull the context away under a running callback.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        raise UserError(f'ROS arguments: {" ".join(str(error).split())}') from None


def stamp_to_ns(stamp: Time) -> int:
    """Nanoseconds of a message's stamp."""
    return stamp.sec * NANOSECONDS + stamp.nanosec


def ns_to_stamp(nanoseconds: int) -> Time:
    """A message's stamp from nanoseconds."""
    sec, nanosec = divmod(nanoseconds, NANOSECONDS)
    return Time(sec=sec, nanosec=nanosec)


def stamp_to_seconds(stamp: Time) -> float:
    """Seconds of a message's stamp; for today's dates exact to a quarter of a microsecond."""
    return stamp.sec + stamp.nanosec * 1e-9


def fill_array(message: Any, field: str, values: np.ndarray) -> None:
    """Copy numbers into an array field in row-major order, converted to the field's type.

    A uint8[] field takes the array's bytes as they are in memory, whatever its type (images, float16 embeddings).
    """
    empty = getattr(message, field)[:0]
    values = np.ascontiguousarray(values, None if empty.typecode == 'B' else np.dtype(empty.typecode))
    empty.frombytes(values.tobytes())
    setattr(message, field, empty)


def read_array(message: Any, field: str, shape: tuple[int, ...], dtype: np.dtype | type | None = None) -> np.ndarray:
    """An array field as numpy array of exactly that shape: a view on the message, not a copy.

    `dtype` is for uint8[] fields that carry something else. Raises ValueError if the field has another length.
    """
    data = getattr(message, field)
    values = np.frombuffer(data, np.uint8) if len(data) else np.zeros(0, np.uint8)
    dtype = np.dtype(dtype or data.typecode)
    expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if min(shape, default=0) < 0 or len(values) != expected:
        name = f'{type(message).__name__}.{field}'
        raise ValueError(f'{name} has {len(values)} bytes, not {expected} for {dtype} {list(shape)}')
    return values.view(dtype).reshape(shape)
