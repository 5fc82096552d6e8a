"""The whole stack without ROS and without waiting: the same executor, VLA, token, builder and learner, tick by tick.

For benchmarks and tuning. Inference takes no simulated time but its result counts from the delay n on, as in the graph.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
import hashlib
from pathlib import Path

import numpy as np
import torch

from rlt_ros.bench.image_encoder import ImageEncoder
from rlt_ros.bench.parts import RLT, BlindToReference, LatencyUnaware, Parts, WithoutPassThrough
from rlt_ros.config import Method, RobotProfile, Task, check_fit, learned_with
from rlt_ros.control.executor import Executor
from rlt_ros.errors import UserError
from rlt_ros.rl.actor_critic import ActorCritic
from rlt_ros.rl.learner import Learner
from rlt_ros.rl.networks import Sizes
from rlt_ros.rl.policy import unpack
from rlt_ros.rl.transitions import Ending, Seen, Step, Transition, TransitionBuilder
from rlt_ros.sim.physics import SOFT, Physics
from rlt_ros.sim.world import World
from rlt_ros.token.backend import TokenBackend
from rlt_ros.vla.backends import open_backend
from rlt_ros.vla.builtin import BuiltinBackend, Look
from rlt_ros.weights_files import path_of

BATCH = 16
SCOUT = 1_000_003  # seed of episodes that only show what pictures look like
LONGEST = 1_000_000  # ticks of an episode, so that every observation of a run has its number


@dataclass(frozen=True)
class Result:
    """One episode."""

    success: bool
    steps: int
    penetration: float  # m, largest
    learned: int = 0  # steps of the part that is learned from; what comes before is no data
    transitions: list[Transition] = field(default_factory=list, compare=False)

    def returns(self, method: Method) -> np.ndarray:
        """The discounted return that each transition was followed by."""
        first = np.array([t.tick for t in self.transitions]) + method.delay
        return self.success * method.discount ** (self.steps - first - 1.0)


class LockStep:
    def __init__(
        self, profile: RobotProfile, task: Task, method: Method, vla: BuiltinBackend,
        token: TokenBackend | ImageEncoder | None,
        seed: int | list[int], physics: Physics = SOFT, parts: Parts = RLT,
    ):  # fmt: skip
        check_fit(profile, method)
        vla.check_reach(method)
        self.profile, self.task, self.vla, self.token = profile, task, vla, token
        self.method = method = learned_with(method, task)
        self.world = World(profile, task, seed, physics)
        noise_seed = int(np.random.default_rng(seed).integers(2**31))
        self.executor = Executor(profile, method, vla.unit.scale, noise_seed)
        builder = TransitionBuilder if parts.latency_aware else LatencyUnaware
        self.builder = self.executor.builder = builder(method, vla.unit.scale, profile.stride)
        self.parts = parts
        self.dt = 1.0 / profile.control_rate
        rest = vla.state_size + (method.delay * profile.action_dim if parts.latency_aware else 0)
        self.sizes = Sizes(token.size if token else 0, rest, method.chunk * profile.action_dim)
        self.episodes = 0

    def learner(self, seed: int) -> Learner:
        agent = ActorCritic if self.parts.pass_through else WithoutPassThrough
        return Learner(self.method, self.sizes, seed, agent)

    def use(self, learner: Learner) -> None:
        """Let the actor as it is now drive."""
        version = learner.publish()
        self._drive(version.weights, version.version, version.sha256)

    def use_saved(self, path: Path) -> None:
        """Let the actor that a run saved drive; raises UserError."""
        try:
            data = path.read_bytes()
            self._drive(data, 1, hashlib.sha256(data).hexdigest())
        except (OSError, ValueError) as error:
            raise UserError(f'{path} holds no actor for this robot and method: {error}') from None

    def _drive(self, weights: bytes, version: int, sha256: str) -> None:
        actor = unpack(weights, version, sha256, self.sizes.state, self.sizes.chunk)
        self.executor.actor = actor if self.parts.pass_through else BlindToReference(actor)

    def see(self, looks: list[Look]) -> list[Seen]:
        """RL states of some observations."""
        seen: list[Seen] = []
        for start in range(0, len(looks), BATCH):
            some = looks[start : start + BATCH]
            result = self.vla.infer(some, self.task.instruction)
            if isinstance(self.token, ImageEncoder):
                tokens = self.token.encode(np.stack([look.images for look in some]))
            else:
                tokens = self.token.encode(result.prefix) if self.token else np.zeros((len(some), 0), np.float32)
            seen += [
                Seen(tokens[i], result.proprioception[i], result.reference[i], some[i].position)
                for i in range(len(some))
            ]
        return seen

    def episode(
        self, mode: str, every: bool = False, noise: bool = True, watch: Callable | None = None
    ) -> Result:
        """Run one. mode: evaluation (VLA), warmup or online (actor).

        every: build the transitions of all observations, for learning, and not of the decisions alone. noise: whether
        the policy explores. watch(world, tick, last): called before every tick and at the end; true: that is enough.
        """
        world, executor, method = self.world, self.executor, self.method
        executor.noise = method.noise if noise else 0.0
        self.episodes += 1
        world.reset()
        executor.episode(self.episodes, 'reset', mode, 0, None)
        phase = 'critical' if world.rack is None else 'approach'
        executor.episode(self.episodes, phase, mode, 0, world.position)
        looks: dict[int, Look] = {}
        seen: dict[int, Seen] = {}
        steps: dict[int, Step] = {}
        tick, begin, grid, success = 0, 0, 0, False  # begin: of the phase; grid: a tick of which is stored
        while not success:
            if phase == 'approach' and hands_over(world, self.task, tick * self.dt):
                phase, begin = 'critical', tick
                # the builder wants observations of its own grid, up to which one of them the robot's rate says
                grid = tick - tick % method.stride + tick % self.builder.observed_every
                executor.episode(self.episodes, phase, mode, tick, world.position)
            if (tick - begin) * self.dt >= self.task.limit(phase):
                break
            if watch is not None and watch(world, tick):
                break
            decides = (tick - begin) % method.chunk == 0
            stored = every and (phase == 'critical' or method.store_approach)
            if (tick - grid) % method.stride == 0 and stored or decides:
                command = executor.filter.command.copy()
                number = self.episodes * LONGEST + tick
                looks[tick] = Look(
                    world.images(), world.position.copy(), world.velocity.copy(), command, number, phase == 'approach'
                )
            if decides:
                seen[tick] = self.see([looks[tick]])[0]
                executor.choose(self.episodes, tick + 1, seen[tick], tick, tick)
            executed = executor.tick(tick, world.position, None)
            steps[tick] = Step(executed.command, executed.source, executed.policy_version)
            world.step(executed.command, self.dt)
            tick, success = tick + 1, world.success()
        if watch is not None:
            watch(world, tick, last=True)
        missing = [t for t in looks if t not in seen]
        seen |= dict(zip(missing, self.see([looks[t] for t in missing]), strict=True))
        first = 0 if method.store_approach else begin if phase == 'critical' else tick
        learned = {t: state for t, state in seen.items() if t >= first}
        transitions = list(self.builder.build(learned, steps, Ending(tick, success, terminated=success)))
        return Result(success, tick, world.penetration, tick - first, transitions)


def hands_over(world: World, task: Task, seconds: float) -> bool:
    """Whether the critical phase begins, `seconds` after the start: at once where nothing has to be fetched."""
    return world.rack is None or world.critical() or task.hands_over(seconds)


def open_lockstep(
    profile: RobotProfile, task: Task, method: Method, seed: int | list[int], physics: Physics = SOFT,
    parts: Parts = RLT,
) -> LockStep:  # fmt: skip
    """A runner with the robot's shipped VLA and its RL token, or what `parts` has in place of it."""
    vla = open_backend('', profile, task)
    encoder: TokenBackend | ImageEncoder | None = None
    if parts.sees == 'token':
        encoder = TokenBackend(path_of('rl_token', profile.name, parts.weights), vla.hash, vla.unit.hash)
    elif parts.sees == 'images':
        encoder = ImageEncoder(profile, parts.weights)
        if not encoder.trained:
            # of the critical phase also in a full task: what has been learned there would see other numbers else
            encoder.network.standardise(_pictures(LockStep(profile, task.alone(), method, vla, None, SCOUT)))
    return LockStep(profile, task, method, vla, encoder, seed, physics, parts)


def _pictures(runner: LockStep) -> np.ndarray:
    """(T, N, S, S, 3) what the cameras see in some episodes of the VLA."""
    images: list[np.ndarray] = []

    def watch(world: World, tick: int, last: bool = False) -> None:
        if tick % runner.method.chunk == 0:
            images.append(world.images())

    for _ in range(4):
        runner.episode('evaluation', noise=False, watch=watch)
    return np.stack(images)


def one_core() -> None:
    """Settings of torch for lock-step: the networks are too small for more threads, and denormal numbers slow."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def throughput(results: list[Result], rate: float) -> float:
    """Successes per 10 minutes of robot time."""
    return 600 * sum(r.success for r in results) / max(sum(r.steps for r in results) / rate, 1e-9)
