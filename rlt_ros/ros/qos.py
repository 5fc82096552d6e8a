"""Qualities of service of the topics: what may be lost and what may not."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def RELIABLE(depth: int) -> QoSProfile:  # noqa: N802 - reads as one of the profiles below
    """Nothing is lost while a subscriber is less than `depth` messages behind."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.RELIABLE)


# Cameras: only the latest counts, a lost frame is not sent again.
SENSOR = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)

# What the learner stores: more than the 2 s (8 s at 50 Hz) a subscriber may be busy.
STORED = RELIABLE(400)

# Commands: an old one must never follow a new one.
COMMAND = RELIABLE(1)

# State that whoever comes late must know.
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)

# For a subscriber of a latched topic that must see each change: an episode's end is followed by the next reset at once,
# and the latest state alone would hide it.
EVERY_CHANGE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=50,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
