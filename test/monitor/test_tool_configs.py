"""The files for rviz and rqt can be read and name topics of the default robot."""

import ast
import json

import yaml

from rlt_ros.config import RobotProfile, load
from rlt_ros.paths import share


def test_rviz_shows_markers_and_every_camera_of_the_default_robot():
    content = yaml.safe_load((share() / 'config' / 'rviz' / 'rlt.rviz').read_text())
    displays = content['Visualization Manager']['Displays']
    topics = {display['Topic']['Value'] for display in displays if 'Topic' in display}
    cameras = load(RobotProfile, 'bimanual').cameras
    assert topics == {'/rlt/markers', *(f'/rlt/{camera.topic}' for camera in cameras)}


def test_rqt_shows_diagnostics_themselves_and_not_what_an_aggregator_makes_of_them():
    content = json.loads((share() / 'config' / 'rqt' / 'rlt.perspective').read_text())
    plugins = ast.literal_eval(content['groups']['pluginmanager']['keys']['running-plugins']['repr'])
    assert 'rqt_runtime_monitor/RuntimeMonitor' in plugins and 'rqt_robot_monitor/RobotMonitor' not in plugins
