"""The learner as a process: what it learns from, and what it survives."""

import hashlib
from pathlib import Path
import resource
import signal

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_bench import NodeBench
import numpy as np
import pytest
import tiny_weights
import yaml

from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.msg import EpisodeState, ExecutedStep, LearnerStatus, Policy, RlState
from rlt_ros.rl import journal
from rlt_ros.rl.policy import unpack
from rlt_ros.ros.node import fill_array, ns_to_stamp
from rlt_ros.ros.qos import EVERY_CHANGE, LATCHED, RELIABLE, STORED

PROFILE = load(RobotProfile, 'single_arm')
METHOD = Method(
    name='quick', hidden=16, batch=8, warmup_episodes=1, first_updates=20, updates_per_transition=2, publish_period=0.1
)
PERIOD = 20_000_000  # ns
LENGTH = 60  # ticks of an episode
D, TOKEN, FEEL = PROFILE.action_dim, 16, 19
PER_EPISODE = len(range(0, LENGTH - METHOD.delay, 2))  # observations of which at least one step was executed


class Run:
    """A learner in a run folder, and everything else of the graph as far as it hears of it."""

    def __init__(self, bench: NodeBench, folder: Path):
        self.bench, self.folder = bench, folder / 'run'
        self.weights, self.method = folder / 'vla.safetensors', folder / 'quick.yaml'
        tiny_weights.save_vla(self.weights, PROFILE)
        self.method.write_text(yaml.safe_dump(METHOD.model_dump()))
        publisher = bench.node.create_publisher
        self.steps = publisher(ExecutedStep, 'executed_step', STORED)
        self.states = publisher(RlState, 'rl_state_backfill', STORED)
        self.episodes = publisher(EpisodeState, 'episode_state', EVERY_CHANGE)
        self.statuses = bench.listen(LearnerStatus, 'learner_status', RELIABLE(10))
        self.policies = bench.listen(Policy, 'policy', LATCHED)
        self.reports = bench.listen(DiagnosticArray, '/diagnostics', RELIABLE(10))
        self.number = self.driven = 0  # episode; policy that drove in it
        self.process = self.start()

    @property
    def journal(self) -> Path:
        return self.folder / 'journal' / 'transitions.rltj'

    def start(self):
        self.statuses.clear()
        self.policies.clear()
        process = self.bench.start(
            'learner_node', robot='single_arm', method=str(self.method), vla_weights=str(self.weights),
            run_folder=str(self.folder),
        )  # fmt: skip
        self.bench.until(lambda: self.statuses and self.steps.get_subscription_count())
        return process

    def episode(self, broken: bool = False) -> None:
        """A successful episode of made-up numbers; broken: one of its observations is not finite."""
        self.number += 1
        random = np.random.default_rng(self.number)
        first = self.number * 1000  # one clock for all: ticks count from its start
        start = 1_800_000_000_000_000_000 + first * PERIOD
        mode = 'warmup' if self.number == 1 else 'online'
        for tick in range(LENGTH):
            step = ExecutedStep(tick=first + tick, episode=self.number, phase='critical', source=ExecutedStep.VLA,
                                policy_version=self.driven)  # fmt: skip
            step.header.stamp = ns_to_stamp(start + tick * PERIOD)
            fill_array(step, 'command', random.normal(0, 0.01, D))
            self.steps.publish(step)
        for tick in range(0, LENGTH, 2):
            state = RlState(episode=self.number, sequence=tick, horizon=20, action_dim=D, encoder_hash='e' * 64,
                            backfill=True, last=tick == LENGTH - 2)  # fmt: skip
            state.header.stamp = ns_to_stamp(start + tick * PERIOD - 1_000_000)
            token = random.normal(0, 1, TOKEN)
            fill_array(state, 'token', token * np.nan if broken and tick == 30 else token)
            fill_array(state, 'proprioception', random.normal(0, 1, FEEL))
            fill_array(state, 'reference', random.normal(0, 0.1, (20, D)))
            fill_array(state, 'position', np.zeros(D))
            self.states.publish(state)
        end = EpisodeState(episode=self.number, phase='ended', mode=mode, outcome='success')
        end.header.stamp = ns_to_stamp(start + LENGTH * PERIOD)
        self.episodes.publish(end)
        following = ExecutedStep(tick=first + 500, episode=self.number + 1, phase='approach')  # the label is settled
        following.header.stamp = ns_to_stamp(start + 500 * PERIOD)
        fill_array(following, 'command', np.zeros(D))
        self.steps.publish(following)

    def learned(self, transitions: int) -> LearnerStatus:
        """The first status with so many transitions in which all updates that they allow are made."""
        found = lambda: [s for s in self.statuses if s.transitions >= transitions and not s.update_budget]  # noqa: E731
        return self.bench.until(found)[-1]

    def level(self) -> bytes:
        return [s for report in self.reports for s in report.status if 'learner' in s.name][-1].level


@pytest.fixture
def run(bench: NodeBench, tmp_path: Path) -> Run:
    return Run(bench, tmp_path)


@pytest.mark.fault('learner-dies', 'after a new start it goes on where it was')
@pytest.mark.fault('burst', 'no burst of updates after SIGKILL')
def test_it_learns_and_after_kill_9_goes_on_where_it_was_without_a_burst(run: Run, bench: NodeBench) -> None:
    run.episode()
    run.episode()
    status = run.learned(2 * PER_EPISODE)
    assert status.transitions == 2 * PER_EPISODE and status.updates == 20 + 2 * PER_EPISODE
    policy = bench.until(lambda: run.policies and run.policies[-1])
    sizes = (TOKEN + FEEL + METHOD.delay * D, METHOD.chunk * D)
    assert unpack(bytes(policy.weights), 1, policy.sha256, *sizes).layers[-1][0].shape[1] == sizes[1]
    assert hashlib.sha256(bytes(policy.weights)).hexdigest() == policy.sha256 and policy.method == 'quick'
    assert run.level() == DiagnosticStatus.OK
    assert bench.stop(run.process) == 0  # leaves a checkpoint
    run.process = run.start()
    run.episode()
    run.learned(3 * PER_EPISODE)
    run.process.send_signal(signal.SIGKILL)
    run.process.wait()
    bench.processes.remove(run.process)
    stored = list(journal.read(run.journal))
    assert [record.episode for record in stored] == [n for n in (1, 2, 3) for _ in range(PER_EPISODE)]
    with run.journal.open('ab') as file:
        file.write(run.journal.read_bytes()[:40])  # as a kill in the middle of a write leaves it
    run.start()
    status = run.learned(3 * PER_EPISODE)
    assert status.transitions == 3 * PER_EPISODE and status.updates == 20 + 4 * PER_EPISODE
    assert '40 bytes of a torn tail were cut off' in bench.log('learner_node')
    assert list(journal.records(run.journal))[-1][1] == run.journal.stat().st_size


def test_its_last_policy_has_all_updates_and_drives_again_after_a_new_start(run: Run, bench: NodeBench) -> None:
    run.episode()
    run.episode()
    run.learned(2 * PER_EPISODE)
    bench.spin(1.0)
    newest = run.policies[-1]
    assert bench.stop(run.process) == 0
    saved = run.journal.parents[1] / 'checkpoints' / 'actor.safetensors'
    assert saved.read_bytes() == bytes(newest.weights), 'no update is kept back'
    run.policies.clear()
    run.start()  # and nothing new is learned
    again = bench.until(lambda: run.policies and run.policies[-1])
    sizes = (TOKEN + FEEL + METHOD.delay * D, METHOD.chunk * D)
    state, reference = np.ones(sizes[0], np.float32), np.zeros(sizes[1], np.float32)
    first, second = (unpack(bytes(p.weights), p.version, p.sha256, *sizes) for p in (newest, again))
    np.testing.assert_array_equal(first.mean(state, reference), second.mean(state, reference))
    assert again.version > newest.version and again.encoder_hash == newest.encoder_hash


@pytest.mark.fault('learner-dies', 'a version that has driven the robot is not given out again')
def test_after_kill_9_its_policies_are_newer_than_what_drives(run: Run, bench: NodeBench) -> None:
    run.driven = 7  # more than this learner knows of
    for _ in range(2):
        run.episode()
    bench.until(lambda: run.policies and run.policies[-1].version > 7)
    run.process.kill()
    run.process.wait()
    bench.processes.remove(run.process)
    run.start()  # without a checkpoint: what it knows is from the journal
    run.episode()
    bench.until(lambda: run.policies)
    assert run.policies[0].version > 7


@pytest.mark.fault('not-finite', 'left out of what is learned from')
def test_what_is_not_finite_is_left_out_and_said(run: Run, bench: NodeBench) -> None:
    run.episode()
    run.episode(broken=True)
    lost = 2  # its own transition, and the one whose value goes on there
    status = run.learned(2 * PER_EPISODE - lost)
    assert status.transitions == 2 * PER_EPISODE - lost and np.isfinite(status.q_mean)
    assert 'token is not finite' in bench.log('learner_node')


@pytest.mark.fault('disk-full', 'recording stops, told as an error; learning goes on')
def test_a_full_disk_stops_the_recording_and_nothing_else(run: Run, bench: NodeBench) -> None:
    run.episode()
    bench.until(lambda: run.statuses[-1].transitions == PER_EPISODE)
    size = run.journal.stat().st_size
    resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (size + 1000, size + 1000))
    run.episode()
    run.learned(2 * PER_EPISODE)
    bench.until(lambda: run.level() == DiagnosticStatus.ERROR)
    assert 'recording stopped' in run.statuses[-1].note
    run.episode()
    status = run.learned(3 * PER_EPISODE)
    assert status.updates == 20 + 4 * PER_EPISODE
    assert run.journal.stat().st_size == size, 'nothing half written is left'
    assert {record.episode for record in journal.read(run.journal)} == {1}
