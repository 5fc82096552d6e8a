"""The only list of nodes and arguments of the graph, for `rlt up` and for launch/online_rl.launch.py.

Imports nothing of ROS and no node: both front ends and their tests read it cheaply.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
import os
from pathlib import Path

import yaml

from rlt_ros.errors import UserError

Value = bool | int | float | str


@dataclass(frozen=True)
class Argument:
    """An argument of the graph; the type of its default is its type."""

    name: str
    default: Value
    description: str
    allowed: tuple[str, ...] = ()

    def parse(self, text: str) -> Value:
        """The value that a launch argument's text means; raises UserError."""
        kind = type(self.default)
        if kind is bool:
            if text.lower() not in ('true', 'false'):
                raise UserError(f'{self.name} = {text!r} is not allowed; allowed: true, false')
            return text.lower() == 'true'
        try:
            return kind(text)
        except ValueError:
            raise UserError(f'{self.name} = {text!r} is no {kind.__name__}') from None


ARGUMENTS = (
    Argument('task', 'ethernet', 'name of a task in config/tasks, or the path of a YAML file'),
    Argument('method', 'rlt', 'name of a method in config/methods, or the path of a YAML file'),
    Argument('robot', 'bimanual', 'name of a robot profile in config/robots, or the path of a YAML file'),
    Argument('config', '', 'ROS parameter file (YAML) that overrides parameters of single nodes'),
    Argument('namespace', 'rlt', 'ROS namespace of every node; a second robot takes another one'),
    Argument('record', False, 'write the cameras to a video in the run folder'),
    Argument('minutes', 30.0, 'robot minutes of data to learn from, then the run is finished'),
    Argument('seed', 0, 'seed of simulator, exploration and learner'),
    Argument('run_folder', '', 'where logs, journal, checkpoints and results go'),
    Argument('resume', False, 'go on with the run that is in the run folder'),
    Argument('simulate', True, 'start the simulated robot in place of a real one'),
    Argument('joystick', True, 'read a game controller; false: none, or another node publishes joy'),
    Argument('device', 'cpu', 'where networks are computed', ('cpu', 'cuda')),
)


@dataclass(frozen=True)
class NodeSpec:
    """One process of the graph. `nodes()` completes `parameters` and `better`; all else is fixed by the table below."""

    executable: str
    takes: tuple[str, ...] = ()                                   # arguments that become parameters of the node
    better: str = ''                                              # package/executable to prefer where it is installed
    parameters: dict[str, Value] = field(default_factory=dict)
    condition: str = ''                                           # boolean argument without which it is not started
    required: bool = False                                        # the whole graph stops when it ends
    finishes: bool = False                                        # its exit with code 0 means: the run is finished
    respawn_delay: float | None = None                            # s until it is started again; None: never
    stop_order: int = 0                                           # who commands stops first, who records stops last
    nice: int = 0

    @property
    def name(self) -> str:
        return Path(self.executable).stem


NODES = (
    NodeSpec('sim_robot_node', ('robot', 'task', 'seed'), condition='simulate', required=True, stop_order=6),
    NodeSpec('camera_node', ('robot', 'task'), required=True, stop_order=3),
    NodeSpec('vla_node', ('robot', 'task', 'method', 'device'), required=True, stop_order=4),
    NodeSpec('rl_token_node', ('robot', 'device'), required=True, stop_order=4),
    # Never respawned: a robot that stops under way waits for a person.
    NodeSpec('executor_node', ('robot', 'task', 'method', 'seed'), required=True, stop_order=1),
    # The robot goes on with the last policy while the learner comes back.
    NodeSpec('learner_node', ('robot', 'task', 'method', 'run_folder', 'seed'),
             respawn_delay=2.0, stop_order=5, nice=10),
    NodeSpec('joy_node', better='joy/game_controller_node', parameters={'autorepeat_rate': 50.0}, condition='joystick',
             respawn_delay=1.0, stop_order=2),
    NodeSpec('teleop_node', ('robot',), respawn_delay=1.0, stop_order=2),
    NodeSpec('episode_node', ('task', 'method', 'minutes', 'run_folder'),
             required=True, finishes=True, stop_order=0),
    NodeSpec('monitor_node', ('robot', 'task', 'run_folder', 'record'),
             respawn_delay=1.0, stop_order=7),
)

# What every process gets unless the user has set it: numbers from several threads on few cores only cost latency,
# and a graph that drives a robot is not open to the whole network by accident.
ENVIRONMENT = {
    'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    'OMP_NUM_THREADS': '1',
    'OPENBLAS_NUM_THREADS': '1',
    'MKL_NUM_THREADS': '1',
    'LP_NUM_THREADS': '0',
    'MALLOC_ARENA_MAX': '2',
    'RCUTILS_COLORIZED_OUTPUT': '0',
}


def defaults() -> dict[str, Value]:
    """Arguments by name with their defaults."""
    return {argument.name: argument.default for argument in ARGUMENTS}


def nodes(arguments: Mapping[str, Value]) -> list[NodeSpec]:
    """Nodes to start, with their parameters, in the order of the table.

    `arguments`: any of ARGUMENTS, the rest have their defaults. The file `config` overrides what arguments give, but
    may not set what has to be the same in the whole graph. Raises UserError for unknown or disallowed values.
    """
    values = {**defaults(), **arguments}
    for argument in ARGUMENTS:
        if argument.allowed and values[argument.name] not in argument.allowed:
            raise UserError(f'{argument.name} = {values[argument.name]!r} is not allowed; '
                            f'allowed: {", ".join(argument.allowed)}')
    if unknown := set(values) - set(defaults()):
        raise UserError(f'unknown argument "{min(unknown)}"; allowed: {", ".join(defaults())}')
    chosen = [spec for spec in NODES if not spec.condition or values[spec.condition]]
    overrides = read_overrides(str(values['config']), str(values['namespace'])) if values['config'] else {}
    return [replace(spec, better=spec.better if installed(spec.better) else '', parameters={
                **spec.parameters, **{name: values[name] for name in spec.takes}, **overrides.get(spec.name, {})})
            for spec in chosen]


def installed(program: str) -> Path | None:
    """Where the ROS installation that is sourced has a program (package/executable); None: nowhere."""
    prefixes = filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep))
    return next((path for prefix in prefixes if program and (path := Path(prefix, 'lib', program)).is_file()), None)


def read_overrides(file: str, namespace: str) -> dict[str, dict]:
    """Parameters by node name from a ROS parameter file; raises UserError.

    Nodes are named `vla_node`, `/rlt/vla_node` or `/**/vla_node`, also nested as ROS allows. Their values are checked
    by whoever reads them.
    """
    try:
        content = yaml.safe_load(Path(file).read_text()) or {}
    except OSError as error:
        raise UserError(f'config "{file}" cannot be read: {error.strerror}') from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f'{file} is no readable YAML: {" ".join(str(error).split())}') from None
    known = [spec.name for spec in NODES]
    shared = {name for spec in NODES for name in spec.takes} - {'device'}
    overrides: dict[str, dict] = {}
    for path, parameters in _sections(file, content):
        parts = path.strip('/').split('/')
        if parts[-1] not in known or '/'.join(parts[:-1]) not in ('', '**', namespace.strip('/')):
            raise UserError(f'{file}: section "{path}" names no node of namespace "{namespace}"; '
                            f'nodes: {", ".join(known)}')
        if wrong := shared & set(parameters):
            raise UserError(f'{file}: {parts[-1]} may not set "{min(wrong)}": it is one for the whole graph, '
                            'give it as an argument')
        overrides[parts[-1]] = {**overrides.get(parts[-1], {}), **parameters}
    return overrides


def _sections(file: str, content: object, path: str = '') -> list[tuple[str, dict]]:
    """Flatten nested namespaces to (node path, parameters)."""
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f'{file}: "{path or "content"}" must hold node names with ros__parameters')
    found = []
    for key, value in content.items():
        if key != 'ros__parameters':
            found += _sections(file, value, f'{path}/{key.strip("/")}' if path else key)
        elif isinstance(value, dict) and path:
            found.append((path, value))
        else:
            raise UserError(f'{file}: ros__parameters of "{path}" must be keys and values under a node name')
    return found
