"""The whole graph as processes that nobody supervises, and what a test hears of it and does to it.

All run with the shipped networks and the simulated robot. The frames of one camera pass through the test.
"""

import subprocess
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_bench import NodeBench
import numpy as np
from sensor_msgs.msg import Image, JointState, Joy
from std_srvs.srv import Trigger
import yaml

from rlt_ros.config import Method, RobotProfile, Task, load
from rlt_ros.msg import ActionChunk, EpisodeState, ExecutedStep, ExecutorStatus, RlState
from rlt_ros.ros.node import stamp_to_ns
from rlt_ros.ros.qos import EVERY_CHANGE, RELIABLE, SENSOR, STORED

PROFILE, METHOD = load(RobotProfile, 'bimanual'), load(Method, 'rlt')
DT = 1 / PROFILE.control_rate
VLA, HUMAN, HOLD = ExecutedStep.VLA, ExecutedStep.HUMAN, ExecutedStep.HOLD
DEADMAN = 10
CAMERA = PROFILE.cameras[-1]  # whose frames pass through the test
ANSWERED = 50 * DT  # s after an observation, when the shipped VLA's chunk is over


def stamp(message) -> float:
    """s."""
    return stamp_to_ns(message.header.stamp) * 1e-9


class Graph:
    """The nodes, and what the test hears of them."""

    def __init__(self, bench: NodeBench):
        self.bench, folder = bench, bench.folder
        profile = PROFILE.model_dump()
        profile['cameras'][-1]['topic'] = 'relayed'
        self.run = folder / 'run'
        files = {'method': load(Method, 'rlt', evaluation_episodes=0, warmup_episodes=1000).model_dump(),
                 'task': load(Task, 'ethernet', time_limit=300.0).model_dump(), 'robot': profile}  # fmt: skip
        for name, content in files.items():
            (folder / f'{name}.yaml').write_text(yaml.safe_dump(content))
        method, task, robot = ({name: f'./{name}.yaml'} for name in files)
        self.steps = bench.listen(ExecutedStep, 'executed_step', STORED)
        self.chunks = bench.listen(ActionChunk, 'executed_chunk', RELIABLE(10))
        self.statuses = bench.listen(ExecutorStatus, 'executor_status', RELIABLE(10))
        self.states = bench.listen(RlState, 'rl_state', RELIABLE(10))
        self.episodes = bench.listen(EpisodeState, 'episode_state', EVERY_CHANGE)
        self.joints = bench.listen(JointState, PROFILE.joint_state_topic, RELIABLE(10))
        self.reports = bench.listen(DiagnosticArray, '/diagnostics', RELIABLE(10))
        self.heard = (self.steps, self.chunks, self.statuses, self.states, self.joints, self.reports)
        self.relayed = bench.node.create_publisher(Image, 'relayed', SENSOR)
        self.change = lambda image: image  # what becomes of a frame on its way; None: nothing
        bench.node.create_subscription(Image, CAMERA.topic, self.relay, SENSOR)
        self.joy = bench.node.create_publisher(Joy, 'joy', RELIABLE(10))
        self.parameters = {
            'sim_robot_node': {}, 'executor_node': method | task, 'camera_node': robot | task, 'rl_token_node': {},
            'vla_node': method | task, 'teleop_node': {}, 'learner_node': method | {'run_folder': str(self.run)},
            'monitor_node': {'run_folder': str(self.run)},
            # No success ends a test, nor a machine that stood still for a moment.
            'episode_node': method | task | {'reset': 'person', 'shortest_seconds': 60.0, 'executor_silence': 3.0},
        }  # fmt: skip
        self.nodes: dict[str, subprocess.Popen] = {}
        for name in self.parameters:
            self.start(name)
        bench.until(lambda: self.phase() == 'reset', 120.0)

    def start(self, name: str) -> None:
        self.nodes[name] = self.bench.start(name, **self.parameters[name])

    def kill(self, name: str) -> None:
        process = self.nodes[name]
        process.kill()
        process.wait()
        self.bench.processes.remove(process)

    def relay(self, image: Image) -> None:
        changed = self.change(image)
        if changed is not None:
            self.relayed.publish(changed)

    def phase(self) -> str:
        return self.episodes[-1].phase if self.episodes else ''

    def accepted(self, name: str) -> bool:
        return self.bench.call(Trigger, name).success

    def call(self, name: str) -> None:
        assert self.accepted(name)

    def press(self, name: str) -> None:
        """Call, and again where that is refused, as a person does: a busy machine's states may be too old just then."""
        self.bench.until(lambda: self.accepted(name))

    def begin(self) -> None:
        """An episode under way, driven by the VLA for a while, with all that leads to it heard."""
        self.call('reset_robot')
        self.bench.spin(0.3)
        for messages in self.heard:
            messages.clear()
        self.bench.until(self.may_start)
        self.call('episode/start')
        self.bench.until(lambda: self.states and sum(s.source == VLA for s in self.steps) > 20)

    def may_start(self) -> bool:
        """Whether nothing is wrong with the robot and its observations any more, as was last told."""
        seen = [status.level for status in self.told('camera_node: observation')]
        return [status.reason for status in self.statuses][-1:] == ['IDLE'] and seen[-1:] == [DiagnosticStatus.OK]

    def end(self) -> None:
        if self.phase() != 'reset':
            self.accepted('episode/abort')  # or it has ended meanwhile
            self.bench.until(lambda: self.phase() == 'reset')

    def held(self, since: float) -> ExecutedStep:
        """The first step after `since` (s) that holds; waits for it."""
        return self.bench.until(lambda: next((s for s in self.steps if s.source == HOLD and stamp(s) > since), None))

    def driven(self, since: float, source: int = VLA) -> ExecutedStep:
        return self.bench.until(lambda: next((s for s in self.steps if s.source == source and stamp(s) > since), None))

    def goes_on(self, since: float) -> None:
        """Whether an observation from half a second after `since` (s) is answered and drives the robot."""
        chunk = self.bench.until(lambda: next((c for c in self.chunks if stamp(c) > since + 0.5), None))
        self.bench.until(lambda: any(s.source == VLA and s.tick >= chunk.first_tick for s in self.steps))

    def runs_out(self, time_to_hold) -> ExecutedStep:
        """The first step that holds, when the last answer and the rest of its reference are over."""
        held = self.held(time.time())
        seen = max(stamp(s) for s in self.states)
        time_to_hold(stamp(held) - seen)
        assert stamp(held) - seen <= ANSWERED + 2 * DT
        return held

    def keeps_holding(self, held: ExecutedStep, seconds: float) -> None:
        """Whether from a step on, for `seconds` from now, the robot holds and stands."""
        self.bench.spin(seconds)
        last = [s for s in self.steps if s.tick >= held.tick]
        assert {s.source for s in last} == {HOLD} and self.stands(last[10:])

    def goes_silent(self, held: ExecutedStep) -> None:
        """Whether after a takeover the robot holds from a step on, stands, and says why, although chunks go on."""
        self.keeps_holding(held, 1.0)
        assert self.statuses[-1].reason == 'HOLD: joy fell silent during a takeover'

    def stands(self, steps: list[ExecutedStep]) -> bool:
        """Whether no command differs from the one before."""
        return not np.diff([step.command for step in steps], axis=0).any()

    def told(self, part: str) -> list[DiagnosticStatus]:
        return [s for report in self.reports for s in report.status if s.name == f'/rlt/{part}']
