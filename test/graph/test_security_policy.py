"""The SROS 2 policy: well formed, and exactly what the nodes of the running graph publish, hear, serve and call."""

from collections import defaultdict
import os
from pathlib import Path
import re
import subprocess
import sys
from xml.etree import ElementTree

from node_bench import CHECKOUT, NodeBench
import pytest
from rclpy.node import NodeNameNonExistentError

from rlt_ros import graph, security

FOLDER = CHECKOUT / 'config' / 'security'
INCLUDE = '{http://www.w3.org/2001/XInclude}include'
QUALIFIERS = {'topics': ('publish', 'subscribe'), 'services': ('reply', 'request')}
NAME = re.compile(r'(/|~/)?[A-Za-z_*][A-Za-z0-9_*]*(/[A-Za-z_][A-Za-z0-9_]*)*')
Rules = set[tuple[str, str]]  # (publish, subscribe, reply or request; full name)


def lists_of(profile: ElementTree.Element) -> list[ElementTree.Element]:
    """The lists of names in a profile, those of included files among them."""
    found = []
    for child in profile:
        if child.tag == INCLUDE:
            assert child.get('xpointer') == 'xpointer(/profile/*)' and child.get('parse') == 'xml'
            found += lists_of(ElementTree.parse(FOLDER / child.get('href')).getroot())
        else:
            found.append(child)
    return found


def rules_of(profile: ElementTree.Element, namespace: str, node: str) -> Rules:
    """What a profile allows, with names resolved as ROS does."""
    rules = set()
    for names in lists_of(profile):
        (kind, value), = names.attrib.items()
        assert kind in QUALIFIERS[names.tag] and value == 'ALLOW' and len(names)
        for item in names:
            assert item.tag == names.tag[:-1] and not item.attrib and NAME.fullmatch(item.text), item.text
            prefix = {'/': '', '~': f'{namespace}/{node}/'}.get(item.text[0], f'{namespace}/')
            rules.add((kind, prefix + item.text.removeprefix('~/')))
    return rules


@pytest.fixture(scope='module')
def policy() -> dict[str, Rules]:
    """What each node may do, by name; fails where the file is not as `ros2 security create_permission` needs it."""
    root = ElementTree.parse(FOLDER / 'policy.xml').getroot()
    assert (root.tag, root.attrib) == ('policy', {'version': '0.2.0'})
    enclaves, = root
    assert enclaves.tag == 'enclaves' and not enclaves.attrib
    found = {}
    for enclave in enclaves:
        assert enclave.tag == 'enclave' and list(enclave.attrib) == ['path']
        profiles, = enclave
        profile, = profiles
        assert (profiles.tag, profile.tag, set(profile.attrib)) == ('profiles', 'profile', {'ns', 'node'})
        assert profile.get('node') not in found
        assert enclave.get('path') == security.full_name(profile.get('ns'), profile.get('node'))
        found[profile.get('node')] = rules_of(profile, profile.get('ns'), profile.get('node'))
    return found


def test_every_node_has_an_enclave_where_it_looks_for_it(policy: dict[str, Rules]) -> None:
    assert set(policy) == {spec.name for spec in graph.NODES} | {'keyboard'}


def test_only_the_executor_may_command_the_robot_and_only_the_token_node_may_speak_for_the_vla(policy) -> None:
    for topic, node in (('joint_command', 'executor_node'), ('rl_state', 'rl_token_node'), ('policy', 'learner_node')):
        assert [name for name, rules in policy.items() if ('publish', f'/rlt/{topic}') in rules] == [node]


def test_the_joystick_driver_of_ros_may_hear_of_parameters_as_every_node_in_cpp_wants_to(policy) -> None:
    listeners = [name for name, rules in policy.items() if ('subscribe', '/parameter_events') in rules]
    assert listeners == [spec.name for spec in graph.NODES if spec.better] == ['joy_node']


def test_the_policy_allows_what_the_nodes_do_and_nothing_else(bench: NodeBench, policy, tmp_path: Path) -> None:
    words = ['up', '--headless', '--record', '--run-folder', str(tmp_path / 'run')]
    with open(tmp_path / 'up.log', 'w') as log:
        bench.processes.append(subprocess.Popen([sys.executable, '-u', '-m', 'rlt_ros.cli', *words], stdout=log,
                                                stderr=subprocess.STDOUT, env=os.environ | {'TMPDIR': str(tmp_path)}))
    used: dict[str, Rules] = defaultdict(set)
    ask = {'publish': bench.node.get_publisher_names_and_types_by_node,
           'subscribe': bench.node.get_subscriber_names_and_types_by_node,
           'reply': bench.node.get_service_names_and_types_by_node,
           'request': bench.node.get_client_names_and_types_by_node}  # fmt: skip

    def differences() -> dict[str, Rules]:
        """What is used and not allowed, or allowed and was not used so far."""
        for name, namespace in bench.node.get_node_names_and_namespaces():
            if name in policy and namespace == '/rlt':
                for kind, names in ask.items():
                    try:
                        used[name] |= {(kind, found) for found, _ in names(name, namespace)}
                    except NodeNameNonExistentError:
                        pass  # it starts or ends this very moment
        return {name: (used[name] ^ rules) - optional(name, used[name])
                for name, rules in policy.items() if name != 'keyboard'}

    try:
        bench.until(lambda: not any(differences().values()), timeout=120)
    except AssertionError as error:
        raise AssertionError({name: rules for name, rules in differences().items() if rules}) from error
    bench.stop(bench.processes[0])


def optional(name: str, used: Rules) -> Rules:
    """What lifecycle nodes have, for one that is none; what every C++ node has, for the one that may be C++."""
    if ('reply', f'/rlt/{name}/get_state') in used:
        return set()
    rules = rules_of(ElementTree.parse(FOLDER / 'common' / 'lifecycle.xml').getroot(), '/rlt', name)
    return (rules | {('subscribe', '/parameter_events')} if name == 'joy_node' else rules) - used
