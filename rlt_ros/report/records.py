"""Reads what a run wrote: tolerant of empty, torn and foreign lines, for a run may end at any byte."""

import json
from pathlib import Path

import yaml

# modes of episodes that are learned from; curriculum: of the critical phase alone, where the run is of a full task
LEARNED = ('curriculum', 'warmup', 'online')
NUMBERS = ('episode', 'steps', 'seconds', 'robot_minutes')


def read_lines(path: Path) -> list[dict]:
    """JSON objects of a .jsonl file in order; what is no whole object is left out; [] without the file."""
    try:
        lines = path.read_text(errors='replace').splitlines()
    except OSError:
        return []
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def read_object(path: Path) -> dict:
    """Content of a JSON or YAML file, {} when there is none that can be read."""
    try:
        text = path.read_text()
        content = json.loads(text) if path.suffix == '.json' else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def read_episodes(run_folder: Path) -> list[dict]:
    """Ended episodes by number. Of two lines about one episode the later counts: its label was corrected."""
    episodes = {}
    for record in read_lines(run_folder / 'episodes.jsonl'):
        numbers = [record.get(name) for name in NUMBERS]
        if all(isinstance(number, (int, float)) for number in numbers) and {'mode', 'outcome'} <= set(record):
            episodes[record['episode']] = record
    return [episodes[number] for number in sorted(episodes)]


def of_mode(episodes: list[dict], mode: str) -> list[dict]:
    """Those of a mode that were played to an end: an aborted one says nothing of who drove."""
    return [episode for episode in episodes if episode['mode'] == mode and episode['outcome'] != 'abort']
