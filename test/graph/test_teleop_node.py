"""teleop_node as a process: Joy in, Intervention, EpisodeEvent, rumble and the executor's switches out."""

import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
import pytest
from sensor_msgs.msg import JointState, Joy, JoyFeedback
from std_srvs.srv import Trigger

from rlt_ros.config import RobotProfile, load
from rlt_ros.msg import EpisodeEvent, Intervention
from rlt_ros.ros.node import ns_to_stamp, stamp_to_ns
from rlt_ros.ros.qos import RELIABLE
from rlt_ros.teleop.keyboard import KEYS

DEADMAN, SUCCESS, ESTOP, REARM = 10, 0, 9, 8
PROFILE = load(RobotProfile, 'bimanual')


class Person:
    """With a controller and a robot that tells where it is; both speak 50 times a second."""

    def __init__(self, bench):
        self.bench, self.held, self.axes = bench, set(), [0.0] * 6
        self.interventions = bench.listen(Intervention, 'intervention', RELIABLE(50))
        self.events = bench.listen(EpisodeEvent, 'episode_event', RELIABLE(10))
        self.rumbles = bench.listen(JoyFeedback, 'joy/set_feedback', RELIABLE(10))
        self.reports = bench.listen(DiagnosticArray, '/diagnostics', RELIABLE(10))
        publisher = bench.node.create_publisher
        self.joy, self.keyboard = (publisher(Joy, name, RELIABLE(10)) for name in ('joy', 'keyboard'))
        self.joints = publisher(JointState, PROFILE.joint_state_topic, RELIABLE(10))
        self.feeling, self.speaking, self.keys = True, True, None
        self.late, self.stamps = None, []  # s that its messages are on their way; None: they have no stamp
        self.process = bench.start('teleop_node')
        bench.until(lambda: self.joy.get_subscription_count() and bench.node.count_publishers('/rlt/intervention'))
        bench.node.create_timer(0.02, self.tick)
        bench.until(lambda: self.interventions)

    def tick(self):
        if self.feeling:
            home = [joint.home for joint in PROFILE.joints]
            message = JointState(name=PROFILE.joint_names[::-1], position=home[::-1])
            message.header.stamp = self.bench.node.get_clock().now().to_msg()
            self.joints.publish(message)
        if self.speaking:
            message = Joy(axes=self.axes, buttons=[int(i in self.held) for i in range(21)])
            if self.late is not None:
                message.header.stamp = ns_to_stamp(time.time_ns() - round(self.late * 1e9))
                self.stamps.append(stamp_to_ns(message.header.stamp))
            self.joy.publish(message)
        if self.keys is not None:
            self.keyboard.publish(Joy(buttons=[int(key in self.keys) for key in KEYS]))

    def moves(self):
        last = self.interventions[-1]
        return last.active and any(last.velocity)


@pytest.fixture
def person(bench):
    return Person(bench)


def test_what_a_person_does_is_as_old_as_the_message_of_the_controller(person, bench):
    person.held.add(DEADMAN)
    person.late = 0.05
    bench.until(lambda: stamp_to_ns(person.interventions[-1].header.stamp) in person.stamps)
    person.late = 0.5
    bench.until(lambda: 'joy comes 0.5' in bench.log('teleop_node'))


def test_takeover_label_and_hand_back(person, bench):
    assert not person.interventions[-1].active
    person.axes[1] = 1.0
    person.held.add(DEADMAN)
    bench.until(person.moves)
    person.held.add(SUCCESS)
    bench.until(lambda: person.events)
    assert (person.events[0].event, person.events[0].source) == (EpisodeEvent.SUCCESS, 'joy')
    message = person.interventions[-1]
    assert message.device == 'joy' and not any(message.velocity[:7]) and any(message.velocity[7:13])
    bench.until(lambda: [r.intensity > 0 for r in person.rumbles] == [True, False])
    person.held.clear()
    bench.until(lambda: not person.interventions[-1].active)
    bench.until(lambda: [r.intensity > 0 for r in person.rumbles] == [True, False] * 2)
    assert len(person.events) == 1
    assert bench.stop(person.process) == 0


@pytest.mark.fault('joy-unplugged', 'nothing is said in its place, and another controller may take over')
@pytest.mark.fault('joy-short', 'ignored, counts as silence, told on /diagnostics')
def test_of_an_unplugged_controller_and_a_wrong_one_nobody_says_that_it_let_go(person, bench):
    person.axes[1] = 1.0
    person.held.add(DEADMAN)
    bench.until(person.moves)
    person.speaking = False
    bench.until(lambda: 'joy is lost during a takeover' in bench.log('teleop_node'))
    assert person.interventions[-1].active
    person.keys = {' '}
    bench.until(lambda: person.interventions[-1].active and person.interventions[-1].device == 'keyboard')
    person.keys = set()
    bench.until(lambda: not person.interventions[-1].active)
    person.keys = None
    person.speaking = True
    bench.until(person.moves)
    for axes in ([1.0, 1.0], [np.nan] * 6):
        person.axes = axes
        lost = bench.log('teleop_node').count('joy is lost')
        bench.until(lambda lost=lost: bench.log('teleop_node').count('joy is lost') > lost)
        assert person.interventions[-1].active
        level = DiagnosticStatus.WARN
        bench.until(lambda level=level: any(
            status.level == level and status.name.endswith('teleop_node: joy')
            for report in person.reports for status in report.status))  # fmt: skip
        person.reports.clear()
        person.axes = [0.0, 1.0, 0, 0, 0, 0]
        person.interventions.clear()
        bench.until(lambda: person.interventions and person.moves())
    assert 'joy ignored: 2 axes' in bench.log('teleop_node') and 'not finite' in bench.log('teleop_node')


@pytest.mark.fault('joints-stop', 'a person does not move the robot either')
def test_without_joint_states_the_robot_is_held_and_not_moved(person, bench):
    person.axes[1] = 1.0
    person.held.add(DEADMAN)
    bench.until(person.moves)
    person.feeling = False
    bench.until(lambda: not any(person.interventions[-1].velocity))
    assert person.interventions[-1].active
    bench.until(lambda: 'no motion, joint states' in bench.log('teleop_node'))


def test_two_controllers_do_not_fight(person, bench):
    person.keys = {' '}
    bench.until(lambda: person.interventions[-1].active)
    person.axes[1] = 1.0
    person.held.add(DEADMAN)
    bench.spin(0.5)
    assert {m.device for m in person.interventions if m.active} == {'keyboard'} and not person.moves()
    person.keys = {' ', 'w'}
    bench.until(person.moves)
    person.keys = set()
    bench.until(lambda: person.interventions[-1].active and person.interventions[-1].device == 'joy')


def test_the_e_stop_and_the_re_arm_reach_the_executor(person, bench):
    calls, fine = [], [True]

    def answer(name):
        def on_call(request, response):
            calls.append(name)
            response.success = name == 'estop' or fine[0]
            return response

        return on_call

    person.held.add(ESTOP)
    bench.until(lambda: person.events)
    assert person.events[-1].event == EpisodeEvent.ESTOP, 'it is told even when no executor answers'
    bench.until(lambda: 'no service executor/estop' in bench.log('teleop_node'))
    person.held.clear()
    for name in ('estop', 'rearm'):
        bench.node.create_service(Trigger, f'executor/{name}', answer(name))
    bench.spin(1.0)
    person.held.add(ESTOP)
    bench.until(lambda: calls == ['estop'])
    person.held.clear()
    fine[0] = False
    bench.spin(0.5)
    person.held.add(REARM)
    bench.until(lambda: 'rearm: refused' in bench.log('teleop_node'))
    assert [event.event for event in person.events] == [EpisodeEvent.ESTOP] * 2
    person.held.clear()
    bench.spin(0.5)
    fine[0] = True
    person.held.add(REARM)
    bench.until(lambda: person.events[-1].event == EpisodeEvent.REARM)


def test_deactivated_it_does_not_let_go_for_the_person_and_passes_on_nothing_but_the_e_stop(person, bench):
    calls = []

    def on_estop(request, response):
        calls.append('estop')
        response.success = True
        return response

    bench.node.create_service(Trigger, 'executor/estop', on_estop)
    person.axes[1] = 1.0
    person.held.add(DEADMAN)
    bench.until(person.moves)
    assert bench.change('teleop_node', 'deactivate')
    count = len(person.interventions)
    person.held |= {SUCCESS, ESTOP}
    bench.until(lambda: calls == ['estop'])
    assert len(person.interventions) == count and not person.events
    assert person.interventions[-1].active, 'silence during a takeover: the robot holds'
    person.held.discard(ESTOP)
    assert bench.change('teleop_node', 'activate')
    bench.until(person.moves)
