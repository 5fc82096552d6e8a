"""A whole demonstration by the scripted person: fetch the part where the hand is empty, then do the task."""

import numpy as np

from rlt_ros.sim.fetching import Fetching
from rlt_ros.sim.operator import Operator
from rlt_ros.sim.world import World

CALM = 5  # ticks that the part is where critical phases begin, at rest: not where the hand turns round on a detour


class Teleoperation:
    """Call `command()` once per control tick. detours: a fetching person strays."""

    def __init__(self, world: World, random: np.random.Generator, detours: bool = False):
        self.world, self.random = world, random
        self.person: Fetching | Operator
        self.person = Operator(world, random) if world.rack is None else Fetching(world, random, detours)
        self.calm = 0  # ticks

    @property
    def straying(self) -> bool:
        """Whether the last command led to a detour: nothing to be learned."""
        return isinstance(self.person, Fetching) and self.person.straying

    @property
    def critical(self) -> bool:
        """Whether the last command was of the critical phase."""
        return isinstance(self.person, Operator)

    def command(self) -> np.ndarray:
        """The next joint command (D,), rad (grippers: m)."""
        if isinstance(self.person, Fetching):
            calm = self.person.phase == 'carry' and not self.person.straying and self.world.settled()
            self.calm = self.calm + 1 if calm else 0
            if self.calm >= CALM:
                self.person = Operator(self.world, self.random)
        return self.person.command()
