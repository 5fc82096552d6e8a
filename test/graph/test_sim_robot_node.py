"""The simulated robot as other nodes see it: a driver with cameras, for both robot profiles."""

import numpy as np
import pytest
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from rlt_ros.config import RobotProfile, load
from rlt_ros.msg import Observation
from rlt_ros.ros.node import stamp_to_ns
from rlt_ros.ros.qos import COMMAND, RELIABLE, SENSOR


@pytest.mark.parametrize('robot', ['bimanual', 'single_arm'])
def test_its_cameras_and_joints_become_aligned_observations(bench, robot):
    profile = load(RobotProfile, robot)
    observations = bench.listen(Observation, 'observation', RELIABLE(10))
    bench.start('sim_robot_node', robot=robot)
    bench.start('camera_node', robot=robot)
    bench.until(lambda: sum(not o.stale for o in observations) > 20)
    last = [o for o in observations if not o.stale][-1]
    assert last.joint_names == profile.joint_names and len(last.position) == profile.action_dim
    assert last.camera_names == [camera.name for camera in profile.cameras]
    assert last.max_skew <= profile.max_skew
    for image in last.images:
        assert (image.width, image.height) == (profile.image_size, profile.image_size)
        assert np.ptp(np.frombuffer(image.data, np.uint8)) > 50  # a picture of something
    stamps = np.array([stamp_to_ns(o.header.stamp) for o in observations if not o.stale])
    assert np.median(np.diff(stamps)) == 1e9 / profile.observation_rate


def test_its_pictures_never_repeat_as_those_of_a_real_camera_do_not(bench):
    """Over bare table a rendered one would, hand and all, and look like a camera that is frozen."""
    profile = load(RobotProfile, 'single_arm')
    pictures = bench.listen(Image, profile.cameras[0].topic, SENSOR)
    bench.start('sim_robot_node', robot='single_arm')
    bench.until(lambda: len(pictures) > 30)
    last = [np.frombuffer(picture.data, np.uint8).astype(int) for picture in pictures[-10:]]  # the robot stands still
    assert all(0 < np.abs(a - b).max() <= 1 for a, b in zip(last, last[1:], strict=False))


@pytest.mark.fault('executor-dies', 'the simulated driver stops by its own time-out')
def test_it_follows_commands_refuses_bad_ones_and_stops_when_they_stop(bench):
    profile = load(RobotProfile, 'single_arm')
    states = bench.listen(JointState, profile.joint_state_topic, RELIABLE(10))
    publisher = bench.node.create_publisher(JointTrajectory, profile.command_topic, COMMAND)
    reset = bench.node.create_client(Trigger, 'reset_robot')
    bench.start('sim_robot_node', robot='single_arm')
    bench.until(lambda: len(states) > 5 and publisher.get_subscription_count() and reset.service_is_ready())

    def command(position, names=profile.joint_names):
        message = JointTrajectory(joint_names=names)
        message.points = [JointTrajectoryPoint(positions=list(position))]
        publisher.publish(message)

    start = np.array(states[-1].position)
    for bad, names in ((np.full(7, np.nan), profile.joint_names), (start[:3], profile.joint_names), (start, ['a'] * 7)):
        command(bad, names)
        bench.spin(0.05)
    log = lambda: bench.log('sim_robot_node')  # noqa: E731
    bench.until(lambda: 'not finite' in log() and 'wrong joint names' in log())
    assert np.abs(np.array(states[-1].position) - start).max() < 1e-3

    up = start.copy()
    up[1] -= 0.8  # the shoulder back: away from the table
    for _ in range(5):
        command(up)
        bench.spin(0.02)
    bench.until(lambda: states[-1].position[1] < start[1] - 0.02)
    bench.spin(1.0)  # no command: it stops on its way
    stopped = np.array(states[-1].position)
    assert np.abs(states[-1].velocity).max() < 0.02
    assert stopped[1] > up[1] + 0.01

    call = reset.call_async(Trigger.Request())
    bench.until(call.done)
    bench.until(lambda: np.abs(np.array(states[-1].position) - stopped).max() > 0.01)
