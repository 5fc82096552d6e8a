"""The numbers of a run, from episodes.jsonl and metrics.jsonl alone."""

import json
import math
from pathlib import Path
from statistics import median

from rlt_ros.report.records import of_mode, read_episodes, read_lines, read_object

LAST = 50
WINDOW = 20


def wilson(successes: float, episodes: float) -> tuple[float, float] | None:
    """95 % interval of a success rate; None without episodes."""
    if not episodes:
        return None
    z, rate = 1.96, successes / episodes
    middle = rate + z * z / (2 * episodes)
    spread = z * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes**2))
    scale = 1 + z * z / episodes
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def throughput(episodes: list[dict]) -> float | None:
    """Successes per 10 min of the episodes' time (s, failures included); None without time."""
    seconds = sum(episode['seconds'] for episode in episodes)
    return 600 * successes(episodes) / seconds if seconds > 0 else None


def successes(episodes: list[dict]) -> int:
    return sum(episode['outcome'] == 'success' for episode in episodes)


def median_steps(episodes: list[dict]) -> float | None:
    """Median control ticks of the successful episodes; None without one."""
    steps = [episode['steps'] for episode in episodes if episode['outcome'] == 'success']
    return median(steps) if steps else None


def describe(episodes: list[dict]) -> dict:
    """Measures of a set of episodes; None where there is nothing to measure."""
    interval = wilson(successes(episodes), len(episodes))
    return {
        'episodes': len(episodes),
        'success_rate': successes(episodes) / len(episodes) if episodes else None,
        'success_ci': list(interval) if interval else None,
        'throughput_per_10min': throughput(episodes),
        'median_steps': median_steps(episodes),
    }


def minutes_to(online: list[dict], level: float | None) -> float | None:
    """Robot minute from which on any WINDOW online episodes in a row together reach `level` successes per 10 min.

    The first window that does says little: the luckiest of many is far above what a policy does on average.
    None: the last ones do not, or there is no level. A level of 0 is reached by any success.
    """
    passed = None
    for end in range(len(online), WINDOW - 1, -1):
        reached = throughput(online[end - WINDOW:end])
        if level is None or not reached or reached < level:
            break
        passed = online[end - 1]['robot_minutes']
    return passed


def summarise(run_folder: Path) -> dict:
    """The run's summary (JSON types).

    'vla' is the frozen VLA's evaluation, 'rlt' the last 50 online episodes; the top level repeats the latter.
    """
    episodes, metrics = read_episodes(run_folder), read_lines(run_folder / 'metrics.jsonl')
    config, online = read_object(run_folder / 'config.yaml'), of_mode(episodes, 'online')
    vla, rlt = describe(of_mode(episodes, 'evaluation')), describe(online[-LAST:])
    arguments = config.get('arguments') or {}
    last = metrics[-1] if metrics else {}
    rates = [line['updates_per_s'] for line in metrics if (line.get('updates_per_s') or 0) > 0]
    stored = [record.get('robot_minutes') or 0.0 for record in (*episodes, *metrics)]
    level = vla['throughput_per_10min']
    return {
        **{name: arguments.get(name) for name in ('method', 'task', 'robot', 'seed')},
        'episodes': len(episodes),
        **{name: rlt[name] for name in ('success_rate', 'success_ci', 'throughput_per_10min', 'median_steps')},
        'robot_minutes': max(stored, default=0.0),
        'minutes_to_pass_vla': minutes_to(online, level),
        'minutes_to_3x_vla': None if level is None else minutes_to(online, 3 * level),
        'vla': vla,
        'rlt': rlt,
        'updates_per_s': median(rates) if rates else None,
        'policy_versions': last.get('policy_version'),
        **{name: last.get(name) for name in
           ('updates', 'transitions', 'ticks', 'missed_ticks', 'deadline_error_ms', 'chunk_holds')},
        'config_hash': config.get('hash'),
        'versions': read_object(run_folder / 'versions.json'),
    }


def write_summary(run_folder: Path) -> dict:
    """Summarise to `run_folder`/summary.json; raises OSError when it cannot be written."""
    summary = summarise(run_folder)
    (run_folder / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    return summary
