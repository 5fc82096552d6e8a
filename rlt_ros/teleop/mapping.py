"""What the axes and buttons of a Joy message mean: files of config/joy."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
import yaml

from rlt_ros.config import Strict, validate
from rlt_ros.errors import UserError
from rlt_ros.paths import share

Input = Annotated[str, Field(pattern=r'^(axis|button) \d{1,2}$')]
Button = Annotated[str, Field(pattern=r'^button \d{1,2}$')]
Event = Literal['start', 'handover', 'success', 'failure', 'abort', 'undo']


class Motion(Strict):
    """Inputs that move a joint: `plus` minus `minus`; a stick needs `plus` alone."""

    plus: Input
    minus: Input | None = None


class Mapping(Strict):
    """A controller."""

    deadman: Button = Field(description='held: the person moves the robot')
    next_arm: Button | None = Field(default=None, description='pressed: the sticks move the next arm')
    deadzone: float = Field(default=0.1, ge=0, lt=1, description='deflection that counts as none')
    speed: float = Field(default=0.3, gt=0, le=1, description='fraction of the velocity limits at full deflection')
    joints: list[Motion] = Field(min_length=1, description="of the moved arm, in the profile's order; the rest rests")
    gripper: Motion | None = None
    events: dict[Event, Button] = {}

    @model_validator(mode='after')
    def _unambiguous(self) -> 'Mapping':
        buttons = [self.deadman, *([self.next_arm] if self.next_arm else []), *self.events.values()]
        if len(set(buttons)) != len(buttons):
            raise ValueError('deadman, next_arm and events must be different buttons')
        return self


def load_mapping(name: str) -> Mapping:
    """Read a mapping by name (of config/joy) or path. Raises UserError that names what is wrong and what is allowed."""
    folder = share() / 'config' / 'joy'
    path = Path(name) if '/' in name or name.endswith(('.yaml', '.yml')) else folder / f'{name}.yaml'
    if not path.is_file():
        known = ', '.join(sorted(file.stem for file in folder.glob('*.yaml')))
        raise UserError(f'joy "{name}" does not exist; there are: {known}, or the path of a YAML file')
    try:
        data = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f'{path} is no readable YAML: {" ".join(str(error).split())}') from None
    return validate(Mapping, data, str(path))
