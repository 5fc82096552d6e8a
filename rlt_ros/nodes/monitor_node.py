"""One place for the numbers a person looks at: run folder, TensorBoard, diagnostics, markers, video."""

from pathlib import Path
import sys
import time

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from pydantic import Field
from rclpy.node import Node
from visualization_msgs.msg import MarkerArray

from rlt_ros.config import RobotProfile, Strict, Task, load
from rlt_ros.control.kinematics import Kinematics
from rlt_ros.errors import UserError
from rlt_ros.monitor.run_files import RunFiles
from rlt_ros.monitor.statistics import RunStatistics, State, Step
from rlt_ros.monitor.video import Video
from rlt_ros.msg import ActionChunk, EpisodeState, ExecutedStep, LearnerStatus, Observation
from rlt_ros.ros.diagnostics import OK, WARN, Diagnostics
from rlt_ros.ros.images import image_to_rgb
from rlt_ros.ros.markers import path_markers
from rlt_ros.ros.node import NANOSECONDS, read_array, run, stamp_to_ns
from rlt_ros.ros.parameters import declare
from rlt_ros.ros.qos import EVERY_CHANGE, RELIABLE, STORED

FAULT_AGE = 5.0  # s without being told again, then a fault counts as gone
FAULTS = 200  # parts of nodes that are remembered
REFERENCE, CHUNK = (0.2, 0.5, 1.0), (0.1, 0.9, 0.2)  # red, green, blue of the markers


class Parameters(Strict):
    """Parameters of monitor_node."""

    robot: str = Field(default='bimanual', description='name or path of the robot profile')
    task: str = Field(default='ethernet', description='task, name or path: its setting decides what counts as steps')
    run_folder: str = Field(default='', description='where files are written; "" writes none')
    record: bool = Field(default=False, description='write the cameras to a video in the run folder')


class MonitorNode(Node):
    """Nothing depends on it: what it cannot write or understand it reports, and goes on."""

    def __init__(self):
        super().__init__('monitor_node')
        parameters = declare(self, Parameters)
        self.profile = load(RobotProfile, parameters.robot)
        self.kinematics = Kinematics(self.profile)
        self.learner = LearnerStatus()
        self.faults: dict[str, tuple[str, float]] = {}  # by part of a node: what is wrong, when it was told
        self.problem = ''  # of our own, the last one
        self.reported = {'ticks': 0, 'missed_ticks': 0}
        self.files, self.video = self.open_files(parameters)
        before = (self.files.episodes_before, self.files.status_before) if self.files else ()
        setting = load(Task, parameters.task).setting
        self.statistics = RunStatistics(round(NANOSECONDS / self.profile.control_rate), setting, *before)

        self.diagnostics = Diagnostics(self)
        self.markers = self.create_publisher(MarkerArray, 'markers', RELIABLE(1))
        self.create_subscription(EpisodeState, 'episode_state', self.on_state, EVERY_CHANGE)
        self.create_subscription(ExecutedStep, 'executed_step', self.on_step, STORED)
        self.create_subscription(ActionChunk, 'executed_chunk', self.on_chunk, RELIABLE(10))
        self.create_subscription(LearnerStatus, 'learner_status', self.on_learner, RELIABLE(10))
        self.create_subscription(DiagnosticArray, '/diagnostics', self.on_diagnostics, RELIABLE(10))
        if self.video:
            self.create_subscription(Observation, 'observation', self.on_observation, RELIABLE(10))
        self.create_timer(0.5, self.write_status)
        self.create_timer(1.0, self.report)

    def open_files(self, parameters: Parameters) -> tuple[RunFiles | None, Video | None]:
        """Raises UserError if the run folder cannot be written."""
        if not parameters.run_folder:
            return None, None
        folder, profile = Path(parameters.run_folder).expanduser(), self.profile
        try:
            files = RunFiles(folder)
            names = [camera.name for camera in profile.cameras]
            video = Video(folder, names, profile.image_size, profile.observation_rate) if parameters.record else None
        except OSError as error:
            raise UserError(f'run_folder = "{folder}" cannot be written: {error.strerror or error}') from None
        return files, video

    def on_state(self, message: EpisodeState) -> None:
        state = State(
            stamp_to_ns(message.header.stamp),
            message.episode,
            message.phase,
            message.mode,
            message.outcome,
            message.robot_minutes,
        )
        self.write_episodes(self.statistics.add_state(state, time.monotonic_ns()))
        if state.phase == 'finished':
            self.write_status()

    def on_step(self, message: ExecutedStep) -> None:
        step = Step(
            message.tick,
            stamp_to_ns(message.header.stamp),
            message.episode,
            message.phase,
            message.source == ExecutedStep.HOLD,
            message.policy_version,
            message.deadline_error,
        )
        self.write_episodes(self.statistics.add_step(step))

    def on_learner(self, message: LearnerStatus) -> None:
        self.learner = message

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        now = time.monotonic()
        self.faults = {name: fault for name, fault in self.faults.items() if now - fault[1] < FAULT_AGE}
        for status in message.status:
            self.faults.pop(status.name, None)
            if status.level != OK and len(self.faults) < FAULTS:
                self.faults[status.name] = (status.message, now)

    def on_chunk(self, message: ActionChunk) -> None:
        """Show where the tools are about to go, and where the VLA wanted them to."""
        if not self.markers.get_subscription_count():
            return
        try:
            shape = (message.horizon, self.profile.action_dim)
            chunk = self.paths(read_array(message, 'action', shape))
            reference = self.paths(read_array(message, 'reference', shape))
        except ValueError as error:
            self.tell(f'executed_chunk: {error}')
            return
        stamp = self.get_clock().now().to_msg()
        markers = path_markers('reference', reference, REFERENCE, stamp) + path_markers('chunk', chunk, CHUNK, stamp)
        self.markers.publish(MarkerArray(markers=markers))

    def paths(self, positions: np.ndarray) -> np.ndarray:
        """(arms, steps, 3) tool centre points, m, of joint positions (steps, D). Raises ValueError if not finite."""
        if not np.isfinite(positions).all():
            raise ValueError('values that are not finite')
        if not len(positions):
            return np.zeros((len(self.profile.arms), 0, 3))
        return np.stack([self.kinematics.tool_positions(q) for q in positions.astype(float)], axis=1)

    def on_observation(self, message: Observation) -> None:
        """A frame of the video."""
        outcome = self.statistics.outcome()
        text = f'episode {outcome["episode"]}  {outcome["mode"]}  {outcome["phase"]}  {outcome["steps"]} steps'
        try:
            pictures = [image_to_rgb(image) if len(image.data) else None for image in message.images]
            self.video.add(pictures, text + ('  STALE' if message.stale else ''))
        except (ValueError, OSError) as error:
            self.tell(f'video: {error}')

    def metrics(self) -> dict:
        """A line of metrics.jsonl. The learner's numbers are those of its last message."""
        learner = self.learner
        return {
            'time': time.time(),
            'robot_minutes': self.statistics.state.robot_minutes,
            'updates': learner.updates,
            'updates_per_s': learner.updates_per_second,
            'transitions': learner.transitions,
            'policy_version': learner.policy_version,
            **{name: getattr(learner, name) for name in ('critic_loss', 'q_mean', 'target_mean', 'bc_distance')},
            **self.statistics.control(),
        }

    def write_episodes(self, records: list[dict]) -> None:
        for record in records:
            self.get_logger().info(
                f'episode {record["episode"]} ({record["mode"]}): {record["outcome"]} after {record["steps"]} steps'
            )
            if self.files:
                self.attempt(lambda record=record: self.files.add_episode(record))

    def write_status(self) -> None:
        self.write_episodes(self.statistics.poll(time.monotonic_ns()))
        if self.files:
            now = time.monotonic()
            faults = [f'{name}: {text}' for name, (text, told) in self.faults.items() if now - told < FAULT_AGE]
            status = {
                **self.metrics(),
                **self.statistics.outcome(),
                'learner_note': self.learner.note,
                'faults': faults,
                'deadline_histogram': self.statistics.deadline_errors.counts,
            }
            self.attempt(lambda: self.files.replace_status(status))

    def report(self) -> None:
        """Once a second: a line of metrics, and the state of the run for /diagnostics."""
        metrics, outcome = self.metrics(), self.statistics.outcome()
        if self.files:
            self.attempt(lambda: self.files.add_metrics(metrics, outcome))
        fresh = {name: metrics[name] - before for name, before in self.reported.items()}
        self.reported = {name: metrics[name] for name in self.reported}
        if self.problem:
            text = self.problem
        elif fresh['missed_ticks']:
            text = f'{fresh["missed_ticks"]} ticks missed in the last second'
        elif not fresh['ticks']:
            text = 'no executed steps'
        else:
            text = ''
        values = {**outcome, **{name: value for name, value in metrics.items() if name != 'deadline_error_ms'}}
        values |= {f'deadline_error_ms_{name}': value for name, value in metrics['deadline_error_ms'].items()}
        self.diagnostics.add('', WARN if text else OK, text or 'OK', values)
        self.diagnostics.publish()
        self.problem = ''

    def attempt(self, write) -> None:
        """A full disk is told; it does not end the monitor."""
        try:
            write()
        except OSError as error:
            self.tell(f'run folder cannot be written: {error.strerror or error}')

    def tell(self, problem: str) -> None:
        self.problem = problem
        self.get_logger().warning(problem, throttle_duration_sec=10.0)

    def close(self) -> None:
        self.write_episodes(self.statistics.close())
        if self.files:
            self.write_status()
            self.attempt(lambda: self.files.add_metrics(self.metrics(), self.statistics.outcome()))
            self.attempt(self.files.close)
        if self.video:
            self.video.close()


def main() -> int:
    return run(MonitorNode)


if __name__ == '__main__':
    sys.exit(main())
