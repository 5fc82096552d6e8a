"""The one schema of every configuration file, with ranges and descriptions.

Files are YAML: `config/robots/*.yaml` (RobotProfile), `config/tasks/*.yaml` (Task), `config/methods/*.yaml` (Method).
A name means a file of that folder; anything with a slash or ending in .yaml is a path.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
import yaml

from rlt_ros.errors import UserError
from rlt_ros.paths import share

Vector3 = Annotated[list[float], Field(min_length=3, max_length=3)]


def _unit(vector: list[float]) -> list[float]:
    """A vector as it is; ValueError unless it is 1 long."""
    length = math.hypot(*vector)
    if abs(length - 1.0) > 1e-3:
        raise ValueError(f'its length is {length:.4g}, it must be 1 within 0.001')
    return vector


UnitVector = Annotated[Vector3, AfterValidator(_unit)]


class Strict(BaseModel):
    """A model that refuses unknown keys and cannot be changed."""

    kind: ClassVar[str] = ''  # what a file of it is of
    folder: ClassVar[str] = ''  # of config/, with the files that the package ships
    model_config = ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)


class Joint(Strict):
    """A joint of a serial arm: where it sits on its parent, about which axis it turns, and its limits."""

    name: str
    origin: Vector3 = Field(default=[0.0, 0.0, 0.0], description='m, in the parent joint frame at zero')
    axis: UnitVector = Field(default=[0.0, 0.0, 1.0], description='unit vector, own frame')
    lower: float = Field(description='rad (gripper: m)')
    upper: float = Field(description='rad (gripper: m)')
    velocity: float = Field(gt=0, description='limit, rad/s (gripper: m/s)')
    acceleration: float = Field(gt=0, description='limit, rad/s2 (gripper: m/s2)')
    home: float = Field(default=0.0, description='rad (gripper: m), where the arm rests')

    @model_validator(mode='after')
    def _ordered(self) -> 'Joint':
        if not self.lower <= self.home <= self.upper:
            raise ValueError(f'{self.name}: home {self.home} is outside [{self.lower}, {self.upper}]')
        return self


class Arm(Strict):
    """Revolute joints in series and a gripper; the simulator knows arms of six joints alone."""

    name: str
    base_position: Vector3 = Field(description='m, world frame')
    base_yaw: float = Field(description='rad, about world z')
    joints: list[Joint] = Field(min_length=1)
    tool_position: Vector3 = Field(description='m, tool centre point in the last joint frame; x points out of the hand')
    gripper: Joint
    squeeze: float = Field(
        default=0.0, ge=0, le=0.05, description='m that an episode begins with its gripper commanded to close beyond '
        'where it is measured: a position-controlled one would let go of what it squeezes'
    )  # fmt: skip


class Mount(Strict):
    """Where a camera is: the simulator puts it there, and camera_node takes it to be there."""

    body: str = Field(description='"world" or an arm name (its hand)')
    position: Vector3 = Field(description='m, in that body')
    look_at: Vector3 = Field(description='m, in that body')
    up: Vector3 = Field(default=[0.0, 0.0, 1.0])
    field_of_view: float = Field(gt=1, lt=150, description='degrees, vertical')

    @model_validator(mode='after')
    def _looks_somewhere(self) -> 'Mount':
        if self.look_at == self.position:
            raise ValueError(f'look_at {self.look_at} must be another point than position')
        ahead = [to - at for to, at in zip(self.look_at, self.position, strict=True)]
        along = sum(a * b for a, b in zip(self.up, ahead, strict=True))
        if abs(along) >= (1 - 5e-7) * math.hypot(*self.up) * math.hypot(*ahead):  # within 1 mrad, or up is nothing
            raise ValueError(f'up {self.up} must be another direction than that from position to look_at')
        return self


class Camera(Strict):
    """One camera: a ROS topic, or a source that OpenCV opens."""

    name: str
    topic: str = Field(
        default='', description='Image topic; one that ends in /compressed carries CompressedImage; "": see source'
    )
    source: str = Field(
        default='', description='"" reads the topic; /dev/video0, rtsp://..., or a video file is opened in its place'
    )
    mount: Mount

    @model_validator(mode='after')
    def _sees(self) -> 'Camera':
        if not self.topic and not self.source:
            raise ValueError(f'{self.name}: a topic or a source must be given')
        return self


class RobotProfile(Strict):
    """A robot: its arms, cameras, rates and topics. Everything that has a size takes it from here."""

    kind = 'robot'
    folder = 'robots'
    name: str
    arms: list[Arm] = Field(min_length=1)
    cameras: list[Camera] = Field(min_length=1)
    image_size: int = Field(
        default=96, ge=32, le=512, multiple_of=16, description='px, square, as the VLA sees it: in tokens of 16 px'
    )
    control_rate: float = Field(default=50.0, ge=10, le=1000, description='Hz, of commands')
    observation_rate: float = Field(default=25.0, ge=1, le=200, description='Hz, of observations')
    max_skew: float = Field(default=0.02, gt=0, description='s, between the parts of an observation')
    max_age: float = Field(default=0.1, gt=0, description='s, of joint states before the robot holds')
    max_lag: float = Field(default=0.2, gt=0, description='rad (gripper: m), commanded minus measured')
    workspace_low: Vector3 = Field(description='m, world frame, where tool centre points may go')
    workspace_high: Vector3 = Field(description='m, world frame')
    command_interface: Literal['joint_trajectory', 'forward'] = 'joint_trajectory'
    command_topic: str = 'joint_command'
    joint_state_topic: str = 'joint_states'

    @property
    def joints(self) -> list[Joint]:
        """All joints in wire order: each arm's joints, then its gripper."""
        return [joint for arm in self.arms for joint in (*arm.joints, arm.gripper)]

    @property
    def joint_names(self) -> list[str]:
        return [joint.name for joint in self.joints]

    @property
    def action_dim(self) -> int:
        """D, the width of an action."""
        return len(self.joints)

    @property
    def stride(self) -> int:
        """Control ticks from one observation to the next."""
        return round(self.control_rate / self.observation_rate)

    @model_validator(mode='after')
    def _consistent(self) -> 'RobotProfile':
        names = [*self.joint_names, *(camera.name for camera in self.cameras)]
        if len(set(names)) != len(names):
            raise ValueError('joint and camera names must be unique')
        if abs(self.control_rate / self.observation_rate - self.stride) > 1e-9:
            raise ValueError('control_rate must be a whole multiple of observation_rate')
        return self

    @model_validator(mode='after')
    def _possible(self) -> 'RobotProfile':
        arms = [arm.name for arm in self.arms]
        if len(set(arms)) != len(arms):
            raise ValueError(f'arm names must be unique: {", ".join(arms)}')
        if 'world' in arms:
            raise ValueError("an arm cannot be named 'world': cameras that stand still are mounted there")
        for camera in self.cameras:
            if camera.mount.body not in ('world', *arms):
                allowed = ', '.join(['world', *arms])
                raise ValueError(
                    f'camera {camera.name}: mount.body = {camera.mount.body!r} is not allowed; allowed: {allowed}'
                )
        for arm in self.arms:
            if arm.squeeze > (most := arm.gripper.velocity / self.control_rate) + 1e-9:  # it is commanded at once
                raise ValueError(
                    f'arm {arm.name}: squeeze = {arm.squeeze} is not allowed: at most {most:.3g}, '
                    'what its gripper moves in a tick'
                )
        for i, (low, high) in enumerate(zip(self.workspace_low, self.workspace_high, strict=True)):
            if low >= high:
                raise ValueError(
                    f'workspace_low[{i}] = {low} is not allowed: it must be less than workspace_high[{i}] = {high}'
                )
        return self


class Task(Strict):
    """A task for a robot: what the VLA is told and when an episode is over."""

    kind = 'task'
    folder = 'tasks'
    name: str
    instruction: str = Field(min_length=1, max_length=200)
    scene: str = Field(description="scene of the simulator: a module of rlt_ros/sim/tasks, or a Python file's path")
    setting: Literal['critical', 'full'] = Field(
        default='critical', description='critical: the part is in the hand above the socket; full: it is fetched first'
    )
    proprioception: Literal['pose', 'joints'] = Field(
        default='pose', description='what the actor-critic feels of the robot: tool poses, or joints'
    )
    bc_factor: float = Field(
        default=1.0, gt=0, le=100, description="on the method's beta: above 1 where far from success, or hard to undo"
    )
    noise_factor: float = Field(
        default=1.0, ge=0, le=100, description="on the method's noise, token_noise, rest_noise and action_noise: "
        'below 1 where more exactness than that is needed'
    )  # fmt: skip
    time_limit: float = Field(default=9.0, gt=0, le=600, description='s, then the episode is truncated')
    handover_after: float | None = Field(
        default=0.0, ge=0, description='s of VLA approach before the critical phase; an operator, or the simulator of '
        'a full task, may hand over earlier; null: nobody else does'
    )  # fmt: skip
    approach_limit: float | None = Field(
        default=None, gt=0, le=3600, description='s of approach without a handover, then the episode is over and '
        'nothing of it is learned from; null: it goes on'
    )  # fmt: skip

    @model_validator(mode='after')
    def _an_approach_ends(self) -> 'Task':
        if self.setting == 'full' and self.handover_after is None and self.approach_limit is None:
            raise ValueError('handover_after and approach_limit are both null: an approach that is lost has no end')
        return self

    def alone(self) -> 'Task':
        """Its critical phase alone: the part is in the hand from the start."""
        if self.setting == 'critical':
            return self
        return self.model_copy(update={'setting': 'critical', 'handover_after': 0.0, 'approach_limit': None})

    def hands_over(self, seconds: float) -> bool:
        """Whether the critical phase begins by itself after so much of the approach."""
        return self.handover_after is not None and seconds >= self.handover_after

    def limit(self, phase: str) -> float:
        """s after which an episode is over that is still in this phase, approach or critical; infinite without one."""
        approach = math.inf if self.approach_limit is None else self.approach_limit
        return self.time_limit if phase == 'critical' else approach

    def longest(self, phase: str) -> float:
        """s after which a phase, approach or critical, has ended at the latest; infinite where a person ends it."""
        handed_over = math.inf if self.handover_after is None or phase == 'critical' else self.handover_after
        return min(self.limit(phase), handed_over)


class Shares(Strict):
    """Parts of every batch by who made the transitions; a kind that has none yet leaves its part to the others."""

    online: float = Field(ge=0, le=1, description='by the actor')
    warmup: float = Field(ge=0, le=1, description='by the VLA with noise, before the actor took over')
    human: float = Field(ge=0, le=1, description='with a person in control during any of their steps')

    @model_validator(mode='after')
    def _whole(self) -> 'Shares':
        if abs(self.online + self.warmup + self.human - 1) > 1e-6:
            raise ValueError(f'online {self.online} + warmup {self.warmup} + human {self.human} must be 1')
        return self


class Method(Strict):
    """How the robot learns. Equations are the RLT paper's; where it is silent, docs/method.md says why."""

    kind = 'method'
    folder = 'methods'
    name: str
    chunk: int = Field(default=10, ge=1, le=50, description='C, steps per RL action chunk')
    delay: int = Field(default=3, ge=0, le=25, description='n, ticks already committed when a chunk is asked for')
    discount: float = Field(default=0.985, gt=0, lt=1, description='gamma, per control step')
    bc_weight: float = Field(
        default=0.03, ge=0, le=100, description='beta, on the summed squared deviation from the reference chunk (Eq. 5)'
    )
    bc_first: float = Field(
        default=0.1, ge=0, le=100, description='beta at first, where that is more: until the critic has seen what its '
        'actor does, the actor stays near the VLA'
    )  # fmt: skip
    bc_ramp: int = Field(default=15_000, ge=1, le=10_000_000, description='updates in which beta falls to bc_weight')
    noise: float = Field(default=0.02, ge=0, le=1, description='sigma of the policy, normalised action units')
    reference_dropout: float = Field(
        default=0.5, ge=0, le=1, description='chance that a training sample hides its reference from the actor'
    )
    token_noise: float = Field(
        default=0.3, ge=0, le=5, description='sigma of noise on z_rl in every training sample, standardised units: so '
        'few transitions are learned by heart otherwise'
    )  # fmt: skip
    rest_noise: float = Field(
        default=0.1, ge=0, le=5, description='the same on the rest of the state: proprioception and committed commands'
    )
    action_noise: float = Field(
        default=0.1, ge=0, le=5, description='the same on the executed chunk, normalised action units: else critics '
        'have ridges between the few chunks that were tried, and the actor climbs them'
    )  # fmt: skip
    hidden: int = Field(default=128, ge=8, le=4096, description='width of the hidden layers')
    layers: int = Field(default=2, ge=1, le=4, description='hidden layers')
    batch: int = Field(default=128, ge=1, le=4096)
    learning_rate: float = Field(default=3e-4, gt=0, le=0.1)
    target_rate: float = Field(default=0.005, gt=0, le=1, description='tau of the target networks')
    critic_updates_per_actor_update: int = Field(default=2, ge=1, le=20)
    updates_per_transition: float = Field(default=5.0, gt=0, le=100, description='UTD, a cap')
    warmup_episodes: int = Field(
        default=10, ge=0, le=1000, description='episodes of the VLA with noise before the actor takes over'
    )
    first_updates: int = Field(
        default=3000, ge=0, le=100000, description='updates before the first policy is published'
    )
    evaluation_episodes: int = Field(
        default=50, ge=0, le=1000, description='episodes of the frozen VLA before learning, without noise, not stored'
    )
    stride: int = Field(
        default=2, ge=1, le=50, description='steps from the start of one stored transition to the next'
    )
    shares: Shares | None = Field(default=None, description='how batches are mixed; null: uniformly over all stored')
    intervention: Literal['replace', 'keep'] = Field(
        default='replace',
        description="what a person's steps do to the stored reference: replace it (paper); keep it, and only the BC "
        'term pulls to the person',
    )
    store_approach: bool = Field(
        default=False, description='learn from the approach too; the paper stores the critical phase alone'
    )
    token_precision: Literal['float32', 'bfloat16'] = Field(
        default='float32', description='of stored tokens and of products with them; bfloat16 is faster for large ones'
    )
    replay_capacity: int = Field(default=200_000, ge=1000, le=10_000_000, description='transitions')
    publish_period: float = Field(default=1.0, gt=0, le=60, description='s, between policy versions')

    @model_validator(mode='after')
    def _chunks_follow_each_other(self) -> 'Method':
        if self.delay > self.chunk:
            raise ValueError(
                f'delay {self.delay} is more than chunk {self.chunk}: every chunk would replace one that has not begun'
            )
        return self


NOISES = 'noise', 'token_noise', 'rest_noise', 'action_noise'


def learned_with(method: Method, task: Task) -> Method:
    """The method as the task is learned with: beta and all noise times the task's factors."""
    factors = {'bc_weight': task.bc_factor} | dict.fromkeys(NOISES, task.noise_factor)
    return method.model_copy(update={name: getattr(method, name) * factor for name, factor in factors.items()})


Model = TypeVar('Model', bound=Strict)


def names(model: type[Strict]) -> list[str]:
    """Names the package ships for a kind of configuration."""
    return sorted(path.stem for path in (share() / 'config' / model.folder).glob('*.yaml'))


def load(model: type[Model], name: str, **overrides: object) -> Model:
    """Read a configuration by name or path, with values replaced by `overrides`.

    Raises UserError that names the file, key, value and what is allowed.
    """
    is_path = '/' in name or name.endswith(('.yaml', '.yml'))
    path = Path(name) if is_path else share() / 'config' / model.folder / f'{name}.yaml'
    if not path.is_file():
        raise UserError(
            f'{model.kind} "{name}" does not exist; there are: {", ".join(names(model))}, or the path of a YAML file'
        )
    try:
        data = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f'{path} is no readable YAML: {" ".join(str(error).split())}') from None
    if not isinstance(data, dict):
        raise UserError(f'{path} must hold keys and values of a {model.kind}')
    return validate(model, {**data, **overrides}, str(path))


def validate(model: type[Model], data: dict, where: str) -> Model:
    """Build a model; raises UserError with one line per wrong key."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UserError(describe(error, model, where)) from None


def describe(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """What is wrong with a configuration, in one line per key, with the value and what is allowed."""
    lines = []
    for item in error.errors():
        key = '.'.join(str(part) for part in item['loc'])
        if item['type'] == 'extra_forbidden':
            allowed = ', '.join(_model_at(model, item['loc'][:-1]).model_fields)
            lines.append(f'{where}: unknown key "{key}"; allowed: {allowed}')
        elif item['type'] == 'missing':
            lines.append(f'{where}: key "{key}" is missing')
        elif isinstance(item['input'], dict):  # of a rule about several keys, which says their values itself
            lines.append(f'{where}: {key or "content"} is not allowed: {item["msg"]}')
        else:
            value = repr(item['input'])
            value = value if len(value) <= 100 else f'{value[:97]}...'
            lines.append(f'{where}: {key or "content"} = {value} is not allowed: {item["msg"]}')
    return '\n'.join(lines)


def _model_at(model: type[BaseModel], location: tuple[str | int, ...]) -> type[BaseModel]:
    """The model of a nested part: keys and list indices from `model` on."""
    for key in location:
        if isinstance(key, str):
            annotation = model.model_fields[key].annotation
            model = (get_args(annotation) or (annotation,))[0]
    return model


def check_fit(profile: RobotProfile, method: Method) -> None:
    """Raises UserError unless transitions start, and chunks end, where the robot is observed.

    Otherwise no value could be bootstrapped.
    """
    for name, value, of, step in (
        ('stride', method.stride, f'robot {profile.name}, observed every {profile.stride} steps', profile.stride),
        ('chunk', method.chunk, f'stride {method.stride}', method.stride),
    ):  # fmt: skip
        if value % step:
            raise UserError(
                f'method {method.name}: {name} = {value} is not allowed with {of}: it must be a multiple of {step}'
            )


def config_hash(*models: Strict) -> str:
    """SHA-256 over the content of configurations, independent of file names and key order."""
    return hashlib.sha256(json.dumps([m.model_dump() for m in models], sort_keys=True).encode()).hexdigest()
