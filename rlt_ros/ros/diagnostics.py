"""Publishes a node's state on /diagnostics, where rqt_runtime_monitor and the monitor look."""

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from rlt_ros.ros.qos import RELIABLE

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE


class Diagnostics:
    """Collects the parts of a node's state and publishes them together."""

    def __init__(self, node: Node):
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', RELIABLE(10))
        self._parts: list[DiagnosticStatus] = []

    def add(self, part: str, level: bytes, message: str, values: Mapping[str, object] | None = None) -> None:
        """The state of a part ('' is the node itself): OK, WARN, ERROR or STALE, a sentence and numbers."""
        node = self._node.get_fully_qualified_name()
        self._parts.append(
            DiagnosticStatus(
                level=level,
                name=f'{node}: {part}' if part else node,
                message=message,
                hardware_id=node,
                values=[KeyValue(key=key, value=str(value)) for key, value in (values or {}).items()],
            )
        )

    def publish(self) -> None:
        """Send what was added since the last time."""
        message = DiagnosticArray(status=self._parts)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
        self._parts = []
