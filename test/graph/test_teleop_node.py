"""teleop_node as a process: Joy in, Intervention and EpisodeEvent out."""

import numpy as np
from sensor_msgs.msg import Joy

from rlt_ros.msg import EpisodeEvent, Intervention
from rlt_ros.ros.qos import COMMAND, RELIABLE

DEADMAN, SUCCESS = 10, 0


def test_takeover_events_and_silence(bench):
    interventions = bench.listen(Intervention, 'intervention', COMMAND)
    events = bench.listen(EpisodeEvent, 'episode_event', RELIABLE(10))
    joy = bench.node.create_publisher(Joy, 'joy', RELIABLE(10))
    process = bench.start('teleop_node')
    bench.until(lambda: joy.get_subscription_count() and bench.node.count_publishers('/rlt/intervention'))
    held: set[int] = set()

    def publish():
        joy.publish(Joy(axes=[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], buttons=[int(i in held) for i in range(15)]))

    timer = bench.node.create_timer(0.02, publish)
    bench.until(lambda: interventions)
    assert not interventions[-1].active
    held.add(DEADMAN)
    bench.until(lambda: interventions[-1].active)
    assert np.isclose(interventions[-1].velocity[7], 0.6) and interventions[-1].device == 'joy'
    held.add(SUCCESS)
    bench.until(lambda: events)
    assert (events[0].event, events[0].source) == (EpisodeEvent.SUCCESS, 'joy')
    assert interventions[-1].active
    timer.cancel()
    bench.until(lambda: not interventions[-1].active)
    assert not any(interventions[-1].velocity)
    joy.publish(Joy())  # a message without axes and buttons
    bench.spin(0.2)
    assert len(events) == 1
    assert bench.stop(process) == 0
