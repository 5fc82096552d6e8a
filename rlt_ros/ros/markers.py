"""Markers for rviz."""

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
import numpy as np
from visualization_msgs.msg import Marker

FRAME = 'world'
LIFETIME = 1  # s, then a marker disappears


def path_markers(name: str, paths: np.ndarray, colour: tuple[float, float, float], stamp: Time) -> list[Marker]:
    """A line per path of (paths, steps, 3), m, world frame; paths of less than two steps are left out."""
    markers = []
    for i, path in enumerate(paths):
        if len(path) < 2:
            continue
        marker = Marker(ns=name, id=i, type=Marker.LINE_STRIP, action=Marker.ADD)
        marker.header.frame_id, marker.header.stamp = FRAME, stamp
        marker.pose.orientation.w = 1.0
        marker.scale.x = 0.002
        marker.color.r, marker.color.g, marker.color.b, marker.color.a = *colour, 1.0
        marker.lifetime.sec = LIFETIME
        marker.points = [Point(x=x, y=y, z=z) for x, y, z in path.tolist()]
        markers.append(marker)
    return markers
