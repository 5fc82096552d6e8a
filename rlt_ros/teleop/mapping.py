"""What the axes and buttons of a Joy message mean: files of config/joy."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlt_ros.config import Strict

# axis: -1 to 1; trigger: 0 to 1, an axis that rests at 0 or 1 and goes to -1, of which the negative half counts
Input = Annotated[str, Field(pattern=r'^(axis|trigger|button) \d{1,2}$')]
Button = Annotated[str, Field(pattern=r'^button \d{1,2}$')]
Event = Literal['start', 'handover', 'success', 'failure', 'abort', 'undo', 'estop', 'rearm']


class Motion(Strict):
    """Inputs that move something: `plus` minus `minus`; a stick needs one of them."""

    plus: Input | None = None
    minus: Input | None = None


class Directions(Strict):
    """Motions along, or about, the axes of the frame."""

    x: Motion = Motion()
    y: Motion = Motion()
    z: Motion = Motion()


class Mapping(Strict):
    """A controller."""

    kind = 'controller'
    folder = 'joy'
    deadman: Button = Field(description='held: the person moves the robot')
    next_arm: Button | None = Field(default=None, description='pressed: the next arm is moved, after the last one all')
    deadzone: float = Field(default=0.1, ge=0, lt=1, description='deflection that counts as none')
    linear_speed: float = Field(default=0.05, gt=0, le=1, description='m/s of the tool at full deflection')
    angular_speed: float = Field(default=0.5, gt=0, le=5, description='rad/s of the tool at full deflection')
    gripper_speed: float = Field(default=0.3, gt=0, le=1, description="fraction of the gripper's velocity limit")
    linear: Directions = Directions()
    angular: Directions = Directions()
    gripper: Motion = Field(default=Motion(), description='plus opens')
    events: dict[Event, Button] = {}

    @property
    def buttons(self) -> list[str]:
        """Buttons that mean something of their own."""
        return [self.deadman, *([self.next_arm] if self.next_arm else []), *self.events.values()]

    @property
    def needs(self) -> tuple[int, int]:
        """How many axes and buttons a message must have."""
        motions = [getattr(part, name) for part in (self.linear, self.angular) for name in ('x', 'y', 'z')]
        moves = [item for motion in (*motions, self.gripper) for item in (motion.plus, motion.minus) if item]
        used = [item.split() for item in (*self.buttons, *moves)]
        axes = [int(index) + 1 for kind, index in used if kind != 'button']
        return max(axes, default=0), max(int(index) + 1 for kind, index in used if kind == 'button')

    @model_validator(mode='after')
    def _unambiguous(self) -> 'Mapping':
        if len(set(self.buttons)) != len(self.buttons):
            raise ValueError('deadman, next_arm and events must be different buttons')
        return self
