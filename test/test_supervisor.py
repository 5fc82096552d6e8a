"""What the supervisor gives a node to start with."""

import yaml

from rlt_ros.graph import NodeSpec
from rlt_ros.supervisor import NOTEWORTHY, command, environment


def test_parameters_are_written_under_the_full_name_of_the_node(tmp_path):
    spec = NodeSpec('camera_node', parameters={'robot': '7', 'minutes': 30.0, 'record': False})
    words = command(spec, '/rlt/', tmp_path)
    file = words[words.index('--params-file') + 1]
    assert yaml.safe_load(open(file).read()) == {
        '/rlt/camera_node': {'ros__parameters': {'robot': '7', 'minutes': 30.0, 'record': False}}}
    assert words[2:4] == ['-m', 'rlt_ros.nodes.camera_node']
    assert '__ns:=/rlt' in words


def test_without_a_namespace_the_node_is_at_the_root(tmp_path):
    words = command(NodeSpec('camera_node', parameters={'robot': 'x'}), '', tmp_path)
    assert '__ns:=/' in words
    assert '/camera_node' in yaml.safe_load((tmp_path / 'camera_node.yaml').read_text())


def test_the_graph_stays_on_this_machine_unless_the_user_opens_it():
    assert environment({})['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST'
    assert environment({})['OMP_NUM_THREADS'] == '1'
    assert environment({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET'})['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'SUBNET'


def test_warnings_and_errors_reach_the_terminal_and_chatter_does_not():
    for line in (b'[WARN] [1.5] [rlt.camera_node]: slow', b'[ERROR] [1.5] [x]: y', b'[FATAL] [1] [x]: y',
                 b'Traceback (most recent call last):', b'ValueError: no', b'UserError'):
        assert NOTEWORTHY.search(line), line
    for line in (b'[INFO] [1.5] [rlt.camera_node]: Error rate 0', b'critic error 0.3'):
        assert not NOTEWORTHY.search(line), line
