"""The task's schema: what the VLA is told, and when an episode is over."""

import math
from typing import Literal

from pydantic import Field, model_validator

from rlt_ros.config.strict import Strict


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
