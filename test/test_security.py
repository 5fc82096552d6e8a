"""Security is in force where it is asked for, or nothing starts."""

import pytest

from rlt_ros import security
from rlt_ros.errors import UserError
from rlt_ros.graph import NodeSpec
from rlt_ros.supervisor import command

NODES = ('vla_node', 'executor_node')


@pytest.fixture
def secure(tmp_path):
    """Environment of a machine whose ROS has security, with keys for NODES."""
    library = tmp_path / 'ros' / 'lib' / security.LIBRARY
    library.parent.mkdir(parents=True)
    library.write_bytes(b'\x7fELF')
    for node in NODES:
        folder = tmp_path / 'keys' / 'enclaves' / 'rlt' / node
        folder.mkdir(parents=True)
        for name in security.FILES:
            (folder / name).write_text('')
    return {'ROS_SECURITY_ENABLE': 'true', 'ROS_SECURITY_STRATEGY': 'Enforce', 'AMENT_PREFIX_PATH': f'{tmp_path}/ros',
            'ROS_SECURITY_KEYSTORE': str(tmp_path / 'keys')}  # fmt: skip


def refused(environment):
    with pytest.raises(UserError) as error:
        security.check('rlt', NODES, environment)
    text, = str(error.value).splitlines()
    return text


def test_with_keys_for_every_node_it_is_enforced(secure):
    assert security.check('rlt', NODES, secure) == f'DDS security: enforced, keystore {secure["ROS_SECURITY_KEYSTORE"]}'


def test_a_ros_without_security_is_named_and_refused_where_it_is_asked_for(secure, tmp_path):
    (tmp_path / 'ros' / 'lib' / security.LIBRARY).write_bytes(b'..This Fast DDS version ' + security.ABSENT + b'\0')
    assert 'no DDS security built in: nothing would be protected' in refused(secure)
    del secure['ROS_SECURITY_ENABLE']
    line = security.check('rlt', NODES, secure)
    assert 'no DDS security' in line and 'this machine' in line
    assert 'the network' in security.check('rlt', NODES, secure | {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'})
    assert security.check('rlt', NODES, secure | {'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp'}) == ''


def test_a_ros_with_security_that_is_not_asked_for_says_nothing(secure):
    assert security.check('rlt', NODES, secure | {'ROS_SECURITY_ENABLE': 'false'}) == ''


@pytest.mark.parametrize('file', security.FILES)
def test_a_node_without_its_keys_is_refused_by_name(secure, tmp_path, file):
    (tmp_path / 'keys' / 'enclaves' / 'rlt' / 'executor_node' / file).unlink()
    assert 'rlt/executor_node' in (text := refused(secure)) and file in text


@pytest.mark.parametrize(('change', 'said'), [
    ({'ROS_SECURITY_ENABLE': 'True'}, "ROS_SECURITY_ENABLE = 'True' is not allowed; allowed: true, false"),
    ({'ROS_SECURITY_STRATEGY': 'Permissive'}, 'ROS_SECURITY_STRATEGY = Enforce'),
    ({'ROS_SECURITY_STRATEGY': ''}, 'ROS_SECURITY_STRATEGY = Enforce'),
    ({'ROS_SECURITY_KEYSTORE': ''}, 'has no identity_ca.cert.pem'),
])
def test_what_ros_would_silently_run_unprotected_is_refused(secure, change, said):
    assert said in refused(secure | change)


@pytest.mark.parametrize(('namespace', 'path'), [
    ('rlt', '/rlt/vla_node'), ('/left/', '/left/vla_node'), ('', '/vla_node')])
def test_a_node_is_told_its_enclave_only_with_security(monkeypatch, tmp_path, namespace, path):
    spec = NodeSpec('vla_node', parameters={'robot': 'x'})
    monkeypatch.delenv('ROS_SECURITY_ENABLE', raising=False)
    assert '--enclave' not in command(spec, namespace, tmp_path)
    monkeypatch.setenv('ROS_SECURITY_ENABLE', 'true')
    words = command(spec, namespace, tmp_path)
    assert words[words.index('--enclave') + 1] == path and words.index('--ros-args') < words.index('--enclave')
