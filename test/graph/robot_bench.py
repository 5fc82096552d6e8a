"""Everything around an executor that runs as a process."""

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from rclpy.duration import Duration
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
import tiny_weights
from trajectory_msgs.msg import JointTrajectory
import yaml

from rlt_ros.config import RobotProfile, Task, load
from rlt_ros.msg import EpisodeEvent, EpisodeState, ExecutedStep, ExecutorStatus, Intervention, RlState
from rlt_ros.ros.node import fill_array, stamp_to_ns
from rlt_ros.ros.qos import COMMAND, LATCHED, RELIABLE, STORED

PROFILE = load(RobotProfile, 'single_arm')
HOME = np.array([joint.home for joint in PROFILE.joints])


class Robot:
    """Everything around an executor: it feels joint states, sees states and hears of the episode, as the test wants."""

    def __init__(self, bench, tmp_path, time_limit=600.0, **limits):
        """limits: what the joints of the robot have instead of the profile's."""
        joints = [joint | limits for joint in PROFILE.model_dump()['arms'][0]['joints']]
        arm = PROFILE.model_dump()['arms'][0] | {'joints': joints}
        self.profile = RobotProfile(**PROFILE.model_dump() | {'arms': [arm]})
        weights, robot = tmp_path / 'vla.safetensors', tmp_path / 'robot.yaml'
        tiny_weights.save_vla(weights, self.profile)
        robot.write_text(yaml.safe_dump(self.profile.model_dump()))
        self.bench, self.feeling, self.sequence, self.number = bench, True, 0, 1
        self.human, self.speaking = False, True  # whether a person holds the deadman, and is heard
        self.delta: float | None = None  # what every state asks for, five a second
        self.count, self.felt_at = 0, 0
        self.position = HOME
        self.steps = bench.listen(ExecutedStep, 'executed_step', STORED)
        self.commands = bench.listen(JointTrajectory, PROFILE.command_topic, COMMAND)
        self.statuses = bench.listen(ExecutorStatus, 'executor_status', RELIABLE(10))
        self.faults = bench.listen(DiagnosticArray, '/diagnostics', RELIABLE(10))
        self.services = {
            name: bench.node.create_client(Trigger, f'executor/{name}') for name in ('estop', 'rearm')
        }
        publisher = bench.node.create_publisher
        self.joints = publisher(JointState, PROFILE.joint_state_topic, RELIABLE(10))
        self.states = publisher(RlState, 'rl_state', RELIABLE(10))
        self.episode = publisher(EpisodeState, 'episode_state', LATCHED)
        self.events = publisher(EpisodeEvent, 'episode_event', RELIABLE(10))
        self.intervention = publisher(Intervention, 'intervention', RELIABLE(1))
        bench.node.create_timer(0.02, self.every_tick)
        task = tmp_path / 'task.yaml'
        task.write_text(yaml.safe_dump(load(Task, 'ethernet', time_limit=time_limit).model_dump()))
        self.parameters = {'robot': str(robot), 'vla_weights': str(weights), 'task': str(task)}
        self.process = bench.start('executor_node', **self.parameters)
        bench.until(lambda: self.steps and self.joints.get_subscription_count())
        bench.until(lambda: all(client.service_is_ready() for client in self.services.values()))

    def every_tick(self):
        if self.feeling:
            self.feel()
        self.count += 1
        if self.delta is not None and self.count % 10 == 0:
            self.see(self.delta)
        if self.speaking:
            self.touch(self.human)

    def touch(self, active, device='test'):
        self.intervention.publish(Intervention(active=active, velocity=[0.1] + [0.0] * 6, device=device))

    def feel(self, ahead=0.0, names=PROFILE.joint_names):
        message = JointState(name=names, position=self.position.tolist())
        message.header.stamp = (self.bench.node.get_clock().now() + Duration(seconds=ahead)).to_msg()
        self.felt_at = stamp_to_ns(message.header.stamp)
        self.joints.publish(message)

    def call(self, name):
        answer = self.services[name].call_async(Trigger.Request())
        self.bench.until(answer.done)
        return answer.result().success, answer.result().message

    def says(self, line):
        return self.statuses and self.statuses[-1].reason.startswith(line)

    def level(self):
        return self.told() and self.told().level

    def told(self):
        """What it last said on /diagnostics."""
        parts = [s for array in self.faults for s in array.status if s.name == '/rlt/executor_node']
        return parts and parts[-1]

    def drive(self):
        """Into an episode that the VLA drives."""
        self.enter('critical')
        self.delta = 1.0
        self.bench.until(lambda: self.last(ExecutedStep.VLA))

    def enter(self, phase, number=1, mode='evaluation'):
        self.number = number
        message = EpisodeState(episode=number, phase=phase, mode=mode)
        message.header.stamp = self.bench.node.get_clock().now().to_msg()
        self.episode.publish(message)

    def see(self, delta, episode=None, ahead=0.0):
        """A state whose reference chunk is to move every joint by `delta`, in action units."""
        self.sequence += 1
        message = RlState(episode=episode or self.number, sequence=self.sequence, horizon=20, action_dim=7)
        message.header.stamp = (self.bench.node.get_clock().now() + Duration(seconds=ahead)).to_msg()
        fill_array(message, 'token', np.zeros(16))
        fill_array(message, 'proprioception', np.zeros(19))
        fill_array(message, 'reference', np.full((20, 7), delta))
        fill_array(message, 'position', HOME)
        self.states.publish(message)

    def last(self, source):
        return self.steps and self.steps[-1].source == source
