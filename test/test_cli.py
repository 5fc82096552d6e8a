"""The command line: refuses what cannot work, before anything starts, in one line, with exit code 2."""

import json
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
from types import ModuleType

import numpy as np
from pydantic import Field
import pytest
import tiny_weights
import yaml

from rlt_ros import cli, config, graph, run_folder, supervisor
from rlt_ros.config import Strict
from rlt_ros.data.dataset import read
from rlt_ros.errors import UserError
from rlt_ros.vla import timing

sys.path.insert(0, str(Path(__file__).parent / 'report'))
import made_up_run  # noqa: E402


class Parameters(Strict):
    """Stands in for every node's: the subject here is that they are checked, not what they are."""

    robot: str = ''
    task: str = ''
    method: str = ''
    device: str = ''
    run_folder: str = ''
    seed: int = Field(default=0, ge=0)
    minutes: float = Field(default=30.0, gt=0, le=600)
    record: bool = False
    autorepeat_rate: float = 50.0
    rate: float = Field(default=1.0, ge=0, le=10)


class Recorded:
    """In place of the supervisor: remembers what it was to start."""

    started: list = []
    code = 0

    def __init__(self, specs, namespace, folder, say):
        self.started.append((specs, namespace, folder))
        self.folder = folder

    async def run(self):
        made_up_run.write(self.folder / 'made')
        for file in (self.folder / 'made').glob('*.jsonl'):
            file.rename(self.folder / file.name)
        return self.code


@pytest.fixture
def rlt(monkeypatch, tmp_path, capsys):
    """rlt(*words) -> (exit code, stdout, stderr), in an empty folder, without real nodes."""
    monkeypatch.chdir(tmp_path)
    for spec in graph.NODES:
        module = ModuleType(spec.name)
        module.Parameters = Parameters
        monkeypatch.setitem(sys.modules, f'rlt_ros.nodes.{spec.name}', module)
    monkeypatch.setattr(supervisor, 'Supervisor', Recorded)
    monkeypatch.setattr(timing, 'measure', lambda specs: 0.01)
    monkeypatch.setattr(Recorded, 'started', [])

    def run(*words):
        code = cli.main(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_demo_starts_the_graph_and_reports(rlt, tmp_path):
    code, out, _ = rlt('demo', '--minutes', '5', '--seed', '3', '--headless')
    (specs, namespace, folder), = Recorded.started
    assert code == 0 and namespace == 'rlt' and folder == tmp_path / 'runs' / 'demo-3'
    nodes = {spec.name: spec.parameters for spec in specs}
    assert len(nodes) == 10 and nodes['episode_node']['minutes'] == 5.0 and nodes['sim_robot_node']['seed'] == 3
    assert nodes['learner_node']['run_folder'] == str(folder)
    for file in ('summary.json', 'plots/learning_curve.png', 'plots/steps.png'):
        assert (folder / file).is_file() and str(Path('runs/demo-3', file)) in out.replace(f'{tmp_path}/', '')
    assert 'frozen VLA' in out


def test_the_run_folder_tells_how_the_run_was_made(rlt, tmp_path):
    rlt('demo', '--name', 'first', '--headless')
    config = yaml.safe_load((tmp_path / 'runs/first/config.yaml').read_text())
    assert config['arguments']['minutes'] == 30.0 and config['task']['name'] == 'ethernet' and len(config['hash']) == 64
    method = str(tmp_path / 'runs/first/method.yaml')
    assert config['nodes']['executor_node'] == {'robot': 'bimanual', 'task': 'ethernet', 'method': method, 'seed': 0}
    versions = json.loads((tmp_path / 'runs/first/versions.json').read_text())
    assert versions['packages']['numpy'] and versions['python'] and versions['cores'] >= 1 and 'weights' in versions


def test_up_takes_every_argument_of_the_graph(rlt):
    code, _, _ = rlt('up', '--no-simulate', '--namespace', 'left', '--run-folder', 'here', '--record')
    (specs, namespace, folder), = Recorded.started
    assert code == 0 and namespace == 'left' and folder.name == 'here'
    assert 'sim_robot_node' not in {spec.name for spec in specs} and specs[-1].parameters['record'] is True


def test_up_without_a_folder_makes_one(rlt, tmp_path):
    assert rlt('up')[0] == 0
    assert [folder.parent for *_, folder in Recorded.started] == [tmp_path / 'runs']


@pytest.mark.parametrize('code', [1, 2])
def test_the_exit_code_of_the_graph_is_that_of_the_command(rlt, monkeypatch, code):
    monkeypatch.setattr(Recorded, 'code', code)
    assert rlt('demo', '--headless')[0] == code


@pytest.mark.parametrize(('words', 'said'), [
    (['--task', 'juggling'], 'task "juggling" does not exist; there are: charger, charger_full, ethernet'),
    (['--method', 'magic'], 'method "magic" does not exist'),
    (['--robot', '/no/robot.yaml'], 'robot "/no/robot.yaml" does not exist'),
    (['--device', 'tpu'], "device = 'tpu' is not allowed; allowed: cpu, cuda"),
    (['--minutes', '-1'], 'minutes = -1.0 is not allowed'),
    (['--minutes', 'nan'], 'minutes = nan is not allowed'),
    (['--seed', '-3'], 'seed = -3 is not allowed'),
    (['--config', 'gone.yaml'], 'config "gone.yaml" cannot be read'),
    (['--resume'], 'there is no run to resume'),
])
def test_what_cannot_work_is_refused_before_anything_starts(rlt, tmp_path, words, said):
    code, _, err = rlt('demo', '--headless', *words)
    assert code == 2 and said in err and 'Traceback' not in err
    assert not Recorded.started and not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(('content', 'said'), [
    ({'camera': {'ros__parameters': {'rate': 1.0}}}, 'section "camera" names no node'),
    ({'camera_node': {'ros__parameters': {'rat': 1.0}}}, 'camera_node: unknown key "rat"; allowed: robot'),
    ({'camera_node': {'ros__parameters': {'rate': 11.0}}}, 'camera_node: rate = 11.0 is not allowed'),
    ({'camera_node': {'ros__parameters': {'rate': 'fast'}}}, "camera_node: rate = 'fast' is not allowed"),
])
def test_a_config_file_is_checked_against_the_nodes(rlt, tmp_path, content, said):
    Path('own.yaml').write_text(yaml.safe_dump(content))
    code, _, err = rlt('demo', '--headless', '--config', 'own.yaml')
    assert code == 2 and said in err and 'own.yaml' in err and not Recorded.started


def test_a_good_config_file_reaches_its_node(rlt):
    Path('own.yaml').write_text(yaml.safe_dump({'camera_node': {'ros__parameters': {'rate': 2.0}}}))
    assert rlt('demo', '--headless', '--config', 'own.yaml')[0] == 0
    (specs, *_), = Recorded.started
    assert {spec.name: spec for spec in specs}['camera_node'].parameters['rate'] == 2.0


def test_two_runs_do_not_share_a_folder(rlt):
    rlt('demo', '--headless')
    code, _, err = rlt('demo', '--headless')
    assert code == 2 and '--resume' in err and '--name' in err
    assert rlt('demo', '--headless', '--resume', '--minutes', '40')[0] == 0
    assert rlt('demo', '--headless', '--name', 'other')[0] == 0
    assert len(Recorded.started) == 3


def test_a_run_is_resumed_as_what_it_was(rlt):
    Path('own.yaml').write_text('name: own\nchunk: 8\n')
    assert rlt('demo', '--headless', '--name', 'a', '--method', './own.yaml')[0] == 0
    assert rlt('demo', '--headless', '--name', 'a', '--method', './own.yaml', '--resume')[0] == 0
    code, _, err = rlt('demo', '--headless', '--name', 'a', '--method', './own.yaml', '--resume', '--seed', '1')
    assert code == 2 and 'its seed is 0, not 1' in err
    Path('own.yaml').write_text('name: own\nchunk: 6\n')
    code, _, err = rlt('demo', '--headless', '--name', 'a', '--method', './own.yaml', '--resume')
    assert code == 2 and 'the method file changed' in err


def test_a_file_in_the_way_of_the_run_folder_is_refused(rlt):
    Path('runs').write_text('')
    code, _, err = rlt('demo', '--headless')
    assert code == 2 and 'run folder' in err and not Recorded.started


def test_an_unwritable_run_folder_is_refused(rlt):
    code, _, err = rlt('up', '--run-folder', '/proc/run')
    assert code == 2 and 'run folder /proc/run cannot be written' in err and not Recorded.started


def test_two_graphs_do_not_command_one_robot(rlt):
    with run_folder.check_network('rlt'):
        code, _, err = rlt('demo', '--headless')
        assert code == 2 and 'runs already' in err and not Recorded.started
        assert rlt('up', '--namespace', 'second')[0] == 0
    assert rlt('demo', '--headless')[0] == 0


@pytest.mark.parametrize('domain', ['-1', '233', 'x'])
def test_a_ros_domain_that_cannot_be_is_refused(rlt, monkeypatch, domain):
    monkeypatch.setenv('ROS_DOMAIN_ID', domain)
    code, _, err = rlt('demo', '--headless')
    assert code == 2 and f"ROS_DOMAIN_ID = '{domain}'" in err


def test_report_and_watch_of_a_run(rlt, tmp_path):
    folder = made_up_run.write(tmp_path / 'runs' / 'a')
    status = json.loads((folder / 'status.json').read_text())
    (folder / 'status.json').write_text(json.dumps({**status, 'finished': True}))
    code, out, _ = rlt('report', 'a')
    assert code == 0 and 'frozen VLA' in out and (folder / 'summary.json').is_file()
    code, out, _ = rlt('report', 'a', '--json')
    assert code == 0 and json.loads(out)['vla']['episodes'] == 50
    code, out, _ = rlt('watch', 'a')
    assert code == 0 and 'success of last 20' in out
    code, _, err = rlt('report', 'b')
    assert code == 2 and '"b" is no run folder' in err and 'runs: a' in err


def test_an_unexpected_error_is_one_line_and_debug_shows_all(rlt, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError('by nothing')

    monkeypatch.setattr(run_folder, 'prepare', broken)
    code, _, err = rlt('demo', '--headless')
    assert code == 1 and err == 'rlt: ZeroDivisionError: by nothing; run again with --debug for the traceback\n'
    for words in (('demo', '--headless', '--debug'), ('--debug', 'demo', '--headless')):
        with pytest.raises(ZeroDivisionError):
            rlt(*words)


def test_a_user_error_is_one_line_and_exit_code_2(rlt, monkeypatch):
    def broken(*_, **__):
        raise UserError('no such thing')

    monkeypatch.setattr(run_folder, 'prepare', broken)
    assert rlt('demo') == (2, '', 'rlt: no such thing\n')


@pytest.mark.parametrize('words', [['fly'], ['demo', '--minuts', '3'], ['demo', '--minutes', 'x'], ['report']])
def test_wrong_words_have_exit_code_2(rlt, words):
    assert rlt(*words)[0] == 2 and not Recorded.started


def test_test_checks_style_then_runs_pytest(rlt, monkeypatch):
    calls = []

    def record(words, **_):
        calls.append(words[2:])
        return subprocess.CompletedProcess(words, 5 if words[2] == 'pytest' else 0)

    monkeypatch.setattr(subprocess, 'run', record)
    assert rlt('test', '-k', 'summary', '-x')[0] == 5
    assert calls[0][:3] == ['ruff', 'check', 'rlt_ros'] and calls[1] == ['pytest', '-k', 'summary', '-x']
    assert rlt('test', '--faults-page', '/tmp/page.md')[0] == 5
    assert calls[3] == ['pytest', '--faults-page=/tmp/page.md', '-q', 'test']


def test_collect_records_each_task_once(rlt, tmp_path):
    words = ('collect', '--robot', 'single_arm', '--episodes', '1', '--task', 'ethernet', '--task', 'charger')
    code, out, _ = rlt(*words)
    assert code == 0 and re.findall(r'(\S+): 1 demonstrations', out) == ['datasets/ethernet', 'datasets/charger']
    assert len(list(read(tmp_path / 'datasets' / 'charger'))) == 1
    code, out, _ = rlt(*words)
    assert code == 0 and out.count('is there already') == 2 and 'demonstrations' not in out
    code, _, err = rlt(*words, '--seed', '3')
    assert code == 2 and 'recorded with seed 0 in place of 3' in ' '.join(err.split())
    assert rlt(*words, '--out', 'here')[0] == 2 and not Path('here').exists()
    assert 'already holds a data set' in rlt(*words[:-2], '--out', 'datasets/ethernet')[2]


def test_collect_corrects_a_vla_where_a_part_is_fetched(rlt, tmp_path):
    tiny_weights.save_vla(tmp_path / 'vla', config.load(config.RobotProfile, 'single_arm'))
    words = ('collect', '--robot', 'single_arm', '--episodes', '1', '--vla', 'vla', '--task')
    code, out, err = rlt(*words, 'ethernet_full')
    assert code == 0, err
    (corrected,) = read(tmp_path / 'datasets' / 'ethernet_full_corrected')
    rlt(*words[:5], '--task', 'ethernet_full')
    (whole,) = read(tmp_path / 'datasets' / 'ethernet_full')
    assert corrected.success and whole.success
    assert np.abs(corrected.velocity[0]).max() > np.abs(whole.velocity[0]).max() == 0, 'it begins in mid-motion'
    assert 'not in: ethernet' in rlt(*words, 'ethernet')[2]


def test_help_is_quick_because_it_imports_nothing_heavy():
    code = ('import sys; from rlt_ros import cli; cli.main(["--help"]); '
            'sys.exit(str([m for m in ("torch", "mujoco", "rclpy", "matplotlib") if m in sys.modules]))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stderr.strip() == '[]' and all(command in done.stdout for command in ('up', 'demo', 'watch', 'report'))


def test_a_command_stands_in_one_place():
    groups = cli.build().registered_groups
    (bench,) = (group for group in groups if group.name == 'bench')
    top = [command.name or command.callback.__name__ for command in cli.build().registered_commands]
    inside = [command.name or command.callback.__name__ for command in bench.typer_instance.registered_commands]
    assert {'demo', 'up', 'view'} <= set(top) and {'tasks', 'ablations', 'soak'} <= set(inside)
    assert not set(top) & set(inside)


NODE = """
import signal, time
from rlt_ros.config import Strict
from rlt_ros.data.dataset import read
class Parameters(Strict):
    model_config = {'extra': 'allow'}
if __name__ == '__main__':
    signal.signal(signal.SIGINT, lambda *_: exit(0))
    print('[WARN] here', flush=True)
    while True: time.sleep(0.05)
"""


def test_ctrl_c_of_a_real_demo_ends_with_the_report(tmp_path):
    """The whole command as a process, over scripted nodes that shadow the real ones."""
    for spec in graph.NODES:
        (tmp_path / f'{spec.name}.py').write_text(NODE)
    (tmp_path / 'sitecustomize.py').write_text(
        f'import rlt_ros.nodes\nrlt_ros.nodes.__path__.insert(0, {str(tmp_path)!r})\n')
    checkout = Path(cli.__file__).parents[1]
    process = subprocess.Popen([sys.executable, '-m', 'rlt_ros.cli', 'demo', '--headless'], cwd=tmp_path,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{checkout}'})
    lines, here = [], 0
    while here < len(graph.NODES):
        lines.append(process.stdout.readline())
        assert lines[-1], ''.join(lines)
        here += '[WARN] here' in lines[-1]
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert 'stopping (SIGINT)' in output and 'no episode has ended yet' in output and 'summary.json' in output
