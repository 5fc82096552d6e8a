"""The simulated graph for a long time, with a random fault every few seconds, and what it may never do meanwhile."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
import signal
import time

import numpy as np
import psutil

from rlt_ros import graph
from rlt_ros.bench.control import PATIENCE
from rlt_ros.bench.simulated_graph import prepared, supervised
from rlt_ros.bench.soak_checks import Life, LimitChecker, Logged, MissedTicks, TransitionChecker, schedule, verdict
from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.errors import UserError
from rlt_ros.msg import EpisodeState, ExecutedStep
from rlt_ros.rl import journal
from rlt_ros.ros.disturber import Disturber
from rlt_ros.supervisor import Supervisor
from rlt_ros.vla import normalisation
from rlt_ros.weights_files import path_of

# Learning begins soon, and the memory for transitions is full soon: what grows after is no data.
QUICK = {'evaluation_episodes': 0, 'warmup_episodes': 2, 'first_updates': 200, 'replay_capacity': 2000}
WARM_UP = 60.0  # s of a process's life that say nothing about its growth; in short runs a third of them
KILLED = ('learner_node', 'teleop_node', 'joy_node', 'monitor_node')  # what the supervisor starts again
PAUSED = {  # s
    'executor_node': 0.3, 'camera_node': 0.5, 'sim_robot_node': 0.5, 'vla_node': 1.0, 'rl_token_node': 1.0,
    'episode_node': 1.0, 'teleop_node': 1.0, 'joy_node': 1.0, 'learner_node': 3.0, 'monitor_node': 3.0,
}  # fmt: skip
BY_MESSAGE = ('garbage_frames', 'second_commander', 'second_vla', 'takeover', 'estop')
FAULTS = (*(f'kill {name}' for name in KILLED), *(f'pause {name}' for name in PAUSED), *BY_MESSAGE)


@dataclass(frozen=True)
class Plan:
    seconds: float
    period: float  # s between faults
    seed: int
    robot: str
    method: str


def soak(plan: Plan, say: Callable[[str], None]) -> dict:
    """Run the graph in a temporary folder; returns what `rlt bench soak --json` prints, `violated` last.

    Raises UserError if the graph does not get going.
    """
    method, minutes = load(Method, plan.method, **QUICK), (plan.seconds + PATIENCE) / 60
    with prepared(method, robot=plan.robot, seed=plan.seed, minutes=minutes) as (folder, arguments):
        return asyncio.run(Soak(plan, method, folder, arguments, say).run())


class Soak:
    """One run: executed steps come in another thread, everything else happens in the event loop."""

    def __init__(
        self, plan: Plan, method: Method, folder: Path, arguments: dict[str, graph.Value], say: Callable[[str], None]
    ):  # fmt: skip
        self.plan, self.method, self.folder, self.say = plan, method, folder, say
        self.profile = load(RobotProfile, plan.robot)
        self.specs = graph.nodes(arguments)
        self.supervisor: Supervisor  # of them, once they run
        self.limits, self.missed = LimitChecker(self.profile), MissedTicks()
        self.executed: dict[int, Logged] = {}
        self.outcomes: dict[int, str] = {}
        self.lives: dict[str, list[Life]] = defaultdict(list)
        self.driven_at = 0.0  # s, when a chunk last moved the robot
        self.fault = ''  # under way, until the robot is driven again
        self.done: Counter[str] = Counter()
        self.not_recovered: list[str] = []

    def on_step(self, message: ExecutedStep) -> None:
        step = Logged(message.episode, message.phase, message.source, message.policy_version, np.array(message.command))
        self.limits.add(message.tick, step)
        self.missed.add(message.tick, self.fault)
        self.executed[message.tick] = step
        if step.drives:
            self.driven_at = time.monotonic()

    def on_episode(self, message: EpisodeState) -> None:
        if message.phase == 'ended':
            self.outcomes[message.episode] = message.outcome

    async def run(self) -> dict:
        with Disturber('rlt', self.profile, self.on_step, self.on_episode) as disturber:
            # Inside, so that it still listens when the graph stops: the last episode is stored then.
            async with supervised(self.specs, self.folder, self.say) as (self.supervisor, running):
                if not await self.is_driven(0.0, PATIENCE, running):
                    raise UserError('the graph does not get going')
                self.say(f'everything runs: {self.plan.seconds:g} s, a fault every {self.plan.period:g} s')
                begin = time.monotonic()
                sampling = asyncio.create_task(self.sample(begin))
                for at, fault in schedule(self.plan.seed, self.plan.seconds, self.plan.period, FAULTS):
                    await asyncio.wait({running}, timeout=max(0.0, begin + at - time.monotonic()))
                    if running.done():
                        break
                    await self.disturb(fault, disturber, running)
                await asyncio.wait({running}, timeout=max(0.0, begin + self.plan.seconds - time.monotonic()))
                seconds = time.monotonic() - begin
                ended = 'ended by itself' if running.done() else ''
                sampling.cancel()
        code = running.result()
        return self.result(seconds, ended or (f'exit code {code}' if code else ''))

    async def is_driven(self, since: float, patience: float, running: asyncio.Task) -> bool:
        """Whether a chunk moves the robot after `since` (monotonic, s), before `patience` s are over."""
        end = time.monotonic() + patience
        while self.driven_at <= since and not running.done() and time.monotonic() < end:
            await asyncio.sleep(0.05)
        return self.driven_at > since

    async def disturb(self, fault: str, disturber: Disturber, running: asyncio.Task) -> None:
        """Do it, and see whether the robot is driven again before it is time for the next one."""
        self.say(fault)
        self.fault, begin = fault, time.monotonic()
        self.done[fault] += 1
        what, _, name = fault.partition(' ')
        patience = self.plan.period / 2
        try:
            if what == 'kill':
                self.send(name, signal.SIGKILL)
            elif what == 'pause':
                self.send(name, signal.SIGSTOP)
                await asyncio.sleep(PAUSED[name])
                self.send(name, signal.SIGCONT)
            else:
                await asyncio.wait_for(getattr(disturber, fault)(), patience)
            over = time.monotonic()
            if not await self.is_driven(over, patience, running):
                self.not_recovered.append(f'{fault}, {over - begin:.1f} s')
        except TimeoutError:
            self.not_recovered.append(f'{fault}: did not end')
        finally:
            self.fault = ''

    def send(self, name: str, number: signal.Signals) -> None:
        """Signal a node; one that is being started again just now is left alone."""
        if name in self.supervisor.processes:
            self.supervisor.processes[name].send(number)

    async def sample(self, begin: float) -> None:
        """Memory, open files and threads of every process, once a second."""
        while True:
            for name, node in list(self.supervisor.processes.items()):
                lives, pid = self.lives[name], node.process.pid
                try:
                    process = psutil.Process(pid)
                    with process.oneshot():
                        numbers = process.memory_info().rss, process.num_fds(), process.num_threads()
                except psutil.Error:
                    continue
                if not numbers[0]:  # it has just ended
                    continue
                if not lives or lives[-1].pid != pid:
                    lives.append(Life(pid))
                lives[-1].add(time.monotonic() - begin, *numbers)
            await asyncio.sleep(1.0)

    def result(self, seconds: float, ended: str) -> dict:
        scale = normalisation.load(path_of('vla', self.profile.name, ''), self.profile).scale
        transitions = TransitionChecker(self.method, scale, self.executed, self.outcomes)
        stored = self.folder / 'journal' / 'transitions.rltj'
        for record in journal.read(stored) if stored.is_file() else ():
            transitions.add(record)
        warm_up = min(WARM_UP, seconds / 3)
        longest = {name: max(lives, key=lambda life: len(life.times)) for name, lives in self.lives.items()}
        found = {
            'seconds': round(seconds, 1), 'seed': self.plan.seed, 'ended': ended,
            'faults': dict(self.done), 'not_recovered': self.not_recovered,
            'episodes': dict(Counter(self.outcomes.values())),
            'ticks': len(self.executed), 'missed_ticks': self.missed.describe(),
            'limits': {'checked': self.limits.steps, 'wrong': self.limits.wrong.count,
                       'examples': self.limits.wrong.examples},
            'transitions': {'checked': transitions.checked, 'wrong': transitions.wrong.count,
                            'examples': transitions.wrong.examples},
            'nodes': {name: {'starts': len(self.lives[name]), **life.describe(warm_up)}
                      for name, life in sorted(longest.items())},
        }  # fmt: skip
        return found | {'violated': verdict(found)}
