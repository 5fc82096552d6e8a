"""Online RL in lock-step, as fast as the machine goes; its run folder has the form of a live run's."""

from collections.abc import Callable
import json
from pathlib import Path
import time

from rlt_ros.bench.lockstep import LockStep, Result, one_core, open_lockstep
from rlt_ros.bench.parts import RLT, Parts
from rlt_ros.bench.trace import Trace
from rlt_ros.config import Method, RobotProfile, Task
from rlt_ros.errors import UserError
from rlt_ros.report.records import LEARNED
from rlt_ros.rl import checkpoint
from rlt_ros.rl.learner import Learner
from rlt_ros.sim.physics import SOFT, STIFF

# seeds of starts, beside the run's own; those of the final evaluation are nobody else's
LEARNING, FINAL, WHOLE = 2, 7, 13
PATIENCE = 50  # whole episodes in a row of which nothing could be learned
CURRICULUM = 2 / 3  # of the robot minutes of a full task: so long its critical phase alone is practised
CONTACT = {'final': SOFT, 'stiff': STIFF}  # of what is evaluated after learning
EPISODE = {'critical': 1 / 15, 'full': 1 / 3}  # robot minutes of an evaluated one, about: for the time that remains


class Recorder:
    """episodes.jsonl and metrics.jsonl of a lock-step run."""

    def __init__(self, folder: Path, rate: float, method: Method):
        self.folder, self.rate, self.method = folder, rate, method
        self.number = self.ticks = self.updates = 0
        self.minutes = self.evaluated = 0.0  # robot minutes learned from; evaluated, before and afterwards

    def add(
        self, mode: str, result: Result, learner: Learner | None = None, fresh: int = 0, seconds: float = 0.0
    ) -> None:
        """One ended episode, the updates made after it and the seconds they took."""
        self.number += 1
        self.ticks += result.steps
        self.updates += fresh
        if mode in LEARNED:
            self.minutes += result.learned / self.rate / 60
        if mode in ('evaluation', *CONTACT):
            self.evaluated += result.steps / self.rate / 60
        record = {
            'episode': self.number, 'mode': mode, 'outcome': 'success' if result.success else 'timeout',
            'steps': result.steps, 'seconds': result.steps / self.rate, 'robot_minutes': self.minutes,
            'policy_version': learner.version if learner else 0, 'stamp': time.time(),
            'penetration_mm': result.penetration * 1e3,
        }  # fmt: skip
        if learner is not None and learner.learning and result.transitions:
            record['q'] = learner.predicted(result.transitions).round(4).tolist()
            record['returns'] = result.returns(self.method).round(4).tolist()
        self._append('episodes.jsonl', record)
        if learner is not None and fresh:
            self._append('metrics.jsonl', {
                'time': time.time(), 'robot_minutes': self.minutes, 'updates': learner.agent.updates,
                'updates_per_s': fresh / seconds if seconds else 0.0, 'transitions': learner.replay.added,
                'policy_version': learner.version, 'ticks': self.ticks, 'missed_ticks': 0, 'chunk_holds': 0,
                **learner.agent.statistics,
            })  # fmt: skip

    def _append(self, name: str, record: dict) -> None:
        with (self.folder / name).open('a') as file:
            file.write(json.dumps(record) + '\n')


def work(task: Task, method: Method, minutes: float, final_episodes: int, stiff: bool = True) -> float:
    """Robot minutes that `learn` simulates, about: for the time that remains."""
    evaluated = method.evaluation_episodes + final_episodes * (1 + stiff)
    return minutes + evaluated * EPISODE[task.setting]


def learn(
    profile: RobotProfile, task: Task, method: Method, minutes: float, seed: int, folder: Path,
    report: Callable[[float, str], None], final_episodes: int = 0, parts: Parts = RLT, stiff: bool = True,
) -> Recorder:  # fmt: skip
    """Evaluate the VLA, warm up, learn for `minutes` of robot time.

    After each episode report(robot minutes learned from and evaluated, note).

    A full task is learned as in the paper: its critical phase alone first, with the part in the hand from the start
    (mode curriculum), then the whole.

    Then, without noise and from starts that were not learned from, `final_episodes` of the actor, and (stiff) as many
    with stiffer contact and a smaller time step: who has learned to push through a soft wall shows there.

    Raises UserError where the VLA never arrives at the critical phase of a full task.
    """
    one_core()
    recorder = Recorder(folder, profile.control_rate, method)
    if method.evaluation_episodes:
        frozen = open_lockstep(profile, task, method, [seed, LEARNING, WHOLE], parts=parts)
        for _ in range(method.evaluation_episodes):
            recorder.add('evaluation', frozen.episode('evaluation', noise=False))
            report(recorder.evaluated, f'VLA: episode {recorder.number}')
    runner = open_lockstep(profile, task.alone(), method, [seed, LEARNING], parts=parts)
    learner = runner.learner(seed)
    if task.setting == 'full':
        practise(runner, learner, CURRICULUM * minutes, 'curriculum', recorder, report)
        runner = open_lockstep(profile, task, method, [seed, LEARNING, WHOLE], parts=parts)
        runner.use(learner)
    practise(runner, learner, minutes, '', recorder, report)
    checkpoint.write(folder / 'checkpoints' / 'learner.safetensors', learner)
    checkpoint.replace(folder / 'checkpoints' / 'actor.safetensors', learner.packed())
    for mode, physics in tuple(CONTACT.items())[: 1 + stiff]:
        again = open_lockstep(profile, task, method, [seed, FINAL], physics, parts)
        again.use(learner)
        drive = lambda watch: again.episode('online', noise=False, watch=watch)  # noqa: B023, E731
        evaluate(drive, mode, final_episodes, recorder, report, learner)
    return recorder


def practise(
    runner: LockStep, learner: Learner, until: float, shown: str, recorder: Recorder,
    report: Callable[[float, str], None],
) -> None:  # fmt: skip
    """Learn from episodes, first of all from those of the warm-up, until so many robot minutes are recorded.

    shown: the mode under which they are recorded; '': warmup or online, as it is. Raises UserError.
    """
    lost, recent = 0, []
    while recorder.minutes < until:
        mode = 'online' if learner.learning else 'warmup'
        result = runner.episode(mode, every=True)
        lost = 0 if result.learned else lost + 1
        if lost == PATIENCE:
            raise UserError(f'{runner.task.name}: the VLA did not arrive at the critical phase in {lost} episodes one '
                            'after another; there is nothing to learn from')  # fmt: skip
        for transition in result.transitions:
            learner.add(transition, mode)
        if not learner.learning and runner.episodes >= runner.method.warmup_episodes:
            learner.begin()
        started, before = time.monotonic(), learner.agent.updates
        while learner.budget > 0:
            learner.update()
        seconds = time.monotonic() - started
        if learner.learning and not learner.check():
            runner.use(learner)
        recorder.add(shown or mode, result, learner, learner.agent.updates - before, seconds)
        recent = [*recent[-19:], result.success]
        report(recorder.minutes + recorder.evaluated, f'{shown or mode}, success of the last {len(recent)}: '
               f'{sum(recent) / len(recent):.0%}, {result.steps} steps, {learner.agent.updates} updates')  # fmt: skip


def evaluate(
    drive: Callable[[Callable], Result], mode: str, episodes: int, recorder: Recorder,
    report: Callable[[float, str], None], learner: Learner | None = None,
) -> None:  # fmt: skip
    """Record episodes of one who drives, from the starts as they come; the final ones tick by tick in trace.npy."""
    trace = Trace()
    for number in range(episodes):
        recorder.add(mode, drive(trace.watch), learner)
        report(recorder.minutes + recorder.evaluated, f'{mode}: episode {number + 1} of {episodes}')
    if mode == 'final':
        trace.save(recorder.folder / 'trace.npy')
