"""ros2 launch rlt_ros online_rl.launch.py: the graph of rlt_ros/graph.py as launch actions.

`ros2 launch rlt_ros online_rl.launch.py --show-args` lists the arguments.
"""

import os

from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from rlt_ros import graph, run_folder, security
from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.vla import timing


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*(declare(argument) for argument in graph.ARGUMENTS), OpaqueFunction(function=start)])


def declare(argument: graph.Argument) -> DeclareLaunchArgument:
    boolean = isinstance(argument.default, bool)
    choices = ('true', 'false') if boolean else argument.allowed
    default = str(argument.default).lower() if boolean else str(argument.default)
    return DeclareLaunchArgument(argument.name, default_value=default, description=argument.description,
                                 choices=list(choices) or None)


def start(context) -> list:
    """The actions for the arguments given."""
    values = {a.name: a.parse(LaunchConfiguration(a.name).perform(context)) for a in graph.ARGUMENTS}
    namespace = str(values['namespace'])
    line = security.check(namespace, [spec.name for spec in graph.nodes(values)], {**graph.ENVIRONMENT, **os.environ})
    if values['run_folder']:
        values = run_folder.as_run(values, run_folder.prepare(values, measure=timing.measure))
    else:
        models = load(RobotProfile, str(values['robot'])), load(Method, str(values['method']))
        run_folder.check(values, graph.nodes(values), *models)
    environment = [SetEnvironmentVariable(name, value)
                   for name, value in graph.ENVIRONMENT.items() if name not in os.environ]
    said = [LogInfo(msg=line)] if line else []
    return [*environment, *said, *(action(spec, namespace) for spec in graph.nodes(values))]


def action(spec: graph.NodeSpec, namespace: str) -> Node:
    # A text stays a text, also when it reads like a number.
    parameters = {name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
                  for name, value in spec.parameters.items()}
    package, executable = spec.better.split('/') if spec.better else ('rlt_ros', spec.executable)
    return Node(
        package=package, executable=executable, name=spec.name, namespace=namespace, output='both',
        parameters=[parameters],
        ros_arguments=security.arguments(namespace, spec.name),
        respawn=spec.respawn_delay is not None, respawn_delay=spec.respawn_delay,
        prefix=f'nice -n {spec.nice}' if spec.nice else None,
        on_exit=Shutdown(reason=f'{spec.name} ended') if spec.required else None,
    )
