"""The simulator's tasks, one file each. A task of one's own is a file with a subclass of `SimTask` and a YAML."""

import importlib
import importlib.util
import inspect
from pathlib import Path

from rlt_ros.errors import UserError
from rlt_ros.sim.tasks.base import SimTask

SHIPPED = sorted(p.stem for p in Path(__file__).parent.glob('*.py') if p.stem not in ('__init__', 'base', 'shapes'))


def open_task(scene: str) -> SimTask:
    """The task of a scene: one of SHIPPED, or the path of a Python file with one subclass of SimTask.

    Raises UserError.
    """
    if scene in SHIPPED:
        module = importlib.import_module(f'rlt_ros.sim.tasks.{scene}')
    elif scene.endswith('.py') and Path(scene).is_file():
        spec = importlib.util.spec_from_file_location(f'rlt_task_{Path(scene).stem}', scene)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        raise UserError(f'scene "{scene}" does not exist; there are: {", ".join(SHIPPED)}, or the path of a .py file')
    found = [c for _, c in inspect.getmembers(module, inspect.isclass)
             if issubclass(c, SimTask) and c.__module__ == module.__name__]  # fmt: skip
    if len(found) != 1:
        raise UserError(f'{scene} must define one subclass of SimTask, it defines {len(found)}')
    return found[0]()
