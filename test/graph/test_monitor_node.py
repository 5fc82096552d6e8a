"""monitor_node as a process: a run's messages become the files of its folder."""

import json

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from rlt_ros.config import RobotProfile, load
from rlt_ros.control.kinematics import Kinematics
from rlt_ros.msg import ActionChunk, EpisodeState, ExecutedStep, LearnerStatus, Observation
from rlt_ros.report.records import read_episodes, read_lines, read_object
from rlt_ros.ros.images import numpy_to_image
from rlt_ros.ros.node import fill_array, ns_to_stamp
from rlt_ros.ros.qos import LATCHED, RELIABLE, STORED

PROFILE = load(RobotProfile, 'bimanual')
START, PERIOD = 1_764_000_000_000_000_000, 20_000_000


class Run:
    """Publishes what executor, episode node and learner would, with stamps of its own."""

    def __init__(self, bench):
        self.bench, self.tick = bench, 0
        node = bench.node
        self.state_publisher = node.create_publisher(EpisodeState, 'episode_state', LATCHED)
        self.steps_publisher = node.create_publisher(ExecutedStep, 'executed_step', STORED)
        self.learner = node.create_publisher(LearnerStatus, 'learner_status', RELIABLE(5))
        self.chunk = node.create_publisher(ActionChunk, 'executed_chunk', RELIABLE(5))
        self.observation = node.create_publisher(Observation, 'observation', RELIABLE(10))
        self.diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', RELIABLE(10))

    def ready(self, monitors=1):
        """Wait until the monitor hears everything; steps are sent until it counts them."""
        parts = (self.state_publisher, self.steps_publisher, self.learner, self.chunk)
        self.bench.until(lambda: all(publisher.get_subscription_count() == monitors for publisher in parts))
        before = self.bench.values().get('ticks', '0')
        timer = self.bench.node.create_timer(0.02, lambda: self.steps(1, 'idle', 0))
        self.bench.until(lambda: self.bench.values().get('ticks', '0') != before)
        self.bench.node.destroy_timer(timer)
        self.bench.spin(0.1)

    def header(self):
        return Header(stamp=ns_to_stamp(START + self.tick * PERIOD))

    def state(self, phase, episode, outcome=''):
        message = EpisodeState(header=self.header(), episode=episode, phase=phase, mode='online', outcome=outcome)
        self.state_publisher.publish(message)

    def steps(self, count, phase, episode):
        for _ in range(count):
            step = ExecutedStep(header=self.header(), tick=self.tick, episode=episode, phase=phase, deadline_error=1e-4)
            self.steps_publisher.publish(step)
            self.tick += 1

    def episode(self, number, steps, outcome):
        self.state('critical', number)
        for _ in range(steps // 10):
            self.steps(10, 'critical', number)
            self.bench.spin(0.01)
        self.state('ended', number, outcome)
        self.state('reset', number + 1)
        self.steps(5, 'reset', number + 1)


@pytest.fixture
def bench(bench):
    diagnostics = bench.listen(DiagnosticArray, '/diagnostics', RELIABLE(10))

    def values():
        found = [s for array in diagnostics for s in array.status if s.name == '/rlt/monitor_node']
        return {item.key: item.value for item in found[-1].values} if found else {}

    bench.values = values
    return bench


def status(folder):
    return read_object(folder / 'status.json')


@pytest.mark.fault('monitor-dies', 'after a new start it goes on with what was written')
def test_a_run_is_written_and_gone_on_with_after_a_crash(bench, tmp_path):
    folder, run = tmp_path / 'run', Run(bench)
    process = bench.start('monitor_node', run_folder=str(folder))
    run.ready()
    run.learner.publish(LearnerStatus(updates=1234, updates_per_second=99.5, policy_version=7, q_mean=float('nan')))
    run.episode(1, 100, 'success')
    run.episode(2, 150, 'timeout')
    bench.until(lambda: len(read_episodes(folder)) == 2 and status(folder)['episodes'] == 2)
    first, second = read_episodes(folder)
    assert (first['steps'], first['outcome'], first['mode']) == (100, 'success', 'online')
    assert (second['steps'], second['seconds']) == (150, pytest.approx(3.0))
    now = status(folder)
    assert (now['episode'], now['phase'], now['success_last_20'], now['finished']) == (3, 'reset', 0.5, False)
    assert now['throughput_per_10min'] == pytest.approx(120) and now['missed_ticks'] == 0
    bench.until(lambda: read_lines(folder / 'metrics.jsonl')[-1]['ticks'] >= 260)
    line = read_lines(folder / 'metrics.jsonl')[-1]
    assert (line['updates'], line['updates_per_s'], line['policy_version'], line['q_mean']) == (1234, 99.5, 7, None)
    assert line['deadline_error_ms']['p99'] == pytest.approx(0.1, rel=0.03)

    process.kill()
    process.wait()
    bench.processes.clear()
    process = bench.start('monitor_node', run_folder=str(folder))
    run.ready(monitors=2)  # the dead one counts until its lease ends
    run.episode(3, 50, 'success')
    bench.until(lambda: len(read_episodes(folder)) == 3 and status(folder)['episodes'] == 3)
    assert status(folder)['ticks'] > line['ticks'] + 50
    assert status(folder)['success_last_20'] == pytest.approx(2 / 3)
    run.state('finished', 4)
    bench.until(lambda: status(folder)['finished'])
    run.learner.publish(LearnerStatus(updates=5000))
    bench.spin(0.2)
    assert bench.stop(process) == 0
    assert status(folder)['updates'] == 5000 and read_lines(folder / 'metrics.jsonl')[-1]['updates'] == 5000
    assert list((folder / 'tensorboard').iterdir())


def test_markers_faults_and_video(bench, tmp_path):
    folder, run = tmp_path / 'run', Run(bench)
    markers = bench.listen(MarkerArray, 'markers', RELIABLE(1))
    process = bench.start('monitor_node', run_folder=str(folder), record=True)
    run.ready()
    home = np.array([joint.home for joint in PROFILE.joints])
    chunk = ActionChunk(header=run.header(), horizon=10, action_dim=14)
    fill_array(chunk, 'action', np.tile(home, (10, 1)))
    fill_array(chunk, 'reference', np.tile(home + 0.01, (10, 1)))
    broken = ActionChunk(header=run.header(), horizon=4_000_000_000, action_dim=14)
    fault = DiagnosticStatus(level=DiagnosticStatus.ERROR, name='/rlt/camera_node: base', message='silent for 2.0 s')
    picture = numpy_to_image(np.full((96, 96, 3), 128, np.uint8), Header())

    def publish():
        run.chunk.publish(broken)
        run.chunk.publish(chunk)
        run.diagnostics.publish(DiagnosticArray(status=[fault]))
        run.observation.publish(Observation(header=run.header(), images=[picture, Image(), picture]))
        run.observation.publish(Observation(header=run.header(), images=[picture]))  # not what the profile has

    timer = bench.node.create_timer(0.05, publish)
    bench.until(lambda: markers and (folder / 'cameras-1.mp4').exists())
    lines = {(marker.ns, marker.id): marker for marker in markers[-1].markers}
    assert set(lines) == {('reference', 0), ('reference', 1), ('chunk', 0), ('chunk', 1)}
    tools = Kinematics(PROFILE).tool_positions(home)
    for arm in (0, 1):
        point = lines['chunk', arm].points[3]
        np.testing.assert_allclose([point.x, point.y, point.z], tools[arm], atol=1e-6)
    bench.until(lambda: '/rlt/camera_node: base: silent for 2.0 s' in status(folder).get('faults', []))
    timer.cancel()
    bench.until(lambda: not any('camera_node' in fault for fault in status(folder)['faults']))
    assert bench.stop(process) == 0
    capture = cv2.VideoCapture(str(folder / 'cameras-1.mp4'))
    assert capture.read()[0] and capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 3 * 288
    assert 'executed_chunk: ' in bench.log('monitor_node') and 'Traceback' not in bench.log('monitor_node')


def test_without_a_run_folder_nothing_is_written(bench, tmp_path):
    run = Run(bench)
    process = bench.start('monitor_node')
    run.ready()
    run.episode(1, 20, 'success')
    bench.until(lambda: bench.values().get('success_last_20') == '1.0')
    assert bench.stop(process) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ['monitor_node.log', 'monitor_node.yaml']


def test_a_run_folder_that_cannot_be_written_is_one_line(bench, tmp_path):
    (tmp_path / 'file').write_text('')
    process = bench.start('monitor_node', run_folder=str(tmp_path / 'file'))
    assert process.wait(timeout=20) == 2
    bench.processes.clear()
    assert bench.log('monitor_node').count('\n') == 1 and 'run_folder' in bench.log('monitor_node')


def test_the_status_is_strict_json(bench, tmp_path):
    run = Run(bench)
    bench.start('monitor_node', run_folder=str(tmp_path / 'run'))
    run.ready()
    run.learner.publish(LearnerStatus(critic_loss=float('inf'), bc_distance=float('nan'), note='waiting for data'))
    bench.until(lambda: status(tmp_path / 'run').get('learner_note') == 'waiting for data')

    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads((tmp_path / 'run' / 'status.json').read_text(), parse_constant=refuse)
    assert content['critic_loss'] is None and content['bc_distance'] is None
