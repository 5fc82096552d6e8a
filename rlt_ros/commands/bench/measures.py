"""rlt bench learning, learner, control, latency, takeover, soak: one measurement each."""

import json
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from rich.table import Table
import typer

Task = Annotated[str, typer.Option(help='task, name or path')]
Method = Annotated[str, typer.Option(help='method, name or path')]
Robot = Annotated[str, typer.Option(help='robot profile, name or path')]


def learning(
    minutes: Annotated[float, typer.Option(min=0.1, max=10000, help='robot minutes to learn from')] = 18.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    task: Task = 'ethernet',
    method: Method = 'rlt',
    robot: Robot = 'bimanual',
    final: Annotated[int, typer.Option(min=0, max=10000, help='episodes of the learned policy, without noise')] = 50,
    name: Annotated[str, typer.Option(help='run folder is runs/<name>; default: learning-<task>-<method>-<seed>')] = '',
) -> None:
    """Evaluate the frozen VLA, learn online, and report as for a live run."""
    from rlt_ros import config
    from rlt_ros.bench.learning import learn, work
    from rlt_ros.commands.report import report_on
    from rlt_ros.data.progress import progress
    from rlt_ros.errors import UserError
    from rlt_ros.run_folder import prepare

    models = [config.load(*pair) for pair in (
        (config.RobotProfile, robot), (config.Task, task), (config.Method, method))]  # fmt: skip
    folder = Path('runs', name or f'learning-{Path(task).stem}-{Path(method).stem}-{seed}')
    if folder.exists():
        raise UserError(f'{folder} exists already: remove it, or give another --name')
    prepare(
        {'run_folder': str(folder), 'minutes': minutes, 'seed': seed, 'task': task, 'method': method, 'robot': robot}
    )
    with progress() as bars:
        bar = bars.add_task('robot minutes', total=work(*models[1:], minutes, final), note='')
        learn(*models, minutes, seed, folder, lambda at, note: bars.update(bar, completed=round(at, 1), note=note),
              final)
    report_on(folder, Console())


def learner(
    as_json: Annotated[bool, typer.Option('--json', help='print one JSON object only')] = False,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help='turns that each contender takes')] = 7,
    seconds: Annotated[float, typer.Option(min=0.1, max=1000, help='s of each turn')] = 2.0,
    method: Method = 'rlt',
    robot: Robot = 'bimanual',
) -> None:
    """Updates per second of the learner beside a textbook PyTorch version, on one thread, in the same run."""
    from rlt_ros import config
    from rlt_ros.bench.learner import builtin_sizes, measure
    from rlt_ros.machine import machine

    profile, chosen = config.load(config.RobotProfile, robot), config.load(config.Method, method)
    messages = Console(stderr=True)
    found = measure(profile, chosen, builtin_sizes(profile, chosen), rounds, seconds, messages.print)
    found |= {'machine': machine(), 'config_hash': config.config_hash(profile, chosen)}
    if as_json:
        print(json.dumps(found, indent=2))
        return
    from rlt_ros.report.terminal import learner_table

    Console().print(learner_table(found))


def control(
    seconds: Annotated[float, typer.Option(min=5, max=86400, help='s to measure, once everything runs')] = 600.0,
    load: Annotated[Literal['learner', 'none'], typer.Option(help='learner: at full load; none: no learner')] = (
        'learner'
    ),
    as_json: Annotated[bool, typer.Option('--json', help='print one JSON object only')] = False,
    method: Method = 'rlt',
    robot: Robot = 'bimanual',
) -> None:
    """Deadline errors of the control loop in the simulated graph, beside an rclpy timer in the same run.

    The last rows are of processes that do nothing but wake up, one on each core, at a higher priority: how late each
    was, and how late all of them were at once. What is on a core that stands still is late, whatever it is.
    """
    from rlt_ros.bench.control import Plan, measure

    messages = Console(stderr=True)
    found = measure(Plan(seconds, load == 'learner', robot, method), messages.print)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = Table('deadline error, ms', 'p50', 'p99', 'max', 'later than 1 ms', 'missed ticks', box=None,
                  padding=(0, 3, 0, 0))  # fmt: skip
    loop = found['deadline_error_ms'] | {name: found[name] for name in ('late_ticks', 'missed_ticks')}
    cores = [(f'core {i} itself', errors) for i, errors in enumerate(found['core_pause_ms'])]
    for label, errors in (
        ('executor', loop), ('rclpy timer', found['rclpy_timer']), *cores,
        ('all cores at once', found['machine_pause_ms']),
    ):  # fmt: skip
        table.add_row(label, *(f'{errors[name]:.2f}' for name in ('p50', 'p99', 'max')), str(errors['late_ticks']),
                      str(errors.get('missed_ticks', '')))  # fmt: skip
    table.caption = (
        f'{found["ticks"]} ticks in {found["seconds"]:.0f} s, '
        f'{"SCHED_FIFO" if found["fifo"] else "ordinary scheduling"}, '
        f'learner {found["learner_updates_per_s"]:.0f} updates/s'
    )
    Console().print(table)


def latency(
    episodes: Annotated[int, typer.Option(min=1, max=1000, help='of each row, from the same starts')] = 8,
    as_json: Annotated[bool, typer.Option('--json', help='print one JSON list only')] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    task: Task = 'ethernet',
    method: Method = 'rlt',
    robot: Robot = 'bimanual',
) -> None:
    """The frozen VLA with 0 to 400 ms of delay: chunks asked for ahead of time, or a robot that waits for them."""
    from rlt_ros import config
    from rlt_ros.bench.latency import measure
    from rlt_ros.data.progress import progress

    models = [config.load(*pair) for pair in (
        (config.RobotProfile, robot), (config.Task, task), (config.Method, method))]  # fmt: skip
    with progress() as bars:
        bar = bars.add_task('VLA latency', total=1.0, note='')
        rows = measure(*models, episodes, seed, lambda done, note: bars.update(bar, completed=done, note=note))
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table('delay, ms', '', 'held ticks', 'jumps bent', 'max rad/s²', 'max rad/s³', 'successes/10 min',
                  box=None, padding=(0, 2, 0, 0))  # fmt: skip
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


def takeover(
    times: Annotated[int, typer.Option(min=1, max=100000, help='takeovers')] = 100,
    stops: Annotated[int, typer.Option(min=0, max=100000, help='stops of each kind')] = 20,
    as_json: Annotated[bool, typer.Option('--json', help='print one JSON object only')] = False,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    method: Method = 'rlt',
    robot: Robot = 'bimanual',
) -> None:
    """How fast a person gets the simulated robot, how smoothly it changes hands, and how fast it stops.

    JSON: takeover_ms and release_ms, from the stamp of the Joy message that presses or releases the deadman to the
    first control tick that follows it (times, p50, p99, max); stop_ms, the same from the last valid input to the hold:
    joint_states (the driver says no more), silence (a person who holds the deadman says no more: until nothing moves),
    estop_event, estop_service; limits_ms; largest_velocity and largest_acceleration of the commands within five ticks
    of a takeover and a release, as parts of the robot's limits; interrupted, attempts whose episode ended meanwhile;
    unanswered, attempts that the executor did not follow within 0.5 s, by kind; fifo, whether it ran under SCHED_FIFO.
    """
    from rlt_ros.bench.takeover import Plan, measure

    found = measure(Plan(times, stops, robot, method, seed), Console(stderr=True).print)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    from rlt_ros.report.terminal import takeover_table

    Console().print(takeover_table(found))


def soak(
    minutes: Annotated[float, typer.Option(min=0.2, max=10000, help='to measure, once the robot moves')] = 60.0,
    seed: Annotated[int, typer.Option(min=0, help='of the faults and of the run')] = 0,
    period: Annotated[float, typer.Option(min=5, max=3600, help='s from one fault to the next')] = 20.0,
    as_json: Annotated[bool, typer.Option('--json', help='print one JSON object only')] = False,
    method: Method = 'rlt',
    robot: Robot = 'bimanual',
) -> None:
    """The simulated graph with a random fault every few seconds; exit code 1 if anything was violated."""
    from rlt_ros.bench.soak import Plan
    from rlt_ros.bench.soak import soak as run
    from rlt_ros.machine import machine

    messages = Console(stderr=True)
    found = run(Plan(60 * minutes, period, seed, robot, method), lambda text: messages.print(text, markup=False))
    if as_json:
        print(json.dumps(found | {'machine': machine()}, indent=2))
    else:
        from rlt_ros.report.terminal import soak_table

        Console().print(soak_table(found))
    raise typer.Exit(1 if found['violated'] else 0)


COMMANDS = learning, learner, control, latency, takeover, soak
