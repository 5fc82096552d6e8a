"""The delay of a run: measured at its start, the same for every node, and kept."""

from dataclasses import replace
import itertools

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
import yaml

from rlt_ros import graph
from rlt_ros.config import Method, load
from rlt_ros.errors import UserError
from rlt_ros.run_folder import as_run, prepare
from rlt_ros.vla import timing
from rlt_ros.weights_files import path_of


def answers_in(seconds):
    return lambda specs: seconds


def unasked(specs):
    raise AssertionError('measured again')


@pytest.fixture
def arguments(tmp_path):
    return {'run_folder': str(tmp_path / 'run'), 'method': str(tmp_path / 'mine.yaml')}


@pytest.fixture(autouse=True)
def method(tmp_path):
    """Writes the method that the arguments name."""
    def write(**values):
        (tmp_path / 'mine.yaml').write_text(yaml.safe_dump({'name': 'mine', **values}))

    write()
    return write


def delays(arguments, folder):
    """What every node with a method reads."""
    specs = graph.nodes(as_run(arguments, folder))
    return {spec.name: load(Method, spec.parameters['method']).delay for spec in specs if 'method' in spec.parameters}


@pytest.mark.parametrize(('seconds', 'ticks'), [(0.001, 3), (0.04, 3), (0.041, 4), (0.1, 6), (0.18, 10)])
def test_a_slow_vla_gets_a_longer_delay_in_every_node(arguments, seconds, ticks):
    said = []
    folder = prepare(arguments, measure=answers_in(seconds), say=said.append)
    found = delays(arguments, folder)
    assert {'vla_node', 'executor_node', 'learner_node', 'episode_node'} == set(found)
    assert set(found.values()) == {ticks}
    line, = said
    assert f'{seconds * 1e3:.0f} ms' in line and f'{ticks} ticks' in line
    assert ('chunk >= ' in line) == (2 * ticks > 10)
    config = yaml.safe_load((folder / 'config.yaml').read_text())
    assert config['method']['delay'] == ticks and config['answer']['computing'] == seconds


def test_a_resumed_run_keeps_its_delay_without_measuring(arguments):
    folder = prepare(arguments, measure=answers_in(0.1), say=lambda line: None)
    for _ in range(2):
        prepare({**arguments, 'resume': True}, measure=unasked)
        assert set(delays(arguments, folder).values()) == {6}


def test_a_used_folder_is_refused_with_what_to_say_to_rlt_and_to_ros2_launch(arguments):
    prepare(arguments)
    with pytest.raises(UserError, match='exists already') as error:
        prepare(arguments)
    assert all(way in str(error.value) for way in ('--resume', 'resume:=true', '--run-folder', 'run_folder:='))


def test_a_method_whose_own_delay_was_changed_since_is_refused(arguments, method):
    prepare(arguments, measure=answers_in(0.1), say=lambda line: None)
    method(delay=4)
    with pytest.raises(UserError, match='the method file changed since'):
        prepare({**arguments, 'resume': True}, measure=unasked)


def test_a_run_goes_on_with_the_weights_it_has_learned_with(arguments, tmp_path):
    prepare(arguments)
    other = tmp_path / 'other.safetensors'
    with safe_open(path_of('rl_token', 'bimanual'), 'np') as file:
        content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(content, other, file.metadata() | {'note': 'another'})
    config = tmp_path / 'config.yaml'
    config.write_text(yaml.safe_dump({'rl_token_node': {'ros__parameters': {'weights': str(other)}}}))
    with pytest.raises(UserError, match='cannot resume .*: it has learned with the RL token of hash'):
        prepare({**arguments, 'resume': True, 'config': str(config)})
    prepare({**arguments, 'resume': True})


@pytest.mark.parametrize('seconds', [0.19, 0.3, 2.0])
def test_a_vla_too_slow_for_the_chunk_is_refused_before_anything_is_written(arguments, tmp_path, seconds):
    with pytest.raises(UserError) as error:
        prepare(arguments, measure=answers_in(seconds))
    text, = str(error.value).splitlines()
    assert f'{seconds * 1e3:.0f} ms' in text and f'delay = {timing.ticks(seconds, 50.0)}' in text and 'mine' in text
    assert 'chunk' in text
    assert not (tmp_path / 'run').exists()


def test_lock_step_keeps_the_delay_of_the_method(arguments):
    assert set(delays(arguments, prepare(arguments)).values()) == {3}


def test_the_first_calls_and_a_few_slow_ones_do_not_decide():
    durations = itertools.chain([5.0] * timing.WARM_UP, [0.03] * 20, [9.0] * 10)
    now, pending = 0.0, 0.0

    def answer():
        nonlocal pending
        pending = next(durations)

    def clock():
        nonlocal now, pending
        now, pending = now + pending, 0.0
        return now

    assert timing.answer_time(answer, clock) == pytest.approx(0.03)


def test_the_built_in_vla_can_be_measured_and_a_missing_device_is_named():
    assert 0 < timing.measure(graph.nodes({})) < 60
    specs = [replace(spec, parameters={**spec.parameters, 'device': 'abacus'}) for spec in graph.nodes({})]
    with pytest.raises(UserError, match='device "abacus" is not available') as error:
        timing.measure(specs)
    assert '\n' not in str(error.value)
