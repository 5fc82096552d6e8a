"""A video of the frozen VLA beside what a run learned, from one start."""

from pathlib import Path

import numpy as np

from rlt_ros.bench.learned import learned
from rlt_ros.bench.learning import FINAL
from rlt_ros.bench.lockstep import one_core, open_lockstep
from rlt_ros.bench.parts import Parts
from rlt_ros.sim.film import RATE, Film
from rlt_ros.sim.world import World


def compare(run: Path, out: Path) -> Path:
    """Film one episode of both from the same start; raises UserError for a folder without a learned policy.

    It is the first start of the run's final evaluation; the VLA and the policy drive without noise.
    """
    found = learned(run)
    starts = [found.seed, FINAL]
    one_core()
    films = []
    for mode, caption in (('evaluation', 'VLA'), ('online', 'RLT')):
        film = Film(out)
        runner = found.runner(starts) if mode == 'online' else open_lockstep(
            found.profile, found.task, found.method, starts, parts=Parts(sees='nothing'))  # fmt: skip
        every = round(runner.profile.control_rate / RATE)

        def watch(world: World, tick: int, last: bool = False) -> None:
            if tick % every == 0 or last:  # noqa: B023
                state = ' - done' if last and world.success() else ' - not done' if last else ''
                film.add(world, f'{caption}   {tick / runner.profile.control_rate:4.1f} s{state}')  # noqa: B023

        runner.episode(mode, noise=False, watch=watch)
        runner.world.close()
        films.append(film)
    length = max(len(film.frames) for film in films) + RATE
    both = Film(out)
    both.frames = [np.hstack([film.frames[min(i, len(film.frames) - 1)] for film in films]) for i in range(length)]
    both.close()
    return out
