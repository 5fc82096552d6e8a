"""Pages on lock-step itself."""

from pathlib import Path

from rlt_ros import cli
from rlt_ros.bench.agreement import compare
from rlt_ros.report.lockstep_pages import write_agreement, write_cost

MADE = {
    'machine': {'cpu': 'a CPU', 'cores': 2, 'python': '3.12.1'}, 'commit': 'c0ffee', 'config_hash': 'f00d',
    'packages': {'rlt_ros': '0.1', 'torch': '2.0', 'mujoco': '3.0'},
}  # fmt: skip
ABOUT = (
    'a CPU, 2 cores; rlt_ros 0.1, commit c0ffee, Python 3.12.1, PyTorch 2.0, MuJoCo 3.0; configurations f00d; seeds '
)


def episodes(*steps: int) -> list[dict]:
    return [{'outcome': 'success', 'steps': step} for step in steps]


def test_the_page_tells_whether_lock_step_and_live_agree(tmp_path: Path) -> None:
    health = {'ticks': 9000, 'missed_ticks': 1, 'chunk_holds': 20}
    about = MADE | {'policy': '/runs/mine', 'task': 'ethernet', 'seed': 3, 'live_health': health}
    for shift, agree in ((0, 'They agree'), (40, 'They differ')):
        found = compare(episodes(*range(70, 100)), episodes(*range(70 + shift, 100 + shift))) | about
        write_agreement(tmp_path / 'docs' / 'agreement.md', found, 0.01, './rlt bench agreement --seed 3')
        text = (tmp_path / 'docs' / 'agreement.md').read_text()
        assert '`./rlt bench agreement --seed 3`' in text
        assert agree in text and '1 of 9000 ticks were missed' in text and 'learned in mine' in text
        assert f'| live | 100% (89% to 100%) | {84.5 + shift:.0f} | 30 |' in text
        assert ABOUT + '3.' in text and '/runs/' not in text


def test_the_page_tells_what_seeds_and_workers_cost(tmp_path: Path) -> None:
    row = MADE | {'seeds': 2, 'workers': 1, 'wall_minutes': 2.0, 'simulated_minutes': 3.25, 'per_wall_minute': 1.625,
           'per_core_minute': 1.75, 'updates': 41, 'peak_memory_mb_per_worker': 812.4}  # fmt: skip
    write_cost(tmp_path / 'cost.md', [row], 'ethernet', './rlt bench cost')
    text = (tmp_path / 'cost.md').read_text()
    assert '| 2 | 1 | 3.2 | 41 | 1.62 | 1.75 | 812 |' in text and ABOUT + '0, 1.' in text


def test_a_page_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, capsys) -> None:
    (tmp_path / 'file').touch()
    for name in ('tasks', 'ablations', 'study', 'agreement', 'cost'):
        assert cli.main(['bench', name, '--page', str(tmp_path / 'file' / 'page.md')]) == 2
        assert 'page.md cannot be written' in ' '.join(capsys.readouterr().err.split())
