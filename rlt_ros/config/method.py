"""The method's schema: how the robot learns."""

from typing import Literal

from pydantic import Field, model_validator

from rlt_ros.config.robot import RobotProfile
from rlt_ros.config.strict import Strict
from rlt_ros.config.task import Task
from rlt_ros.errors import UserError


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
