"""That what cannot be written is said before the work, and in one line."""

from pathlib import Path

import pytest
import tiny_weights

from rlt_ros import cli
from rlt_ros.config import RobotProfile, load
from rlt_ros.errors import UserError
from rlt_ros.paths import check_writable

ROBOT = load(RobotProfile, 'single_arm')


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder but for a file."""
    monkeypatch.chdir(tmp_path)
    Path('afile').write_text('kept')
    return tmp_path


@pytest.mark.parametrize(
    ('path', 'why'),
    [
        ('afile/z', 'Not a directory'),
        ('afile/b/z', 'Not a directory'),
        ('.', 'Is a directory'),
        ('/proc/z', 'No such file or directory'),
    ],
)
def test_what_cannot_be_written_is_named_with_the_reason(path: str, why: str) -> None:
    with pytest.raises(UserError) as error:
        check_writable(Path(path))
    assert str(error.value) == f'{path} cannot be written: {why}'


def test_the_folder_is_made_and_nothing_else_changes(here: Path) -> None:
    check_writable(Path('a/b/c'))
    assert (here / 'a' / 'b').is_dir() and not list((here / 'a' / 'b').iterdir())
    check_writable(Path('afile'))
    assert Path('afile').read_text() == 'kept'


@pytest.mark.parametrize(
    'words',
    [
        ['train', 'vla', '--out', 'afile/z'],
        ['train', 'approach', '--vla', 'vla', '--out', 'afile/z'],
        ['train', 'token', '--vla', 'vla', '--out', 'afile/z'],
        ['train', 'token', '--vla', 'vla', '--out', 'token', '--alpha', '1', '--out-vla', 'afile/z'],
        ['collect', '--task', 'ethernet', '--out', 'afile/z'],
    ],
    ids=' '.join,
)
def test_commands_say_it_before_they_begin(words: list[str], capsys: pytest.CaptureFixture) -> None:
    tiny_weights.save_vla(Path('vla'), ROBOT)
    assert cli.main([*words, '--robot', 'single_arm']) == 2  # there are no data sets to read, which would come next
    err = capsys.readouterr().err
    assert err.startswith('rlt: afile/z') and err.endswith(' cannot be written: Not a directory\n')
