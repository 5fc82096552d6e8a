"""Which code it was: a change of what it names is seen, any other is not."""

from pathlib import Path

import pytest

from rlt_ros import source


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / 'rl').mkdir()
    for name in ('config.py', 'cli.py', 'rl/policy.py'):
        (tmp_path / name).write_text('1')
    monkeypatch.setattr(source, '__file__', str(tmp_path / 'source.py'))
    return tmp_path


@pytest.mark.parametrize(('name', 'seen'), [('config.py', True), ('rl/policy.py', True), ('cli.py', False)])
def test_a_change_of_a_named_module_or_package_is_seen(code: Path, name: str, seen: bool) -> None:
    before = source.source_hash.__wrapped__('config.py', 'rl')
    (code / name).write_text('2')
    assert (source.source_hash.__wrapped__('config.py', 'rl') != before) == seen


@pytest.mark.parametrize('name', ['nothing.py', 'nothing'])
def test_what_is_not_there_is_an_error(code: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        source.source_hash.__wrapped__('rl', name)
