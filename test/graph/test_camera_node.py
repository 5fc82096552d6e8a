"""camera_node as a process: topics and video files as sources, also when they vanish and come back."""

from functools import partial
import json
import os
import re

import cv2
from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
import pytest
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from rlt_ros.config import RobotProfile, load
from rlt_ros.msg import Observation
from rlt_ros.ros.images import image_to_rgb, numpy_to_image
from rlt_ros.ros.node import stamp_to_ns
from rlt_ros.ros.qos import COMMAND, RELIABLE, SENSOR

PROFILE = load(RobotProfile, 'bimanual')
JOINTS = PROFILE.joint_names
CAMERAS = [camera.name for camera in PROFILE.cameras]


@pytest.fixture
def bench(bench):
    bench.observations = bench.listen(Observation, 'observation', RELIABLE(10))
    return bench


class Robot:
    """Publishes cameras and joint states as drivers do, from one timer at 50 Hz."""

    def __init__(self, bench, cameras):
        self.bench, self.tick, self.silent = bench, 0, set()
        node = bench.node
        self.cameras = {c.name: node.create_publisher(Image, c.topic, SENSOR) for c in cameras}
        self.joints = node.create_publisher(JointState, PROFILE.joint_state_topic, RELIABLE(10))
        self.position = np.arange(14.0)
        self.picture = np.full((96, 96, 3), [10, 20, 30], np.uint8)
        self.turning = 0.0  # rad per tick, of the right arm's waist
        self.seeing = set()  # cameras whose pictures change
        node.create_timer(0.02, self.publish)

    def publish(self):
        header = Header(stamp=self.bench.node.get_clock().now().to_msg())
        self.position[7] += self.turning
        if 'joints' not in self.silent:
            order = np.random.default_rng(self.tick).permutation(14)
            state = JointState(header=header, name=[JOINTS[i] for i in order])
            state.position = [float(self.position[i]) for i in order]
            state.velocity = [0.5] * 14
            self.joints.publish(state)
        self.tick += 1
        for name, publisher in self.cameras.items():
            if self.tick % 2 == 0 and name not in self.silent:
                picture = self.picture + np.uint8(self.tick % 100 if name in self.seeing else 0)
                publisher.publish(numpy_to_image(picture, header))


def good(bench):
    return [observation for observation in bench.observations if not observation.stale]


def test_topics_become_aligned_observations(bench):
    robot = Robot(bench, PROFILE.cameras)
    # small enough that the default transports lose none of it
    robot.picture = np.zeros((120, 160, 3), np.uint8)
    robot.picture[:, 20:140] = [10, 20, 30]  # what is left and right of the square is cropped
    process = bench.start('camera_node')
    bench.until(lambda: len(good(bench)) > 25)
    observation = good(bench)[-1]
    assert observation.camera_names == ['right_wrist', 'left_wrist', 'base'] and observation.joint_names == JOINTS
    assert len(observation.images) == 3
    for image in observation.images:
        assert (image_to_rgb(image) == [10, 20, 30]).all() and image.width == image.height == 96
        assert abs(stamp_to_ns(image.header.stamp) - stamp_to_ns(observation.header.stamp)) <= 20e6
    assert observation.header.stamp == observation.images[0].header.stamp
    np.testing.assert_array_equal(observation.position, robot.position)
    np.testing.assert_array_equal(observation.velocity, [0.5] * 14)
    np.testing.assert_array_equal(observation.command, robot.position)
    assert observation.instruction == 'plug the ethernet connector into the socket'
    stamps = [stamp_to_ns(observation.header.stamp) for observation in good(bench)]
    assert stamps == sorted(set(stamps))

    commands = bench.node.create_publisher(JointTrajectory, PROFILE.command_topic, COMMAND)
    bench.until(lambda: commands.get_subscription_count())
    command = [0.25 * i for i in range(14)]
    commands.publish(JointTrajectory(joint_names=JOINTS, points=[JointTrajectoryPoint(positions=command)]))
    bench.until(lambda: list(good(bench)[-1].command) == command)
    broken = [float('nan')] * 14
    commands.publish(JointTrajectory(joint_names=JOINTS, points=[JointTrajectoryPoint(positions=broken)]))
    seen = len(good(bench))
    bench.until(lambda: len(good(bench)) > seen + 10)
    assert list(good(bench)[-1].command) == command
    assert bench.stop(process) == 0


def latest(diagnostics, part):
    """The last status of a part of the node."""
    found = [s for array in diagnostics for s in array.status if s.name == f'/rlt/camera_node: {part}']
    return found[-1] if found else None


@pytest.mark.fault('camera-garbage', 'refused, counted and told on /diagnostics')
def test_bad_input_is_dropped_and_reported_and_the_node_goes_on(bench):
    robot = Robot(bench, PROFILE.cameras)
    robot.silent = {'left_wrist', 'joints'}
    diagnostics = bench.listen(DiagnosticArray, '/diagnostics', RELIABLE(10))
    status = partial(latest, diagnostics)
    bench.start('camera_node')
    picture = numpy_to_image(robot.picture, Header())

    def break_everything():
        now = Header(stamp=bench.node.get_clock().now().to_msg())
        robot.cameras['left_wrist'].publish(picture)  # no stamp
        broken = numpy_to_image(robot.picture, now)
        broken.height = 4_000_000_000
        robot.cameras['left_wrist'].publish(broken)
        robot.joints.publish(JointState(header=now, name=JOINTS, position=[float('nan')] * 14))
        robot.joints.publish(JointState(header=now, name=JOINTS[1:], position=[0.0] * 13))

    timer = bench.node.create_timer(0.05, break_everything)
    bench.until(lambda: status('left_wrist') and 'dropped: no stamp' in {v.key for v in status('left_wrist').values})
    bench.until(lambda: any('px' in value.key for value in status('left_wrist').values))
    keys = bench.until(lambda: len(found := {v.key for v in status('joint_states').values}) >= 4 and found)
    assert {f'dropped: {JOINTS[0]} is not finite', f'dropped: no joint {JOINTS[0]}'} <= keys
    assert bench.observations and not good(bench)
    assert len(bench.observations[-1].images[1].data) == 0 and len(bench.observations[-1].position) == 0
    timer.cancel()
    robot.silent = set()
    bench.until(lambda: good(bench))
    bench.until(lambda: status('observation').level == b'\x00' and status('left_wrist').level == b'\x00')


@pytest.mark.fault('camera-stops', 'observations are marked stale until it is back')
@pytest.mark.parametrize('source', ['right_wrist', 'base', 'joints'])
def test_a_publisher_that_stops_is_told_and_comes_back(bench, source):
    robot = Robot(bench, PROFILE.cameras)
    bench.start('camera_node')
    bench.until(lambda: len(good(bench)) > 5)
    robot.silent = {source}
    bench.until(lambda: bench.observations and bench.observations[-1].stale)
    del bench.observations[:]
    bench.until(lambda: len(bench.observations) > 10)
    assert all(observation.stale for observation in bench.observations[5:])
    robot.silent = set()
    bench.until(lambda: len(good(bench)) > 5)


@pytest.mark.fault('camera-frozen', 'observations are marked stale once the tool has moved, until a new picture comes')
def test_a_camera_whose_picture_is_frozen_while_the_robot_moves_is_told_by_name(bench):
    robot = Robot(bench, PROFILE.cameras)
    diagnostics = bench.listen(DiagnosticArray, '/diagnostics', RELIABLE(10))
    told = partial(latest, diagnostics)
    bench.start('camera_node')
    bench.until(lambda: len(good(bench)) > 10)  # at rest all pictures are the same
    robot.turning, robot.seeing = 0.001, set(CAMERAS)
    seen = len(good(bench))
    bench.until(lambda: len(good(bench)) > seen + 25)
    robot.seeing -= {'right_wrist'}
    problem = r'frozen: same picture for \d+ frames while the tool moved \d+ mm'
    bench.until(lambda: re.fullmatch(f'right_wrist: {problem}', told('observation').message))
    assert re.fullmatch(problem, told('right_wrist').message) and told('right_wrist').level == b'\x02'
    assert told('base').message == told('left_wrist').message == 'OK'
    robot.turning = 0.0
    del bench.observations[:]
    bench.until(lambda: len(bench.observations) > 10)
    assert not good(bench), 'also at rest'
    robot.seeing.add('right_wrist')
    bench.until(lambda: not bench.observations[-1].stale)
    bench.until(lambda: told('right_wrist').message == told('observation').message == 'OK')


def write_video(path, colour, frames=20):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 25.0, (160, 120))
    for _ in range(frames):
        writer.write(np.full((120, 160, 3), colour, np.uint8))
    writer.release()


def profile_with_video(tmp_path, video):
    data = load(RobotProfile, 'single_arm').model_dump()
    data['cameras'][0]['source'] = str(video)
    path = tmp_path / 'robot.yaml'
    path.write_text(json.dumps(data))  # JSON is YAML
    return str(path)


def test_a_video_file_that_vanishes_and_comes_back(bench, tmp_path):
    video, hidden = tmp_path / 'camera.avi', tmp_path / 'hidden.avi'
    write_video(video, (30, 20, 200))  # blue, green, red
    Robot(bench, [])
    diagnostics = bench.listen(DiagnosticArray, '/diagnostics', RELIABLE(10))
    process = bench.start('camera_node', robot=profile_with_video(tmp_path, video))
    bench.until(lambda: len(good(bench)) > 40)  # the video is 20 frames long: it is played again
    pixel = image_to_rgb(good(bench)[-1].images[0])[48, 48].astype(int)
    assert np.abs(pixel - [200, 20, 30]).max() < 12
    os.rename(video, hidden)
    bench.until(lambda: bench.observations and bench.observations[-1].stale)
    bench.until(lambda: any('camera.avi: cannot be opened' in s.message for m in diagnostics for s in m.status))
    del bench.observations[:]
    bench.until(lambda: len(bench.observations) > 10)
    assert not good(bench)
    os.rename(hidden, video)
    bench.until(lambda: len(good(bench)) > 5)
    assert bench.stop(process) == 0


def test_a_video_file_plays_once_if_so_wanted(bench, tmp_path):
    video = tmp_path / 'camera.avi'
    write_video(video, (0, 0, 0))
    Robot(bench, [])
    diagnostics = bench.listen(DiagnosticArray, '/diagnostics', RELIABLE(10))
    bench.start('camera_node', robot=profile_with_video(tmp_path, video), loop_video=False)
    bench.until(lambda: any('camera.avi: ended' in s.message for m in diagnostics for s in m.status))
    bench.until(lambda: bench.observations and bench.observations[-1].stale)
    assert len(good(bench)) <= 20


def test_a_robot_that_does_not_exist_is_one_line(bench):
    process = bench.start('camera_node', robot='nonesuch')
    assert process.wait(timeout=20) == 2
    assert bench.log('camera_node').count('\n') == 1 and 'robot "nonesuch" does not exist' in bench.log('camera_node')
