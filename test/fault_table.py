"""Pytest plugin: which faults there are, which tests show what happens then, and the page that is made of it.

A test says so by `@pytest.mark.fault('<key of FAULTS>', '<reaction>')`; what it measured, by the fixture time_to_hold.
`./rlt test --faults-page docs/faults.md` runs these tests and writes the page.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FAULTS = {
    'chunk-late': 'chunk older than it may be, or late',
    'chunk-foreign': 'chunk of another episode, or from before a takeover',
    'chunk-again': 'chunk twice or out of order',
    'underrun': 'the next chunk does not come',
    'not-finite': 'NaN or infinity in states, chunks, joint states, controllers',
    'wrong-shape': 'wrong sizes, missing or unknown joints',
    'limits': 'commands beyond position, velocity or acceleration limits, or the box',
    'switch': 'VLA, actor and person take turns',
    'vla-dies': 'VLA process ends (SIGKILL)',
    'vla-hangs': 'VLA process hangs (SIGSTOP)',
    'vla-slow': 'VLA answers seconds late',
    'vla-garbage': 'VLA sends garbage',
    'camera-stops': 'a camera stops',
    'camera-garbage': 'a camera sends garbage',
    'camera-frozen': 'a camera is frozen: new stamps, same pixels',
    'stamps': 'stamps of zero, from the past or the future',
    'clock': 'somebody sets the wall clock',
    'joints-stop': 'joint states stop',
    'joints-missing': 'a joint is missing in the joint states',
    'robot-hangs': 'the driver hangs (SIGSTOP)',
    'joy-unplugged': 'controller unplugged with the deadman held',
    'joy-short': 'controller with fewer axes or buttons than its mapping needs',
    'estop': 'E-stop pressed',
    'estop-lost': 'the source of the E-stop is lost',
    'learner-dies': 'learner ends (SIGKILL)',
    'diverged': 'loss or networks not finite',
    'checkpoint': 'checkpoint half written or damaged',
    'policy': 'policy damaged, old, of another architecture or encoder',
    'journal': 'journal torn or damaged',
    'disk-full': 'disk full',
    'burst': 'resumption of a long run',
    'parameter': 'illegal parameter, also at run time',
    'overrun': 'control loop stopped for a while (SIGSTOP)',
    'restart': 'a node is started again in mid-episode',
    'second-publisher': 'a second publisher of commands or RL states',
    'signals': 'SIGINT, SIGTERM, SIGKILL in any order',
    'episode-node-hangs': 'episode_node hangs, or ends and nobody starts it again',
    'executor-dies': 'executor ends (SIGKILL)',
    'race': 'takeover and release within a tick, chunks at the same moment',
    'pickle': 'weights, policy, checkpoint or journal that is a pickle',
    'out-of-memory': 'learner or VLA fails with an exception',
    'press': 'label pressed by mistake',
    'monitor-dies': 'monitor ends (SIGKILL)',
    'soak': 'random faults for a long time',
}
NOT_HERE = {
    'estop-lost': 'The E-stop is a press, by service or event, and latches. A source that is lost cannot be told from '
    'one that is not pressed; what has to be safe without any software is the E-stop of the robot itself.',
    'robot-hangs': 'As joint states stop, a hold within 0.1 s; but now and then a write of the executor waits for the '
    'stopped process for 1 s in the DDS library. For that time no command comes, and the driver, as soon as it is '
    'there again, has its own time-out.',
}


@dataclass(frozen=True)
class Row:
    """A test and a fault it shows."""

    fault: str
    reaction: str
    file: str  # relative to the tests
    test: str


def rows() -> list[Row]:
    """All marked tests in the order of FAULTS, read from the sources."""
    found = [row for path in sorted(TESTS.rglob('test_*.py')) for row in _marked(path)]
    return sorted(found, key=lambda row: list(FAULTS).index(row.fault) if row.fault in FAULTS else -1)


def _marked(path: Path) -> Iterator[Row]:
    for function in ast.parse(path.read_text()).body:
        for mark in getattr(function, 'decorator_list', ()):
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == 'pytest.mark.fault':
                yield Row(*(ast.literal_eval(word) for word in mark.args), str(path.relative_to(TESTS)), function.name)


def page(times: dict[tuple[str, str], float], machine: str) -> str:
    """The page. times: s until the robot held, by file and test; machine: what they were measured on."""
    lines = [
        '# Faults, and what happens then', '',
        'Written by `./rlt test --faults-page docs/faults.md` from the tests that show it; they run real processes '
        'and send real signals wherever it is not a matter of numbers alone.', '',
        f'Time to hold: from the stamp of the last valid input to the first tick that holds, the longest of the test, '
        f'measured on {machine}.', '',
        '| fault | reaction | time to hold, ms | test |', '|---|---|---|---|',
    ]  # fmt: skip
    for row in rows():
        measured = times.get((row.file, row.test))
        milliseconds = '' if measured is None else f'{measured * 1e3:.0f}'
        name = f'[{row.test.removeprefix("test_").replace("_", " ")}](../test/{row.file})'
        lines.append(f'| {FAULTS[row.fault]} | {row.reaction} | {milliseconds} | {name} |')
    lines += ['', '## What no test shows', '']
    lines += [f'- {FAULTS[fault]}: {why}' for fault, why in NOT_HERE.items()]
    return '\n'.join(lines) + '\n'


def without_numbers(text: str) -> list[list[str]]:
    """The table and the list of a page, but for what was measured."""
    lines = [line for line in text.splitlines() if line.startswith(('|', '-'))]
    return [[cell for i, cell in enumerate(line.split('|')) if i != 3] for line in lines]


@pytest.fixture
def time_to_hold(record_property: Callable[[str, object], None]) -> Callable[[float], None]:
    """Call it with the s from the last valid input to the hold."""
    return lambda seconds: record_property('time_to_hold', seconds)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--faults-page', help='run the tests of faults alone and write what they show to this file')


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line('markers', 'fault(fault, reaction): shows what happens when it comes to that')
    if config.getoption('--faults-page'):
        config.pluginmanager.register(Writer(Path(config.getoption('--faults-page'))))


class Writer:
    """Runs the marked tests alone, and writes the page if none fails."""

    def __init__(self, path: Path):
        self.path, self.times = path, {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        unmarked = [item for item in items if not item.get_closest_marker('fault')]
        items[:] = [item for item in items if item.get_closest_marker('fault')]
        config.hook.pytest_deselected(items=unmarked)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == 'call':
            key = (report.location[0].removeprefix('test/'), report.location[2].partition('[')[0])
            for _, seconds in (item for item in report.user_properties if item[0] == 'time_to_hold'):
                self.times[key] = max(seconds, self.times.get(key, 0.0))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus == 0:
            from rlt_ros.machine import machine

            facts = machine()
            where = f'{facts["cpu"]}, {facts["cores"]} cores, Python {facts["python"]}'
            self.path.write_text(page(self.times, where))
