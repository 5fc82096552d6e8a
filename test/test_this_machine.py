"""What a number was measured on is told in one way."""

from rlt_ros import run_folder
from rlt_ros.machine import machine


def test_a_run_names_the_machine_as_everybody_does() -> None:
    found = machine()
    assert set(found) == {'cpu', 'cores', 'python', 'system'} and all(found.values())
    assert found.items() <= run_folder.versions().items()
