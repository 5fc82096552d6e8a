"""Whether the RL token carries anything: gaps, probes, spectrum and a verdict, on episodes training did not see."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from rlt_ros.token.features import BODY, TOKEN, spectrum
from rlt_ros.token.gaps import gaps
from rlt_ros.token.intervals import area_under_curve, interval, mean, ratio, root_mean_square
from rlt_ros.token.labels import PHASES, undecided
from rlt_ros.token.model import RlToken
from rlt_ros.token.probe import near, offset, read
from rlt_ros.vla.examples import Examples

SCORED = 3  # every third episode is scored, probes learn on the others
PARTIAL = 0.9  # of the decoder's context hidden, as in training by default; one value, so that tokens can be compared
LEAST_GAP = 0.05  # relative squared error; a decoder that ignores the token has 0
UNKNOWN = 'whether the token sees the offset: no row near the mouth says where the part is (privileged.tip_in_socket)'
READINGS = ('linear', 'mlp')
PREFIX_ROWS = 1500  # for its spectrum
Statistic = Callable[[np.ndarray], float]  # of weights (T,)


@dataclass(frozen=True)
class Seen:
    """T observations of episodes that training did not see, and what is known of them afterwards."""

    examples: Examples
    prefix: torch.Tensor  # (T, M, d)
    views: dict[str, torch.Tensor]  # representations, (T, F) each
    label: np.ndarray  # (T,): phase, or whether the attempt goes in

    @property
    def scored(self) -> np.ndarray:
        """(T,) bool: of the episodes that probes are scored on."""
        return scored(self.examples)

    def rows(self, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of a kind (T,) bool: to learn from, to score."""
        return np.flatnonzero(kind & ~self.scored), np.flatnonzero(kind & self.scored)


def scored(examples: Examples) -> np.ndarray:
    """(T,) bool: of every third episode."""
    return examples.episode % SCORED == SCORED - 1


def build(model: RlToken, demonstrations: Seen, attempts: Seen, scale: np.ndarray, chunk: int) -> dict:
    """The whole report, as JSON takes it.

    demonstrations: labelled with phases; attempts: with whether they go in. scale: (D,) unit of actions; chunk: steps.
    `failures` says why the token must not be used, `unknown` what could not be judged; a line each.
    """
    check, examples = demonstrations.scored, demonstrations.examples
    prefix, episode = demonstrations.prefix[np.flatnonzero(check)], examples.episode[check]
    report: dict = gaps(model, prefix, episode)
    report['with_context'] = {'hidden': PARTIAL, **gaps(model, prefix, episode, PARTIAL)}
    offsets, squares = offset_probes(demonstrations)
    report['unknown'] = [] if offsets else [UNKNOWN]
    if offsets:
        token, body = (best(offsets[name], 'rmse_mm') for name in (TOKEN, BODY))
        report['offset_rmse_mm'] = offsets[TOKEN][token]['rmse_mm']
        gain = _gain(squares[BODY][body], squares[TOKEN][token])
        rows = demonstrations.rows(near(examples))[1]
        report['offset_gain_mm'], report['offset_gain_mm_ci'] = interval(gain, examples.episode[rows])
    report['probes'] = {
        'offset': offsets,
        'action': action_probes(demonstrations, scale, chunk),
        'phase': phase_probes(demonstrations),
        'outcome': outcome_probes(attempts),
    }
    some = np.linspace(0, len(demonstrations.prefix) - 1, min(len(demonstrations.prefix), PREFIX_ROWS)).astype(int)
    report['spectrum'] = {
        'token': described(spectrum(demonstrations.views[TOKEN])),
        'prefix': described(spectrum(demonstrations.prefix[some].flatten(1))),
    }
    report['data'] = {
        kind: {
            'episodes': len(np.unique(seen.examples.episode)), 'observations': len(seen.prefix),
            'scored_episodes': len(np.unique(seen.examples.episode[seen.scored])),
        }
        for kind, seen in (('demonstrations', demonstrations), ('attempts', attempts))
    }  # fmt: skip
    report['failures'] = verdict(report)
    return report


def verdict(report: dict) -> list[str]:
    """Why the token must not be used, one line each; empty when nothing speaks against it."""
    failures = []
    for name, without in (('zero_gap', 'a token of zeros'), ('shuffle_gap', 'the token of another episode')):
        low = report[f'{name}_ci'][0]
        if not low > LEAST_GAP:
            failures.append(
                f'{name} = {report[name]:.3f}, 95 % from {low:.3f}: must be above {LEAST_GAP}; '
                f'the decoder rebuilds the prefix as well with {without}'
            )
    if not report['unknown'] and not report['offset_gain_mm_ci'][0] > 0:
        failures.append(
            f'offset_gain_mm = {report["offset_gain_mm"]:.3f}, 95 % from {report["offset_gain_mm_ci"][0]:.3f}: must be '
            'above 0; the token is blind: it tells the offset no better than proprioception alone'
        )
    return failures


def best(readings: dict[str, dict], name: str) -> str:
    """The reading with the smaller error."""
    return min(READINGS, key=lambda reading: float(np.linalg.norm(readings[reading][name])))


def _gain(floor: np.ndarray, own: np.ndarray) -> Statistic:
    """Statistic: how much smaller the error across (x and y together) is, mm, from squares (T, 2)."""
    before, after = root_mean_square(floor.sum(1)), root_mean_square(own.sum(1))
    return lambda weights: before(weights) - after(weights)


def offset_probes(seen: Seen) -> tuple[dict, dict]:
    """Offset of the plug from the socket, (x, y) in mm, near the mouth: errors, and the squares behind them.

    Both are empty where nobody knows offsets to learn from or to be scored on.
    """
    target = offset(seen.examples)
    fit, check = seen.rows(near(seen.examples))
    if not len(fit) or not len(check):
        return {}, {}
    episode, out, squares = seen.examples.episode[check], {}, {}
    for view, features in seen.views.items():
        out[view], squares[view] = {}, {}
        for reading, guess in read(features, target, fit, check).items():
            squares[view][reading] = (guess - target[check]).square().double().numpy()
            axes = [interval(root_mean_square(column), episode) for column in squares[view][reading].T]
            out[view][reading] = {'rmse_mm': [axis[0] for axis in axes], 'rmse_mm_ci': [axis[1] for axis in axes]}
    out['chance'] = {'rmse_mm': (target[check] - target[fit].mean(0)).square().mean(0).sqrt().tolist()}
    return out, squares


def action_probes(seen: Seen, scale: np.ndarray, chunk: int) -> dict:
    """The person's next chunk in units of `scale`: R^2 against predicting the mean."""
    target = torch.from_numpy((seen.examples.deltas[:, :chunk] / scale).astype(np.float32)).flatten(1)
    fit, check = seen.rows(np.ones(len(target), bool))
    whole = (target[check] - target[fit].mean(0)).square().sum(1).double().numpy()

    def score(guess: torch.Tensor) -> Statistic:
        return ratio(whole - (guess - target[check]).square().sum(1).double().numpy(), whole)

    return {**_scores(seen, target, fit, check, 'r2', score), 'chance': {'r2': 0.0}}


def phase_probes(seen: Seen) -> dict:
    """Phase of the demonstration: accuracy; chance is the most frequent one."""
    fit, check = seen.rows(np.ones(len(seen.label), bool))
    target = torch.nn.functional.one_hot(torch.from_numpy(seen.label), len(PHASES)).float()

    def score(guess: torch.Tensor) -> Statistic:
        return mean((guess.argmax(1).numpy() == seen.label[check]).astype(float))

    most = np.bincount(seen.label[fit], minlength=len(PHASES)).argmax()
    chance = float((seen.label[check] == most).mean())
    return {**_scores(seen, target, fit, check, 'accuracy', score), 'chance': {'accuracy': chance}}


def outcome_probes(seen: Seen) -> dict:
    """Whether the attempt goes in, while that is open: area under the ROC curve; empty where all end the same way.

    ceiling: of the true distance from the socket's middle, which no picture can be better than by much.
    """
    fit, check = seen.rows(undecided(seen.examples))
    if any(len(np.unique(seen.label[rows])) < 2 for rows in (fit, check)):
        return {}
    target = torch.from_numpy(seen.label).float()[:, None]

    def score(guess: torch.Tensor) -> Statistic:
        return area_under_curve(guess[:, 0].numpy(), seen.label[check])

    ceiling, _ = interval(score(-offset(seen.examples)[check].norm(dim=1, keepdim=True)), seen.examples.episode[check])
    known = {'chance': {'auc': 0.5}, 'ceiling': {'auc': ceiling}, 'share_that_goes_in': float(seen.label[check].mean())}
    return {**_scores(seen, target, fit, check, 'auc', score), **known}


def _scores(
    seen: Seen, target: torch.Tensor, fit: np.ndarray, check: np.ndarray, name: str,
    score: Callable[[torch.Tensor], Statistic],
) -> dict:  # fmt: skip
    """{view: {reading: {name: value, name_ci: interval}}}; score: from a guess to a statistic."""
    out: dict = {}
    for view, features in seen.views.items():
        out[view] = {}
        for reading, guess in read(features, target, fit, check).items():
            value, between = interval(score(guess), seen.examples.episode[check])
            out[view][reading] = {name: value, f'{name}_ci': between}
    return out


def described(explained: np.ndarray) -> dict:
    """How many components explain 90 and 99 % of the variance, and the whole curve."""
    need = {f'components_{share}': int(np.searchsorted(explained, share / 100) + 1) for share in (90, 99)}
    return {**need, 'explained': [round(float(value), 6) for value in explained]}
