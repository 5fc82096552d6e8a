"""DDS security (SROS 2) of the graph: whether this ROS has it, and what a node needs for it. docs/security.md says how.

ROS reads ROS_SECURITY_ENABLE and the like by itself, but runs unprotected where one is misspelt or a file is missing.
"""

from collections.abc import Iterable, Mapping
import os
from pathlib import Path
import sys

from rlt_ros.errors import UserError

# What `ros2 security create_enclave` and `create_permission` leave for each node.
FILES = ('identity_ca.cert.pem', 'cert.pem', 'key.pem', 'permissions_ca.cert.pem', 'governance.p7s', 'permissions.p7s')
# Fast DDS's adapter says this where it was built without security, and only then has the text in it.
LIBRARY, ABSENT = 'librmw_fastrtps_shared_cpp.so', b"doesn't have the security libraries"
REACH = {'LOCALHOST': 'this machine', 'OFF': 'nobody'}
DOCS = 'see docs/security.md'


def enabled(environment: Mapping[str, str]) -> bool:
    """Whether ROS_SECURITY_ENABLE asks for it. Raises UserError for a value that ROS would take for false."""
    value = environment.get('ROS_SECURITY_ENABLE', '')
    if value not in ('', 'true', 'false'):
        raise UserError(f'ROS_SECURITY_ENABLE = {value!r} is not allowed; allowed: true, false')
    return value == 'true'


def full_name(namespace: str, node: str) -> str:
    """A node's name in the whole graph; under it the keystore has its keys (its enclave)."""
    return '/' + '/'.join(part for part in (namespace.strip('/'), node) if part)


def arguments(namespace: str, node: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    """What follows --ros-args for a node of the graph."""
    return ['--enclave', full_name(namespace, node)] if enabled(environment) else []


def check(namespace: str, nodes: Iterable[str], environment: Mapping[str, str] = os.environ) -> str:
    """A line for a person about who can read and command this graph, '' if there is nothing to say.

    Raises UserError where security is asked for and any node would run without.
    """
    rmw, lacking = environment.get('RMW_IMPLEMENTATION') or 'rmw_fastrtps_cpp', _lacks_security(environment)
    if not enabled(environment):
        reach = REACH.get(environment.get('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST'), 'the network')
        return f'{rmw} has no DDS security built in: the graph is open to {reach} ({DOCS})' if lacking else ''
    if lacking:
        raise UserError(f'ROS_SECURITY_ENABLE = true, but {rmw} has no DDS security built in: nothing would be '
                        f'protected; use an installed ROS 2 ({DOCS})')
    if environment.get('ROS_SECURITY_STRATEGY') != 'Enforce':
        raise UserError('ROS_SECURITY_ENABLE = true needs ROS_SECURITY_STRATEGY = Enforce: otherwise ROS runs a node '
                        'without keys unprotected')
    store = Path(environment.get('ROS_SECURITY_KEYSTORE') or '/nowhere')
    for node in nodes:
        folder = store / 'enclaves' / full_name(namespace, node).lstrip('/')
        if missing := [name for name in FILES if not (folder / name).is_file()]:
            raise UserError(f'ROS_SECURITY_ENABLE = true, but {folder} has no {missing[0]} ({DOCS})')
    return f'DDS security: enforced, keystore {store}'


def _lacks_security(environment: Mapping[str, str]) -> bool:
    """Whether the ROS in use was built without; False also where nobody knows."""
    if not environment.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp').startswith('rmw_fastrtps'):
        return False
    prefixes = [*filter(None, environment.get('AMENT_PREFIX_PATH', '').split(os.pathsep)), sys.prefix]
    library = next((path for prefix in prefixes if (path := Path(prefix, 'lib', LIBRARY)).is_file()), None)
    return library is not None and ABSENT in library.read_bytes()
