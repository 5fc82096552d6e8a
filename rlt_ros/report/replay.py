"""What a live run learned from: its journal as tables, held against what its newest checkpoint expects.

Nothing in the run folder is changed. Returns are the realised ones, discounted to the first step of a transition's
action; only success and failure have one, a time-out is cut off and its value goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlt_ros.config import Method, RobotProfile, Task, learned_with, validate
from rlt_ros.errors import UserError
from rlt_ros.report.records import read_episodes, read_object
from rlt_ros.rl import checkpoint, journal
from rlt_ros.rl.assembly import STORED_MODES
from rlt_ros.rl.journal import MAGIC, Record
from rlt_ros.rl.learner import Learner, sizes_of
from rlt_ros.rl.networks import Sizes
from rlt_ros.rl.replay import KINDS
from rlt_ros.rl.transitions import Transition

OUTCOMES = ('success', 'failure', 'timeout')
BATCH = 1024  # transitions whose values are computed together
Report = Callable[[float], None]  # told which part of the work is done, 0 to 1


@dataclass(frozen=True)
class Episode:
    """What is stored of an episode. Q and returns are means over its transitions; None: there is none."""

    number: int
    mode: str
    outcome: str
    transitions: int
    human_steps: int
    executed_steps: int  # ticks that the transitions know, those that were committed at the first one included
    robot_minutes: float  # stored until its end
    policy_versions: list[int]
    return_at_start: float | None
    mean_return: float | None
    mean_q: float | None
    terminated: bool
    truncated: bool
    holes: int  # transitions that are missing between the first one and the end
    label_now: str  # outcome in episodes.jsonl, which a person may have corrected since; '' where it has none


@dataclass(frozen=True)
class Inspection:
    """A journal. rows: a structured array (N,), see `row_type`, in the order of the file."""

    folder: Path
    method: Method
    rows: np.ndarray
    episodes: list[Episode]
    bytes: int
    damaged: int  # bytes within the file that are no whole record
    torn: int  # bytes at its end: torn by a crash, or being written now
    updates: int | None  # of the checkpoint; None: without Q
    note: str  # what is wrong with the checkpoints


def row_type(chunk: int) -> np.dtype:
    """A transition: numbers as in Transition, mode and outcome as indices, distance of the action to the reference,
    q (the smaller Q of state and action) and the realised return; NaN where there is none."""
    return np.dtype([
        ('episode', np.int64), ('mode', np.int8), ('outcome', np.int8), ('tick', np.int64), ('steps', np.int64),
        ('policy_version', np.int64), ('human', np.bool_, chunk), ('reward', np.float64), ('terminated', np.bool_),
        ('truncated', np.bool_), ('distance', np.float64), ('q', np.float64), ('realised', np.float64),
    ])  # fmt: skip


def inspect(folder: Path, report: Report = lambda part: None) -> Inspection:
    """Read a run folder; raises UserError where there is nothing that can be read."""
    config = read_object(folder / 'config.yaml')
    method = validate(Method, config.get('method') or {}, f'{folder / "config.yaml"}: method')
    method = learned_with(method, validate(Task, config.get('task') or {}, f'{folder / "config.yaml"}: task'))
    profile = validate(RobotProfile, config.get('robot') or {}, f'{folder / "config.yaml"}: robot')
    path = journal_of(folder)
    size = path.stat().st_size
    damaged = whole = 0
    learner: Learner | None = None
    sizes, note = None, ''
    parts: list[np.ndarray] = []
    records: list[Record] = []
    for start, end, payload in journal.records(path):
        damaged, whole = damaged + start - whole, end
        record = decode(path, payload)
        if sizes is None:
            sizes = sizes_of(record.transition)
            learner, note = learner_of(folder, method, sizes)
        if sizes_of(record.transition) != sizes or len(record.transition.human) != method.chunk:
            raise UserError(f'{path}: transitions differ in size, or are not of chunk {method.chunk} as in config.yaml')
        records.append(record)
        if len(records) == BATCH:
            parts.append(rows_of(records, learner, method))
            records = []
            report(end / max(size, end))
    if sizes is None:
        raise UserError(f'{path} {why_nothing(path)}')
    if records:
        parts.append(rows_of(records, learner, method))
    report(1.0)
    rows = np.concatenate(parts)
    episodes = episodes_of(rows, method, profile.control_rate, folder)
    # a run that goes on may have appended since its size was read
    return Inspection(folder, method, rows, episodes, max(size, whole), damaged, max(0, size - whole),
                      learner.agent.updates if learner else None, note)  # fmt: skip


def journal_of(folder: Path) -> Path:
    """The journal of a run; raises UserError where it keeps none, or one that cannot be opened."""
    path = folder / 'journal' / 'transitions.rltj'
    try:
        path.open('rb').close()
    except FileNotFoundError:
        raise UserError(f'{folder} has no journal ({path.relative_to(folder)}): only live runs (rlt demo, rlt up) '
                        'keep one, rlt bench keeps none') from None  # fmt: skip
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from None
    return path


def why_nothing(path: Path) -> str:
    """Why a journal has no whole record."""
    with path.open('rb') as file:
        magic = file.read(len(MAGIC))
    if not magic:
        return 'holds no transition yet'
    if magic[:3] == MAGIC[:3] and magic != MAGIC:
        return f'is of version "{magic.decode("ascii", "replace")}"; this rlt reads "{MAGIC.decode()}"'
    return f'has no whole transition: all its {path.stat().st_size} bytes are damaged'


def decode(path: Path, payload: bytes) -> Record:
    """The record of a whole payload; raises UserError for one of another version."""
    try:
        record = journal.decode(payload)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} has records of another version of rlt ({type(error).__name__}: {error})') from None
    if record.mode not in STORED_MODES or record.outcome not in OUTCOMES:
        raise UserError(f'{path} has records of another version of rlt (mode {record.mode!r}, outcome '
                        f'{record.outcome!r}; allowed: {", ".join(STORED_MODES)}; {", ".join(OUTCOMES)})')  # fmt: skip
    return record


def learner_of(folder: Path, method: Method, sizes: Sizes) -> tuple[Learner | None, str]:
    """The networks of the newest whole checkpoint, None without one; and what is wrong with the checkpoints."""
    # its replay stays empty
    learner = Learner(method.model_copy(update={'replay_capacity': 1000}), sizes)
    try:
        note = checkpoint.read_newest(folder / 'checkpoints' / 'learner.safetensors', learner)
    except UserError as error:
        note = str(error)
    # a checkpoint is written only by a learner that learns
    return (learner, note) if learner.learning else (None, note or 'there is no checkpoint yet')


def rows_of(records: list[Record], learner: Learner | None, method: Method) -> np.ndarray:
    """Rows of some records; their realised return is not known yet."""
    transitions = [record.transition for record in records]
    values = learner.predicted(transitions) if learner else np.full(len(records), np.nan)
    return np.array([
        (record.episode, STORED_MODES.index(record.mode), OUTCOMES.index(record.outcome), t.tick, t.steps,
         t.policy_version, t.human, t.reward, t.terminated, t.truncated, distance(t), q, np.nan)
        for record, t, q in zip(records, transitions, values, strict=True)
    ], row_type(method.chunk))  # fmt: skip


def distance(transition: Transition) -> float:
    """Root mean square of action minus stored reference over the executed steps, in action units."""
    difference = transition.action - transition.reference
    return float(np.sqrt(np.square(difference.reshape(len(transition.human), -1)[: transition.steps]).mean()))


def realised(rows: np.ndarray, method: Method) -> np.ndarray:
    """(N,) return of each transition of an episode; NaN where no stored transition reaches its success or failure."""
    last = rows[rows['terminated']]
    if not len(last):
        return np.full(len(rows), np.nan)
    ahead = end_of(last, method) - (rows['tick'] + method.delay)
    return method.discount ** (ahead - 1.0) * (last['reward'].max() > 0)


def end_of(terminated: np.ndarray, method: Method) -> int:
    """The first tick that was not executed within the episode."""
    return int((terminated['tick'] + method.delay + terminated['steps']).max())


def missing(rows: np.ndarray, method: Method) -> int:
    """Transitions that are not there, between the first one of an episode and its end (if it has one) or the last."""
    # spacing is rounded: an observation's tick may be off by one
    holes = int(np.maximum(np.round(np.diff(rows['tick']) / method.stride) - 1, 0).sum())
    if (last := rows[rows['terminated']]).size:
        holes += max(0, (end_of(last, method) - 1 - int(rows['tick'][-1]) - method.delay) // method.stride)
    return holes


def episodes_of(rows: np.ndarray, method: Method, rate: float, folder: Path) -> list[Episode]:
    """Episodes in the order of the journal; fills in the realised returns of `rows`. rate: Hz of ticks."""
    numbers, first = np.unique(rows['episode'], return_index=True)
    labels = {record['episode']: record['outcome'] for record in read_episodes(folder)}
    episodes: list[Episode] = []
    minutes = 0.0
    for number in numbers[np.argsort(first)].tolist():
        here = rows['episode'] == number
        rows['realised'][here] = realised(rows[here], method)
        some = rows[here]
        begins = some['tick'] + method.delay
        executed = {tick for begin, k in zip(begins, some['steps'], strict=True)
                    for tick in range(begin - method.delay, begin + k)}  # fmt: skip
        at, step = np.nonzero(some['human'])
        minutes += len(executed) / rate / 60
        episodes.append(Episode(
            number=number,
            mode=STORED_MODES[some['mode'][0]],
            outcome=OUTCOMES[some['outcome'][0]],
            transitions=len(some),
            human_steps=len(np.unique(begins[at] + step)),  # transitions overlap
            executed_steps=len(executed),
            robot_minutes=minutes,
            policy_versions=np.unique(some['policy_version']).tolist(),
            return_at_start=known(some['realised'][0]),
            mean_return=known(some['realised'].mean()),
            mean_q=known(some['q'].mean()),
            terminated=bool(some['terminated'].any()),
            truncated=bool(some['truncated'].any()),
            holes=missing(some, method),
            label_now=labels.get(number, ''),
        ))  # fmt: skip
    return episodes


def known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def kinds_of(rows: np.ndarray) -> np.ndarray:
    """(N,) index into KINDS, as the replay memory sorts them: a person in any step, else by the episode's mode."""
    by_mode = np.array([KINDS.index(mode) for mode in STORED_MODES])[rows['mode']]
    return np.where(rows['human'].any(1), KINDS.index('human'), by_mode)


def choose(found: Inspection, number: int | None) -> list[Episode]:
    """All episodes, or the one of a number; raises UserError where the journal has none of it."""
    chosen = [e for e in found.episodes if number in (None, e.number)]
    if not chosen:
        there = [e.number for e in found.episodes]
        raise UserError(f'{found.folder} has no transitions of episode {number}; it has those of {len(there)} episodes '
                        f'from {min(there)} to {max(there)} (warm-up and online ones are stored)')  # fmt: skip
    return chosen
