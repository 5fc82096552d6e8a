"""`rlt token report` and the options of `rlt train token`, from the command line to files and exit codes."""

from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path

import pytest
import tiny_weights
import torch
import yaml

from rlt_ros import cli, weights_files
from rlt_ros.config import RobotProfile, load
from rlt_ros.data.dataset import Writer, read
from rlt_ros.token import report_run
from rlt_ros.weights_files import file_hash, metadata, vla_hash

torch.set_num_threads(1)
ROBOT = load(RobotProfile, 'single_arm')
Rlt = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny weights, a task that ends soon, and room for what is recorded; the demonstrations are made once."""
    made = tmp_path_factory.mktemp('token')
    tiny_weights.save_token(made / 'token', ROBOT, tiny_weights.save_vla(made / 'vla', ROBOT))
    task = {'name': 'short', 'instruction': 'plug it in', 'scene': 'ethernet', 'time_limit': 0.4}
    (made / 'short.yaml').write_text(yaml.safe_dump(task))
    return made


@pytest.fixture
def rlt(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Rlt:
    """rlt(*words) -> (exit code, stdout, stderr), in the folder."""
    monkeypatch.chdir(folder)

    def run(*words: object) -> tuple[int, str, str]:
        code = cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


REPORT = (
    'token', 'report', '--robot', 'single_arm', '--task', './short.yaml', '--vla', 'vla', '--token', 'token',
    '--episodes', 10,
)  # fmt: skip
TRAIN = ('train', 'token', '--robot', 'single_arm', '--dataset', 'demonstrated', '--vla', 'vla',
        '--steps', 50, '--batch', 4, '--threads', 1)  # fmt: skip


def test_a_report_from_nothing_and_again_from_what_it_recorded(
    rlt: Rlt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = rlt(*REPORT, '--json', '--out', 'report')
    report = json.loads(out)
    assert code == 1 and out.count('\n') == 1 and 'demonstrations' in err
    assert report['failures'] and report['failures'][0].startswith('zero_gap = '), 'random weights carry nothing'
    for name in ('relative_error', 'zero_gap', 'shuffle_gap'):
        low, high = report[f'{name}_ci']
        assert low <= report[name] <= high
    assert len(report['offset_rmse_mm']) == 2 and report['data']['demonstrations']['scored_episodes'] == 3
    assert report['vla_hash'] == vla_hash(folder / 'vla') and report['token_sha256'] == file_hash(folder / 'token')
    assert json.loads((folder / 'report/report.json').read_text()) == report
    for name in ('gaps', 'probes', 'spectrum'):
        assert (folder / 'report' / f'{name}.png').stat().st_size > 10_000
    (kept,) = (folder / 'datasets').glob('report-single_arm-short-0-*')
    rolled = f'rollouts-10-{report["vla_hash"][:12]}'
    assert sorted(path.name for path in kept.iterdir()) == ['demonstrations-10', rolled]
    (folder / 'demonstrated').symlink_to(kept / 'demonstrations-10')
    monkeypatch.setattr(report_run.fresh, 'record', None)
    code, out, _ = rlt(*REPORT)
    assert code == 1 and 'fails: zero_gap' in out and 'without looking' in out
    for name in ('report.json', 'gaps.png', 'probes.png', 'spectrum.png'):
        assert f'runs/token-report/{name}' in out and (folder / 'runs/token-report' / name).is_file()
    again = json.loads((folder / 'runs/token-report/report.json').read_text())
    assert again['zero_gap_ci'] == report['zero_gap_ci'] and again['probes'] == report['probes'], 'it repeats'
    code, out, _ = rlt(*REPORT, '--json', '--dataset', kept / 'demonstrations-10')
    given = json.loads(out)
    assert given['zero_gap'] == report['zero_gap'] and given['data']['attempts'] == given['data']['demonstrations']


def test_the_exit_code_is_0_for_a_token_that_passes(rlt: Rlt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('rlt_ros.token.report.verdict', lambda _: [])
    code, out, _ = rlt(*REPORT)
    assert code == 0 and 'passes' in out


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--dataset', 'nowhere'], 'nowhere holds no data set'),
        (['--token', 'none'], 'none does not exist'),
        (['--robot', 'bimanual'], 'robot bimanual has'),
        (['--out', 'vla/report'], 'vla/report/report.json cannot be written'),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(rlt: Rlt, words: list[str], said: str) -> None:
    code, _, err = rlt(*REPORT, *words)
    (line,) = (line for line in err.splitlines() if line.startswith('rlt: '))
    assert code == 2 and said in line


def test_train_token_takes_its_options_and_tells_of_them(rlt: Rlt, folder: Path) -> None:
    before = file_hash(folder / 'vla')
    code, _, err = rlt(*TRAIN, '--out', 'own.safetensors', '--context-dropout', 0.5, '--goal-weight', 0)
    assert code == 0, err
    card = json.loads((folder / 'own.json').read_text())
    assert (card['plan']['context_dropout'], card['plan']['goal_weight'], card['plan']['alpha']) == (0.5, 0.0, 0.0)
    assert '--context-dropout 0.5 --goal-weight 0' in card['command'] and '--alpha' not in card['command']
    assert '--vla vla --steps' in card['command'], "it is not the robot's own"
    assert file_hash(folder / 'vla') == before
    weights_files.check(folder / 'vla', folder / 'own.safetensors')


def test_a_data_set_without_offsets_leaves_their_probe_out_of_card_and_verdict(
    rlt: Rlt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(folder / 'real', ROBOT)
    for episode in read(folder / TRAIN[5]):
        writer.add(replace(episode, tip_in_socket=0 * episode.tip_in_socket))
    writer.close()
    words = [word if word != TRAIN[5] else 'real' for word in TRAIN]
    assert rlt(*words, '--out', 'real.safetensors')[0] == 0
    assert not any('offset probe' in name for name in json.loads((folder / 'real.json').read_text()))
    code, out, _ = rlt(*REPORT, '--dataset', 'real')
    assert code == 1 and 'unknown: whether the token sees the offset' in out and 'blind' not in out
    monkeypatch.setattr('rlt_ros.token.report.verdict', lambda _: [])
    code, out, _ = rlt(*REPORT, '--dataset', 'real')
    assert code == 0 and 'passes: the decoder needs the token\n' in out


def test_train_token_with_alpha_writes_a_pair_of_a_new_vla_and_its_token(rlt: Rlt, folder: Path) -> None:
    code, _, err = rlt(*TRAIN, '--out', 'new.safetensors', '--alpha', 0.5, '--out-vla', 'new_vla.safetensors')
    assert code == 0, err
    vla, token = folder / 'new_vla.safetensors', folder / 'new.safetensors'
    assert file_hash(vla) != file_hash(folder / 'vla')
    weights_files.check(vla, token)
    about = metadata(token, 'rl_token')
    old = metadata(folder / 'token', 'rl_token')
    assert about['vla_hash'] == vla_hash(vla) and about['normalisation_hash'] == old['normalisation_hash']
    card = json.loads(vla.with_suffix('.json').read_text())
    assert card['token sha256'] == file_hash(token)
    assert card['fine-tuned from sha256'] == file_hash(folder / 'vla') and card['sha256'] == file_hash(vla)
    assert '--alpha 0.5 --out-vla new_vla.safetensors' in card['command'] and card['plan']['alpha'] == 0.5
    code, out, _ = rlt(*REPORT, '--json', '--vla', vla, '--token', token, '--dataset', TRAIN[5])
    assert code in (0, 1) and json.loads(out)['vla_hash'] == vla_hash(vla)


def test_training_that_is_interrupted_in_its_probes_leaves_what_was_there(
    rlt: Rlt, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*TRAIN, '--out', 'kept.safetensors', '--alpha', 0.5, '--out-vla', 'kept_vla.safetensors')
    assert rlt(*words)[0] == 0
    kept = {path: path.read_bytes() for path in folder.glob('kept*')}

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr('rlt_ros.token.training_run.offset_probe', interrupted)
    assert rlt(*words, '--seed', 1)[0] == 130
    assert {path: path.read_bytes() for path in folder.glob('kept*')} == kept
    weights_files.check(folder / 'kept_vla.safetensors', folder / 'kept.safetensors')


def test_a_report_that_could_not_be_written_is_refused_before_anything_is_recorded(
    rlt: Rlt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_run, 'run', None)
    code, _, err = rlt(*REPORT, '--out', 'vla/report')
    assert code == 2 and err == 'rlt: vla/report/report.json cannot be written: Not a directory\n'


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--context-dropout', '1.1'], '--context-dropout'),
        (['--context-dropout', '-0.1'], '--context-dropout'),
        (['--context-dropout', 'nan'], '--context-dropout'),
        (['--goal-weight', '-1'], '--goal-weight'),
        (['--alpha', '-1'], '--alpha'),
        (['--alpha', 'inf'], '--alpha'),
        (['--alpha', '0.1'], 'alpha = 0.1 and --out-vla None do not go together'),
        (['--out-vla', 'x'], 'alpha = 0 and --out-vla x do not go together'),
    ],
)
def test_train_token_refuses_values_out_of_range(rlt: Rlt, folder: Path, words: list[str], said: str) -> None:
    code, _, err = rlt(*TRAIN, '--out', 'never.safetensors', *words)
    assert code == 2 and said in err and not (folder / 'never.safetensors').exists()
