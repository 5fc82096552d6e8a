"""A journal in numbers, and what to think of them: are the labels right, are the values believable?"""

from dataclasses import asdict
import json

import numpy as np

from rlt_ros.report.replay import OUTCOMES, Episode, Inspection, kinds_of
from rlt_ros.rl.replay import KINDS

NEWEST = 20  # online episodes that show what the values are worth now
LARGEST_GAP, LEAST_CORRELATION = 0.1, 0.8


def doubts(episode: Episode) -> list[str]:
    """What may be wrong with an episode's label or its transitions."""
    found = []
    if episode.outcome != 'timeout' and not episode.terminated:
        found.append(f'{episode.outcome} is in no transition')
    if episode.label_now not in ('', episode.outcome):
        found.append(f'label is {episode.label_now} by now')
    if episode.holes:
        found.append(f'{episode.holes} missing')
    return found


def agreement(rows: np.ndarray) -> dict:
    """Q minus realised return (mean) and their correlation where both are known; None where there is none."""
    both = rows[np.isfinite(rows['q']) & np.isfinite(rows['realised'])]
    q, value = both['q'], both['realised']
    varied = len(both) > 1 and min(np.ptp(q), np.ptp(value)) > 0
    return {
        'transitions': len(both),
        'gap': float((q - value).mean()) if len(both) else None,
        'correlation': float(np.corrcoef(q, value)[0, 1]) if varied else None,
    }


def disagreements(q: dict) -> list[str]:
    """In what way values are not what came of it; nothing where they are, or nothing is known."""
    gap, correlation = q['gap'], q['correlation']
    found = []
    if gap is not None and gap > LARGEST_GAP:
        found.append(f'Q is {gap:.2f} above the realised return on average (allowed: {LARGEST_GAP})')
    if correlation is not None and correlation < LEAST_CORRELATION:
        found.append(f'the correlation of Q and realised return is {correlation:.2f} (at least: {LEAST_CORRELATION})')
    return found


def warning(q: dict, newest: dict) -> str:
    """A sentence about values that are not to be believed, '' where there is no reason for one."""
    if not (found := disagreements(q)):
        return ''
    if newest['transitions'] and not disagreements(newest):
        reason = 'in the newest online episodes they agree, so the policy has outgrown the older ones'
    else:
        reason = 'the critic has learned too little yet, or the token is blind to what decides about success'
    return f'{" and ".join(found)}: {reason}'


def remarks(found: Inspection, about_q: str) -> list[str]:
    """What a user must know before believing the numbers, a sentence each."""
    said = []
    if found.damaged or found.torn:
        said.append(f'{found.damaged + found.torn} of {found.bytes} bytes are left out: {found.damaged} damaged, '
                    f'{found.torn} at the end, torn or being written now')  # fmt: skip
    if doubtful := sum(bool(doubts(episode)) for episode in found.episodes):
        said.append(f'{doubtful} of {len(found.episodes)} episodes have a doubtful label or miss transitions')
    if found.updates is None:
        said.append(f'Q is not shown: {found.note}')
    elif found.note:
        said.append(f'Q is of the checkpoint before: {found.note}')
    return [*said, about_q] if about_q else said


def summarise(found: Inspection) -> dict:
    """The whole journal in numbers (JSON types); q['newest'] is of the last NEWEST online episodes that ended."""
    rows, minutes = found.rows, found.episodes[-1].robot_minutes
    kinds = kinds_of(rows)
    chosen = [e.number for e in found.episodes if e.mode == 'online' and e.terminated][-NEWEST:]
    q, newest = agreement(rows), agreement(rows[np.isin(rows['episode'], chosen)])
    return {
        'run': str(found.folder),
        'bytes': found.bytes,
        'bytes_left_out': {'damaged': found.damaged, 'torn': found.torn},
        'updates': found.updates,
        'episodes': len(found.episodes),
        'transitions': len(rows),
        'by_kind': {kind: int((kinds == i).sum()) for i, kind in enumerate(KINDS)},
        'labels': {outcome: sum(e.outcome == outcome for e in found.episodes) for outcome in OUTCOMES},
        'robot_minutes': minutes,
        'megabytes_per_robot_minute': found.bytes / 1e6 / minutes,
        'partial_chunks': float((rows['steps'] < found.method.chunk).mean()),
        'q': q | {'newest': newest},
        'remarks': remarks(found, warning(q, newest)),
    }


def as_json(found: Inspection, chosen: list[Episode]) -> str:
    """Summary and the chosen episodes as one JSON object."""
    table = [asdict(episode) | {'doubts': doubts(episode)} for episode in chosen]
    return json.dumps({'summary': summarise(found), 'episodes': table}, indent=2)
