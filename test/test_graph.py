"""The list of nodes, and the launch file held against it."""

from dataclasses import dataclass, field
import importlib
import importlib.util
import os
import sys
from types import ModuleType

import pytest
import yaml

from rlt_ros import graph, security
from rlt_ros.config import Method, load
from rlt_ros.errors import UserError
from rlt_ros.paths import share
from rlt_ros.supervisor import command
from rlt_ros.vla import timing


def test_every_parameter_given_exists_in_the_node():
    for spec in graph.nodes({}):
        module = importlib.import_module(f'rlt_ros.nodes.{spec.name}')
        assert set(spec.parameters) <= set(module.Parameters.model_fields), spec.name
        module.Parameters.model_validate(spec.parameters)


def test_arguments_reach_the_nodes_that_take_them():
    specs = {spec.name: spec for spec in graph.nodes({'task': 'other', 'seed': 7, 'device': 'cuda'})}
    assert specs['sim_robot_node'].parameters == {'robot': 'bimanual', 'task': 'other', 'seed': 7}
    assert specs['vla_node'].parameters['device'] == 'cuda'
    assert specs['teleop_node'].parameters == {'robot': 'bimanual'}


def test_a_real_robot_has_no_simulator():
    assert 'sim_robot_node' not in {spec.name for spec in graph.nodes({'simulate': False})}
    assert len(graph.nodes({})) == len(graph.NODES) == 10


def test_the_joystick_driver_of_ros_is_preferred_and_either_can_be_left_out(monkeypatch, tmp_path, launch_file):
    assert 'joy_node' not in {spec.name for spec in graph.nodes({'joystick': False})}
    program = tmp_path / 'lib' / 'joy' / 'game_controller_node'
    program.parent.mkdir(parents=True)
    program.write_text('')
    for prefixes, first in ((f'/nowhere{os.pathsep}{tmp_path}', str(program)), ('/nowhere', sys.executable)):
        monkeypatch.setenv('AMENT_PREFIX_PATH', prefixes)
        spec, = (spec for spec in graph.nodes({}) if spec.name == 'joy_node')
        words = command(spec, 'rlt', tmp_path)
        assert words[0] == first and '__node:=joy_node' in words and '__ns:=/rlt' in words
        parameters, = yaml.safe_load((tmp_path / 'joy_node.yaml').read_text()).values()
        assert parameters == {'ros__parameters': {'autorepeat_rate': 50.0}}
        node, = (node for node in nodes_of(launched(launch_file)[1]) if node['name'] == 'joy_node')
        ours = first == sys.executable
        assert (node['package'], node['executable']) == (
            ('rlt_ros', 'joy_node') if ours else ('joy', 'game_controller_node'))


def test_what_commands_stops_before_what_moves_and_records():
    order = [spec.name for spec in sorted(graph.NODES, key=lambda spec: spec.stop_order)]
    assert order[:2] == ['episode_node', 'executor_node']
    assert order.index('executor_node') < order.index('learner_node') < order.index('sim_robot_node')
    assert order[-1] == 'monitor_node'


def test_the_executor_is_never_started_again_and_the_learner_is():
    specs = {spec.name: spec for spec in graph.NODES}
    assert specs['executor_node'].required and specs['executor_node'].respawn_delay is None
    assert not specs['learner_node'].required and specs['learner_node'].respawn_delay == 2.0


@pytest.mark.parametrize('section', [
    {'vla_node': {'ros__parameters': {'device': 'cuda', 'extra': 1}}},
    {'/rlt/vla_node': {'ros__parameters': {'device': 'cuda', 'extra': 1}}},
    {'/**/vla_node': {'ros__parameters': {'device': 'cuda', 'extra': 1}}},
    {'rlt': {'vla_node': {'ros__parameters': {'device': 'cuda', 'extra': 1}}}},
    {'/**': {'vla_node': {'ros__parameters': {'device': 'cuda', 'extra': 1}}}},
])
def test_a_config_file_overrides_one_node(tmp_path, section):
    file = tmp_path / 'own.yaml'
    file.write_text(yaml.safe_dump(section))
    specs = {spec.name: spec.parameters for spec in graph.nodes({'config': str(file)})}
    assert specs['vla_node'] == {'robot': 'bimanual', 'task': 'ethernet', 'method': 'rlt', 'device': 'cuda', 'extra': 1}
    assert specs['rl_token_node']['device'] == 'cpu'


@pytest.mark.parametrize(('text', 'said'), [
    ('vla_nod: {ros__parameters: {device: cuda}}', 'vla_nod'),
    ('/other/vla_node: {ros__parameters: {device: cuda}}', '/other/vla_node'),
    ('vla_node: {ros__parameters: {task: other}}', 'may not set "task"'),
    ('vla_node: {device: cuda}', '"vla_node/device" must hold'),
    ('vla_node: {ros__parameters: 3}', 'keys and values'),
    ('ros__parameters: {device: cuda}', 'under a node name'),
    ('[1, 2]', 'must hold'),
    ('a: [', 'no readable YAML'),
])
def test_a_wrong_config_file_is_refused_by_name(tmp_path, text, said):
    file = tmp_path / 'own.yaml'
    file.write_text(text)
    with pytest.raises(UserError) as error:
        graph.nodes({'config': str(file)})
    assert said in str(error.value) and 'own.yaml' in str(error.value)


@pytest.mark.parametrize('arguments', [{'device': 'tpu'}, {'colour': 'red'}, {'config': '/nowhere.yaml'}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(UserError, match='device|colour|nowhere'):
        graph.nodes(arguments)


# Stand-ins for the few names of `launch` and `launch_ros` that the launch file uses; they keep what they are given.

class Given:
    def __init__(self, *words, **options):
        self.words, self.options = words, options


@dataclass
class Context:
    arguments: dict[str, str]
    taken: list[str] = field(default_factory=list)


class LaunchConfiguration:
    def __init__(self, name):
        self.name = name

    def perform(self, context):
        context.taken.append(self.name)
        return context.arguments[self.name]


KINDS = {name: type(name, (Given,), {}) for name in (
    'LaunchDescription', 'DeclareLaunchArgument', 'LogInfo', 'OpaqueFunction', 'SetEnvironmentVariable', 'Shutdown',
    'Node', 'ParameterValue')}


@pytest.fixture
def launch_file(monkeypatch):
    modules = {
        'launch': ('LaunchDescription',),
        'launch.actions': ('DeclareLaunchArgument', 'LogInfo', 'OpaqueFunction', 'SetEnvironmentVariable', 'Shutdown'),
        'launch.substitutions': (),
        'launch_ros': (),
        'launch_ros.actions': ('Node',),
        'launch_ros.parameter_descriptions': ('ParameterValue',),
    }
    for name, kinds in modules.items():
        module = ModuleType(name)
        for kind in kinds:
            setattr(module, kind, KINDS[kind])
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules['launch.substitutions'].LaunchConfiguration = LaunchConfiguration
    path = share() / 'launch' / 'online_rl.launch.py'
    spec = importlib.util.spec_from_file_location('online_rl_launch', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launched(launch_file, **arguments):
    """The actions that launch would execute: (declared arguments, actions for `arguments`)."""
    *declared, start = launch_file.generate_launch_description().words[0]
    assert all(isinstance(action, KINDS['DeclareLaunchArgument']) for action in declared)
    assert isinstance(start, KINDS['OpaqueFunction'])
    context = Context({a.words[0]: a.options['default_value'] for a in declared} | arguments)
    actions = start.options['function'](context)
    assert sorted(context.taken) == sorted(a.words[0] for a in declared)
    return declared, actions


def nodes_of(actions):
    return [action.options for action in actions if isinstance(action, KINDS['Node'])]


def test_launch_refuses_without_a_run_folder_what_it_refuses_with_one(launch_file, tmp_path):
    method = tmp_path / 'odd.yaml'
    method.write_text('name: odd\nchunk: 9\n')
    for folder in ('', str(tmp_path / 'run')):
        with pytest.raises(UserError, match='chunk'):
            launched(launch_file, method=str(method), run_folder=folder)


def test_launch_declares_the_arguments_of_the_graph(launch_file):
    declared, _ = launched(launch_file)
    assert [a.words[0] for a in declared] == [a.name for a in graph.ARGUMENTS]
    for argument, action in zip(graph.ARGUMENTS, declared, strict=True):
        assert argument.parse(action.options['default_value']) == argument.default
        assert action.options['description'] == argument.description


@pytest.mark.parametrize('given', [
    {}, {'simulate': 'false', 'namespace': 'left_robot', 'seed': '3', 'minutes': '5', 'record': 'true', 'task': '7'}])
def test_launch_starts_what_the_supervisor_starts(launch_file, given, tmp_path):
    arguments = {a.name: a.parse(given[a.name]) for a in graph.ARGUMENTS if a.name in given}
    specs = graph.nodes(arguments)
    _, actions = launched(launch_file, **given)
    nodes = nodes_of(actions)
    assert [node['name'] for node in nodes] == [spec.name for spec in specs]
    for node, spec in zip(nodes, specs, strict=True):
        words = command(spec, str(arguments.get('namespace', 'rlt')), tmp_path)
        (full_name, content), = yaml.safe_load((tmp_path / f'{spec.name}.yaml').read_text()).items()
        parameters = {}
        for name, value in node['parameters'][0].items():
            text = isinstance(value, KINDS['ParameterValue'])
            assert not text or value.options == {'value_type': str}
            parameters[name] = value.words[0] if text else value
        assert parameters == content['ros__parameters']
        assert [type(value) for value in parameters.values()] == [type(v) for v in content['ros__parameters'].values()]
        assert f'/{node["namespace"]}/{node["name"]}' == full_name
        assert f'__ns:=/{node["namespace"]}' in words and f'__node:={node["name"]}' in words
        assert f'rlt_ros.nodes.{node["executable"]}' in words and node['package'] == 'rlt_ros'
        assert node['respawn'] == (spec.respawn_delay is not None) and node['respawn_delay'] == spec.respawn_delay
        assert isinstance(node['on_exit'], KINDS['Shutdown']) == spec.required
        assert node['prefix'] == (f'nice -n {spec.nice}' if spec.nice else None)


def test_launch_keeps_the_environment_the_user_set(launch_file, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    _, actions = launched(launch_file)
    variables = [a.words for a in actions if isinstance(a, KINDS['SetEnvironmentVariable'])]
    assert ('OMP_NUM_THREADS', '1') in variables
    assert 'ROS_AUTOMATIC_DISCOVERY_RANGE' not in dict(variables)


def test_launch_gives_every_node_its_enclave_where_security_is_on_and_says_where_it_cannot_be(launch_file, monkeypatch):
    monkeypatch.delenv('ROS_SECURITY_ENABLE', raising=False)
    monkeypatch.setattr(security, 'check', lambda *_: 'open to all')
    _, actions = launched(launch_file)
    assert [a.options for a in actions if isinstance(a, KINDS['LogInfo'])] == [{'msg': 'open to all'}]
    assert not any(node['ros_arguments'] for node in nodes_of(actions))
    monkeypatch.setenv('ROS_SECURITY_ENABLE', 'true')
    for node in nodes_of(launched(launch_file, namespace='left')[1]):
        assert node['ros_arguments'] == ['--enclave', f'/left/{node["name"]}']


def test_launch_starts_a_prepared_run_with_the_delay_that_was_measured(launch_file, monkeypatch, tmp_path):
    monkeypatch.setattr(timing, 'measure', lambda specs: 0.1)
    _, actions = launched(launch_file, run_folder=str(tmp_path / 'run'))
    given = [node['parameters'][0] for node in nodes_of(actions)]
    path, = {parameters['method'].words[0] for parameters in given if 'method' in parameters}
    assert load(Method, path).delay == 6


def test_launch_refuses_a_value_of_the_wrong_kind(launch_file):
    with pytest.raises(UserError, match='seed'):
        launched(launch_file, seed='many')
