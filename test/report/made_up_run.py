"""A made-up run folder: a frozen VLA of 2 in 3, then learning up to every episode in a quarter of the steps."""

import json
from pathlib import Path
import random

import yaml


def episode(number, mode, success, steps, minutes):
    return {'episode': number, 'mode': mode, 'outcome': 'success' if success else 'timeout', 'steps': steps,
            'seconds': steps / 50, 'robot_minutes': minutes, 'policy_version': number, 'stamp': float(number)}


def write(folder: Path, online: int = 200) -> Path:
    """50 evaluation, 20 warm-up and `online` episodes with their metrics."""
    chance = random.Random(0)
    episodes, minutes = [], 0.0
    for number in range(1, 71 + online):
        mode = 'evaluation' if number <= 50 else 'warmup' if number <= 70 else 'online'
        skill = min(1.0, max(0, number - 70) / 120)
        success = chance.random() < 0.66 + 0.34 * skill
        steps = int(chance.gauss(170 - 110 * skill, 25 - 15 * skill)) if success else 450
        minutes += 0 if mode == 'evaluation' else steps / 3000
        episodes.append(episode(number, mode, success, steps, minutes))
    metrics = [{'time': float(i), 'robot_minutes': minutes * i / 99, 'updates': 100 * i,
                'updates_per_s': 80.0 if i else 0, 'transitions': 20 * i, 'policy_version': i, 'ticks': 50 * i,
                'missed_ticks': i // 50, 'deadline_error_ms': {'p50': 0.1, 'p99': 0.8, 'max': 3.0}, 'chunk_holds': 2}
               for i in range(100)]
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in (('episodes', episodes), ('metrics', metrics)):
        (folder / f'{name}.jsonl').write_text(''.join(json.dumps(record) + '\n' for record in records))
    (folder / 'config.yaml').write_text(yaml.safe_dump({'hash': 'abc', 'arguments': {
        'task': 'ethernet', 'method': 'rlt', 'robot': 'bimanual', 'seed': 0, 'minutes': 30.0}}))
    (folder / 'versions.json').write_text('{"python": "3.11"}')
    (folder / 'status.json').write_text(json.dumps({
        **metrics[-1], 'episode': episodes[-1]['episode'], 'phase': 'critical', 'mode': 'online',
        'success_last_20': 0.95, 'throughput_per_10min': 412.5, 'median_steps': 61, 'finished': False}))
    return folder
