"""What a run folder holds before anything starts, and every check that can refuse a run."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
import importlib
from importlib.metadata import PackageNotFoundError, version
import json
import os
from pathlib import Path
import socket
import subprocess

import yaml

from rlt_ros import __version__, graph, weights_files
from rlt_ros.config import Method, RobotProfile, Task, check_fit, config_hash, load, validate
from rlt_ros.errors import UserError
from rlt_ros.machine import machine
from rlt_ros.paths import share
from rlt_ros.vla.timing import TRANSPORT, ticks
from rlt_ros.weights_files import file_hash, path_of

PACKAGES = ('torch', 'mujoco', 'numpy', 'pydantic', 'safetensors', 'opencv-python-headless', 'rclpy',
            'rmw_fastrtps_cpp')
METHOD_FILE = 'method.yaml'  # what every node of the run reads
SAME_ON_RESUME = ('task', 'method', 'robot', 'seed')


def prepare(
    arguments: Mapping[str, graph.Value], method: Method | None = None,
    measure: Callable[[Sequence[graph.NodeSpec]], float] | None = None, say: Callable[[str], None] = print,
    robot: RobotProfile | None = None,
) -> Path:  # fmt: skip
    """Check all configuration and make the run folder `arguments['run_folder']`: config, method, versions.

    method, robot: in place of those that the arguments name (variations of them). measure: tells the s that VLA and
    token take here; where the method's delay does not cover them, the run gets a longer one, and keeps it on `resume`.
    None: the delay stays (in lock-step, inference takes no time). say: gets a line about it for a person.
    Returns its absolute path. Raises UserError, before anything is written, for wrong names or values, a folder that is
    already in use without `resume`, `resume` without a run to go on with, or a delay that the method cannot have.
    """
    values = {**graph.defaults(), **arguments}
    folder = Path(str(values['run_folder'])).expanduser().resolve()
    values['run_folder'] = str(folder)
    profile, task = robot or load(RobotProfile, str(values['robot'])), load(Task, str(values['task']))
    method = method or load(Method, str(values['method']))
    specs = graph.nodes(as_run(values, folder))
    weights = check(values, specs, profile, method)
    before = _before(folder, values)
    answer = before.get('answer')
    if answer and answer['asked'] == method.delay:
        method = with_delay(method, before['method']['delay'], f'{folder / "config.yaml"}: method')
    elif not before and measure is not None:
        answer = {'asked': method.delay, 'computing': measure(specs), 'transport': TRANSPORT}
        method = _fitted(method, answer['computing'], profile.control_rate, say)
    configurations = {'robot': profile, 'task': task, 'method': method}
    config = {
        'hash': config_hash(*configurations.values()),
        'arguments': values,
        'nodes': {spec.name: spec.parameters for spec in specs},
        'answer': answer,
        'weights': weights,
        **{kind: model.model_dump() for kind, model in configurations.items()},
    }
    if before:
        _check_same(before, config, folder)
    try:
        for path in (folder, folder / 'log'):
            path.mkdir(parents=True, exist_ok=True)
        (folder / 'config.yaml').write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        (folder / METHOD_FILE).write_text(yaml.safe_dump(config['method'], sort_keys=False, allow_unicode=True))
        (folder / 'versions.json').write_text(json.dumps(versions(), indent=2) + '\n')
    except OSError as error:
        raise UserError(f'run folder {folder} cannot be written: {error.strerror}') from None
    return folder


def check(
    values: Mapping[str, graph.Value], specs: list[graph.NodeSpec], profile: RobotProfile, method: Method
) -> dict[str, str]:  # fmt: skip
    """All of a graph that can be refused before its nodes start; hashes of its weights. Raises UserError."""
    check_fit(profile, method)
    check_parameters(specs, str(values['config'] or 'arguments'))
    return check_weights(specs, profile.name)


def as_run(arguments: Mapping[str, graph.Value], folder: Path) -> dict[str, graph.Value]:
    """The arguments of the graph that runs in a prepared folder: all its nodes read the method from there."""
    return {**arguments, 'run_folder': str(folder), 'method': str(folder / METHOD_FILE)}


def with_delay(method: Method, delay: int, where: str) -> Method:
    return validate(Method, method.model_dump() | {'delay': delay}, where)


def _fitted(method: Method, computing: float, rate: float, say: Callable[[str], None]) -> Method:
    """The method with a delay that covers answers of `computing` s."""
    needed = ticks(computing, rate)
    found = f'VLA and token take {computing * 1e3:.0f} ms on this machine'
    if needed <= method.delay:
        say(f'{found}: a delay of {method.delay} ticks covers it')
        return method
    if needed > method.chunk:
        raise UserError(f'{found}, which needs delay = {needed} ticks, more than the chunk of method {method.name}, '
                        f'{method.chunk}: use a faster device, or a method with longer chunks')
    fitted = with_delay(method, needed, f'{found}: method {method.name}')
    better = f'; a method with chunk >= {2 * needed} moves more smoothly with it' if method.chunk < 2 * needed else ''
    say(f'{found}: delay is {needed} ticks in this run, not {method.delay}{better}')
    return fitted


def _before(folder: Path, values: Mapping[str, graph.Value]) -> dict:
    """config.yaml of the run to go on with, {} for a new one; refuses to mix two runs in one folder."""
    try:
        used = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise UserError(f'run folder {folder} cannot be read: {error.strerror}') from None
    if not values['resume']:
        if used:
            raise UserError(f'run folder {folder} exists already: --resume (launch: resume:=true) goes on with it, '
                            'another --name or --run-folder (launch: run_folder:=...) begins a new one')
        return {}
    try:
        before = yaml.safe_load((folder / 'config.yaml').read_text())
        same = {name: before['arguments'][name] for name in SAME_ON_RESUME}
        before['hash'], before['method']['delay']
    except (OSError, yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise UserError(f'there is no run to resume in {folder} (no readable config.yaml)') from None
    for name, value in same.items():
        if value != values[name]:
            raise UserError(f'cannot resume {folder}: its {name} is {value!r}, not {values[name]!r}')
    return before


def _check_same(before: dict, config: dict, folder: Path) -> None:
    """Refuse to go on with a run whose configuration has changed."""
    if before['hash'] != config['hash']:
        changed = [f'the {kind} file' for kind in ('robot', 'task', 'method') if before.get(kind) != config[kind]]
        raise UserError(f'cannot resume {folder}: {" and ".join(changed)} changed since')
    for kind, used in (before.get('weights') or {}).items():
        if used != config['weights'][kind]:
            raise UserError(f'cannot resume {folder}: it has learned with the {kind} of hash {used[:12]}, '
                            f'not {config["weights"][kind][:12]}')  # fmt: skip


def check_parameters(specs: list[graph.NodeSpec], where: str) -> None:
    """Hold each node's parameters against its Parameters model; raises UserError with a line per wrong one."""
    wrong = []
    for spec in specs:
        model = importlib.import_module(f'rlt_ros.nodes.{spec.name}').Parameters
        try:
            validate(model, spec.parameters, f'{where}: {spec.name}')
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise UserError('\n'.join(wrong))


def check_weights(specs: list[graph.NodeSpec], robot: str) -> dict[str, str]:
    """Hashes of the weights that the nodes will load, by kind: there, whole, made for each other; raises UserError."""
    given = {spec.name: spec.parameters for spec in specs}
    vla = path_of('vla', robot, given['vla_node'].get('weights', ''))
    token = path_of('rl_token', robot, given['rl_token_node'].get('weights', ''))
    weights_files.check(vla, token)
    return {'VLA': weights_files.vla_hash(vla), 'RL token': file_hash(token)}


def check_network(namespace: str) -> socket.socket:
    """Refuse a ROS set-up that cannot work, and a second graph of the same domain and namespace on this machine.

    Two graphs on the same topics would command one robot. Returns the lock; it is free when closed or the process ends.
    """
    text = os.environ.get('ROS_DOMAIN_ID') or '0'
    if not text.isascii() or not text.isdigit() or int(text) > 232:
        raise UserError(f'ROS_DOMAIN_ID = {text!r} is not allowed; allowed: 0 to 232 (0 to 101 are safe on Linux)')
    port = 7400 + 250 * int(text)  # the multicast port that all participants of a domain share (DDS-RTPS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as discovery:
        discovery.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            discovery.bind(('', port))
        except OSError as error:
            raise UserError(f'UDP port {port} of ROS_DOMAIN_ID {text} cannot be used: {error.strerror}; '
                            'set another ROS_DOMAIN_ID') from None
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f'\0rlt_ros/{text}/{namespace.strip("/")}')
    except OSError:
        lock.close()
        raise UserError(f'a graph of namespace "{namespace}" runs already in ROS domain {text}: '
                        'stop it, or set another --namespace or ROS_DOMAIN_ID') from None
    return lock


def new_name() -> str:
    """Name of a run folder by the time of day."""
    return datetime.now().strftime('%Y%m%d-%H%M%S')


def versions() -> dict[str, object]:
    """What the run was made with: packages, commit, machine, and the SHA-256 of every weights file."""
    packages: dict[str, str] = {'rlt_ros': __version__}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    weights = share() / 'weights'
    return {
        'packages': packages,
        'commit': _commit(),
        **machine(),
        'weights': {str(path.relative_to(weights)): file_hash(path)
                    for path in sorted(weights.rglob('*')) if path.is_file()},
    }


def _commit() -> str:
    """Commit of the source checkout, '+changes' when files differ from it; '' for an installed package."""
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / '.git').exists():
        return ''
    try:
        commit = subprocess.run(['git', '-C', str(checkout), 'rev-parse', 'HEAD'],
                                capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        changes = subprocess.run(['git', '-C', str(checkout), 'status', '--porcelain', '--untracked-files=no'],
                                 capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ''
    return commit + ('+changes' if changes else '')
