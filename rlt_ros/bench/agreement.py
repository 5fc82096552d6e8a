"""Whether lock-step and the live graph agree: the same policy from the same starts in both, without noise.

The frozen VLA, or the actor that a run saved. Live, nothing learns: the whole graph runs in real time, with a saved
actor in the learner's place. Both draw their starts from the seed of the simulated robot, one after the other.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
import math
from pathlib import Path

import numpy as np

from rlt_ros import graph
from rlt_ros.bench.learned import learned
from rlt_ros.bench.lockstep import one_core, open_lockstep
from rlt_ros.bench.parts import RLT
from rlt_ros.bench.simulated_graph import prepared, supervised
from rlt_ros.config import Method, RobotProfile, Task, load, validate
from rlt_ros.errors import UserError
from rlt_ros.report.records import of_mode, read_episodes, read_object
from rlt_ros.report.summary import median_steps, successes, wilson
from rlt_ros.run_folder import check_weights

STARTS = 1  # beside the seed: as sim_robot_node draws
PATIENCE = 60.0  # s without an episode
DRAWS = 2000
LEAST_P = 0.01  # of the rank test, below which the steps differ
ENDED = ('success', 'timeout', 'failure')


@dataclass(frozen=True)
class Plan:
    episodes: int
    seed: int
    robot: str
    task: str  # '': the run's own, without one ethernet
    method: str
    run: Path | None  # whose actor drives; None: the frozen VLA

    @property
    def config(self) -> dict:
        """The run's, {} without one."""
        return {} if self.run is None else read_object(self.run / 'config.yaml')

    @property
    def its_task(self) -> str:
        return self.task or (self.config.get('arguments') or {}).get('task') or 'ethernet'

    @property
    def mode(self) -> str:
        return 'evaluation' if self.run is None else 'online'

    @property
    def actor(self) -> Path | None:
        return None if self.run is None else self.run / 'checkpoints' / 'actor.safetensors'

    def chosen(self) -> Method:
        """Without noise, and with nothing before the episodes that count; raises UserError."""
        changes = {'noise': 0.0, 'warmup_episodes': 0, 'evaluation_episodes': 0 if self.run else self.episodes}
        if self.run is None:
            return load(Method, self.method, **changes)
        given = self.config.get('method') or {}
        return validate(Method, given | changes, f'{self.run / "config.yaml"}: method')


def measure(plan: Plan, report: Callable[[int, str], None]) -> dict:
    """Both, one after the other; report(episodes done of both, note). Returns what `rlt bench agreement --json` prints.

    Raises UserError if the run's actor cannot drive both, or the graph does not get going or ends early.
    """
    if plan.run is not None:
        check_run(plan)
    here = lockstep(plan, report)
    there, health = live(plan, lambda done: report(plan.episodes + done, 'live'))
    about = {'policy': str(plan.run or 'vla'), 'seed': plan.seed, 'task': plan.its_task}
    return compare(here, there) | {'live_health': health} | about


def check_run(plan: Plan) -> None:
    """Raises UserError where both sides would drive with another robot, token or VLA than the run learned with.

    The VLA without its approach.
    """
    if not plan.actor.is_file():
        raise UserError(f'{plan.actor} does not exist: {plan.run} holds no learned policy')
    its, profile = learned(plan.run), load(RobotProfile, plan.robot)
    if its.parts != RLT:
        raise UserError(f'{plan.run} learned without a part of RLT: the live graph has them all')
    if its.profile != profile:
        raise UserError(f'{plan.run} is of robot {its.profile.name} as it was, not of --robot {plan.robot}')
    now = check_weights(graph.nodes({'robot': plan.robot}), profile.name)
    if other := [kind for kind, used in (plan.config.get('weights') or {}).items() if used != now[kind]]:
        raise UserError(f'{plan.run} learned with another {other[0]} than the one that robot {profile.name} has')


def lockstep(plan: Plan, report: Callable[[int, str], None]) -> list[dict]:
    one_core()
    profile = load(RobotProfile, plan.robot)
    runner = open_lockstep(profile, load(Task, plan.its_task), plan.chosen(), [plan.seed, STARTS])
    if plan.actor is not None:
        runner.use_saved(plan.actor)
    found = []
    for number in range(plan.episodes):
        result = runner.episode(plan.mode, noise=False)
        found.append({'outcome': 'success' if result.success else 'timeout', 'steps': result.steps})
        report(number + 1, 'lock-step')
    return found


def live(plan: Plan, report: Callable[[int], None]) -> tuple[list[dict], dict]:
    """The episodes, and whether the machine kept up."""
    given = {'robot': plan.robot, 'task': plan.its_task, 'seed': plan.seed, 'minutes': 1e4, 'joystick': False}
    with prepared(plan.chosen(), **given) as (folder, arguments):
        return asyncio.run(_live(plan, folder, arguments, report))


async def _live(
    plan: Plan, folder: Path, arguments: dict[str, graph.Value], report: Callable[[int], None]
) -> tuple[list[dict], dict]:
    specs = [spec for spec in graph.nodes(arguments) if spec.name != 'learner_node']
    if plan.actor is not None:
        parameters = {'robot': load(RobotProfile, plan.robot).name, 'actor': str(plan.actor.resolve())}
        specs.append(graph.NodeSpec('policy_publisher', parameters=parameters, required=True))
    found: list[dict] = []
    silent = 0.0
    async with supervised(specs, folder, lambda line: None) as (_, running):
        while len(found) < plan.episodes and not running.done() and silent < PATIENCE:
            await asyncio.wait({running}, timeout=0.5)
            before = len(found)
            found = [e for e in of_mode(read_episodes(folder), plan.mode) if e['outcome'] in ENDED]
            silent = silent + 0.5 if len(found) == before else 0.0
            report(min(len(found), plan.episodes))
    if len(found) < plan.episodes:
        raise UserError(f'the graph gave {len(found)} of {plan.episodes} episodes, then ended or stood still')
    status = read_object(folder / 'status.json')
    health = {name: status.get(name) for name in ('ticks', 'missed_ticks', 'chunk_holds')}
    return [{'outcome': e['outcome'], 'steps': e['steps']} for e in found[: plan.episodes]], health


def compare(here: list[dict], there: list[dict]) -> dict:
    """Success by the difference of two proportions (Newcombe's interval), steps to success by Mann and Whitney's test.

    They agree where the interval holds 0 and p is not below LEAST_P.
    """
    k, n = (successes(here), successes(there)), (len(here), len(there))
    steps = [np.array([e['steps'] for e in some if e['outcome'] == 'success']) for some in (here, there)]
    interval, p = newcombe(k, n), mann_whitney(*steps)
    return {
        'episodes': list(n), 'success_rate': [k[0] / n[0], k[1] / n[1]],
        'success_ci': [wilson(k[0], n[0]), wilson(k[1], n[1])],
        'success_difference': k[1] / n[1] - k[0] / n[0], 'success_difference_ci': interval,
        'median_steps': [median_steps(here), median_steps(there)], 'median_difference_ci': medians(*steps),
        'mann_whitney_p': p, 'agree': interval[0] <= 0 <= interval[1] and (p is None or p >= LEAST_P),
        'lockstep': here, 'live': there,
    }  # fmt: skip


def newcombe(k: tuple[int, int], n: tuple[int, int]) -> tuple[float, float]:
    """95 % interval of the second success rate minus the first, from Wilson's intervals of each."""
    (low_a, high_a), (low_b, high_b) = wilson(k[0], n[0]), wilson(k[1], n[1])
    a, b = k[0] / n[0], k[1] / n[1]
    return (b - a - math.hypot(b - low_b, high_a - a), b - a + math.hypot(high_b - b, a - low_a))


def mann_whitney(a: np.ndarray, b: np.ndarray) -> float | None:
    """Two-sided p of the rank test (normal approximation, corrected for ties and continuity); None with no values."""
    if not len(a) or not len(b):
        return None
    values, inverse, counts = np.unique(np.concatenate([a, b]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, m = len(a), len(b)
    u = ranks[:n].sum() - n * (n + 1) / 2
    ties = (counts.astype(float) ** 3 - counts).sum() / ((n + m) * (n + m - 1))
    deviation = math.sqrt(n * m / 12 * (n + m + 1 - ties))
    if not deviation:
        return 1.0
    return min(1.0, math.erfc(max(0.0, abs(u - n * m / 2) - 0.5) / deviation / math.sqrt(2)))


def medians(a: np.ndarray, b: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of the second median minus the first, by bootstrap; None with no values."""
    if not len(a) or not len(b):
        return None
    random = np.random.default_rng(0)
    draws = [np.median(some[random.integers(len(some), size=(DRAWS, len(some)))], axis=1) for some in (a, b)]
    low, high = np.percentile(draws[1] - draws[0], (2.5, 97.5))
    return float(low), float(high)
