"""What a run learned, to drive with it again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlt_ros.bench.lockstep import LockStep, open_lockstep
from rlt_ros.bench.parts import RLT, Parts
from rlt_ros.bench.variations import VARIATIONS
from rlt_ros.config import Method, RobotProfile, Task, validate
from rlt_ros.errors import UserError
from rlt_ros.report.records import read_object


@dataclass(frozen=True)
class Learned:
    """A run folder's robot, task, method and seed, and which parts of RLT it had."""

    run: Path
    profile: RobotProfile
    task: Task
    method: Method
    parts: Parts
    seed: int

    def runner(self, seed: Sequence[int]) -> LockStep:
        """The robot with the run's actor; raises UserError where it saved none."""
        runner = open_lockstep(self.profile, self.task, self.method, seed, parts=self.parts)
        runner.use_saved(self.run / 'checkpoints' / 'actor.safetensors')
        return runner


def learned(run: Path) -> Learned:
    """Raises UserError for a folder without a run, or of one whose policy needs weights of its own."""
    config, cell = read_object(run / 'config.yaml'), read_object(run / 'cell.json')
    models = [validate(model, config.get(kind) or {}, f'{run / "config.yaml"}: {kind}')
              for model, kind in ((RobotProfile, 'robot'), (Task, 'task'), (Method, 'method'))]  # fmt: skip
    if cell.get('weights'):
        raise UserError(f'{run} was computed with weights of its own: it cannot be driven again')
    parts = VARIATIONS[cell['variation']].parts if cell else RLT
    return Learned(run, *models, parts, int((config.get('arguments') or {}).get('seed', 0)))
