"""How fast the learner is: ours beside a textbook version in the same run, on one thread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import json
from statistics import median
import time

import psutil
import torch

from rlt_ros.bench.plain_learner import PlainLearner
from rlt_ros.config import Method, RobotProfile
from rlt_ros.control.kinematics import Kinematics, home
from rlt_ros.rl.actor_critic import ActorCritic, Batch
from rlt_ros.rl.learner import Learner
from rlt_ros.rl.networks import Sizes
from rlt_ros.rl.replay import Replay
from rlt_ros.vla.proprioception import Proprioception
from rlt_ros.weights_files import metadata, path_of

# z_rl 2048, proprioception 32, chunk 10 x 14, MLP 2 x 256, batch 256 (paper, appendix)
PAPER = Sizes(token=2048, rest=32, chunk=140), {'hidden': 256, 'layers': 2, 'batch': 256}
STORED = 4000  # transitions to draw from
COMPARED = 100  # updates after which both must agree
LARGE, SMALL = 1_000_000, 10_000  # transitions in the memories whose sampling is compared
UPDATES_BETWEEN = 500


def builtin_sizes(profile: RobotProfile, method: Method) -> Sizes:
    """What the networks read with a robot's own RL token; raises UserError where there is none."""
    token = json.loads(metadata(path_of('rl_token', profile.name), 'rl_token')['sizes'])['token_dim']
    felt = Proprioception(Kinematics(profile), home(profile)).of('pose')
    rest = felt.stop - felt.start + method.delay * profile.action_dim
    return Sizes(token, rest, method.chunk * profile.action_dim)


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(False)


def in_precision(method: Method, token_precision: str) -> Method:
    """The method with tokens of another precision."""
    return method.model_copy(update={'token_precision': token_precision})


def filled(replay: Replay, count: int) -> None:
    """Put `count` made-up transitions into a replay memory: random numbers, a success now and then."""
    g = torch.Generator().manual_seed(0)
    replay.numbers[:count].normal_(0, 0.3, generator=g)
    for start in range(0, count, 10_000):  # in pieces: bfloat16 is drawn as float32
        part = replay.tokens[start : min(start + 10_000, count)]
        part.copy_(torch.randn(part.shape, generator=g))
    column = {name: replay.numbers[:count, part] for name, part in replay.parts.items()}
    column['executed'].fill_(1.0)
    column['human'].zero_()
    column['reward'].copy_(torch.rand(count, 1, generator=g) < 0.05)
    column['discount'].copy_(0.9 * (1 - column['reward']))
    replay.added = count


def rates(contenders: dict[str, Callable[[], object]], rounds: int, seconds: float) -> dict[str, float]:
    """Calls per second of each: the median over rounds in which all take turns."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        for _ in range(3):
            call()
    for _ in range(rounds):
        for name, call in contenders.items():
            count, started = 0, time.perf_counter()
            while time.perf_counter() - started < seconds:
                call()
                count += 1
            found[name].append(count / (time.perf_counter() - started))
    return {name: median(values) for name, values in found.items()}


def difference(method: Method, sizes: Sizes) -> float:
    """Largest difference in Q and action between ours and the textbook's after COMPARED updates on the same batches.

    In double precision, where it shows whether both compute the same: in float32 the last digits differ by the order
    of sums, and Adam and the smaller of two critics make more of that with every update.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    method = in_precision(method, 'float32')  # bfloat16 would stay that, and its rounding is no difference of theirs
    try:
        agent, replay = ActorCritic(method, sizes), Replay(method, sizes)
        filled(replay, STORED)
        plain, batch = PlainLearner(agent), doubled(replay.sample(method.batch))
        for _ in range(COMPARED):
            agent.update(batch)
            plain.update(batch)
            batch = doubled(replay.sample(method.batch))
        with torch.no_grad():
            state = torch.cat([batch.token, batch.rest], 1)
            inputs = torch.cat([state, batch.action], 1)
            q = torch.stack([critic(inputs)[:, 0] for critic in plain.critics])
            q -= agent.values(batch.token, batch.rest, batch.action)
            action = plain.mean(state, batch.reference, batch.reference)
            action -= agent.mean(batch.token, batch.rest, batch.reference)[0]
        return max(q.abs().max().item(), action.abs().max().item())
    finally:
        torch.set_default_dtype(before)


def doubled(batch: Batch) -> Batch:
    return Batch(**{name: value.double() for name, value in vars(batch).items()})


def speed(method: Method, sizes: Sizes, rounds: int, seconds: float) -> dict[str, float]:
    """Updates per second with sampling, two critic updates per actor update; ours also with tokens in bfloat16.

    Both contenders in float32, whatever the method says: that is what the textbook has.
    """
    exact = in_precision(method, 'float32')
    learner, rounded = Learner(exact, sizes), Learner(in_precision(method, 'bfloat16'), sizes)
    for one in (learner, rounded):
        filled(one.replay, STORED)
    plain = PlainLearner(Learner(exact, sizes).agent)
    found = rates({
        'ours': learner.update,
        'plain': lambda: plain.update(learner.replay.sample(method.batch)),
        'ours_bfloat16': rounded.update,
    }, rounds, seconds)  # fmt: skip
    return {
        'ours': found['ours'], 'plain': found['plain'], 'ratio': found['ours'] / found['plain'],
        'ours_bfloat16': found['ours_bfloat16'], 'ratio_bfloat16': found['ours_bfloat16'] / found['plain'],
        'largest_difference': difference(method, sizes), 'batch': method.batch, 'hidden': method.hidden,
        'state': sizes.state, 'chunk': sizes.chunk,
    }  # fmt: skip


def sampling(method: Method, sizes: Sizes, updates: int) -> tuple[float, int]:
    """Time of a batch out of a large memory over that out of a small one, and how large: 1,000,000 where it fits.

    Taken in turns between updates, as the learner does it: then nothing of either is in the caches by chance.
    """
    small = Replay(method.model_copy(update={'replay_capacity': SMALL}), sizes)
    large_count = min(LARGE, int(psutil.virtual_memory().available * 0.6 / small.row_bytes))
    large = Replay(method.model_copy(update={'replay_capacity': large_count}), sizes)
    filled(small, SMALL)
    filled(large, large_count)
    agent = ActorCritic(method, sizes)
    seconds: dict[int, list[float]] = {large_count: [], SMALL: []}
    for _ in range(updates):
        for replay in (large, small):
            started = time.perf_counter()
            batch = replay.sample(method.batch)
            seconds[replay.capacity].append(time.perf_counter() - started)
            agent.update(batch)
    return median(seconds[large_count]) / median(seconds[SMALL]), large_count


def measure(
    profile: RobotProfile, method: Method, builtin: Sizes, rounds: int, seconds: float, report: Callable[[str], None]
) -> dict:
    """Everything `rlt bench learner` prints. builtin: sizes of the robot's own token and state."""
    per_minute = profile.control_rate / method.stride * 60
    with one_thread():
        report('at the paper\'s sizes')
        paper = speed(method.model_copy(update=PAPER[1]), PAPER[0], rounds, seconds)
        report('at the built-in sizes')
        own = speed(method, builtin, rounds, seconds)
        report('sampling')
        ratio, large = sampling(method, builtin, UPDATES_BETWEEN)
    megabytes = {
        name: Replay(m.model_copy(update={'replay_capacity': 1000}), sizes).row_bytes * per_minute / 1e6
        for name, m, sizes in (('builtin', method, builtin), ('paper', method.model_copy(update=PAPER[1]), PAPER[0]))
    }
    return {
        'paper_sizes': paper, 'builtin_sizes': own, 'sample_cost_ratio_1M_10k': ratio,
        'sampled_from': [large, SMALL], 'mb_per_robot_minute': megabytes['builtin'],
        'mb_per_robot_minute_paper_sizes': megabytes['paper'],
    }  # fmt: skip
