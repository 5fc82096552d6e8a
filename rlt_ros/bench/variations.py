"""Variations of RLT: what each changes of the method, the robot's rates, or the parts of the runner."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from rlt_ros.bench.parts import RLT, Parts
from rlt_ros.config import Method, RobotProfile, load
from rlt_ros.errors import UserError


@dataclass(frozen=True)
class Variation:
    """What it is about, and what it changes. weights: what a file of weights for it is, '' where it takes none."""

    about: str
    changes: dict[str, object] = field(default_factory=dict)  # of the method
    parts: Parts = RLT
    every_tick: bool = False  # the robot is observed at every control tick
    weights: str = ''
    weights_needed: bool = False


VARIATIONS = {
    'rlt': Variation('the method as shipped'),
    'beta-0.01': Variation('weaker pull to the reference', {'bc_weight': 0.01}),
    'beta-0.1': Variation('stronger pull to the reference', {'bc_weight': 0.1}),
    'gamma-0.9895': Variation('0.9 per chunk: less hurry', {'discount': 0.9895}),
    'hidden-256': Variation("the paper's width, half the batch", {'hidden': 256, 'batch': 64}),
    'stride-10': Variation('transitions at chunk boundaries alone', {'stride': 10}),
    'no-token': Variation('proprioception and reference without z_rl', parts=Parts(sees='nothing')),
    'delay-0': Variation('as if inference took no time', {'delay': 0}),
    'delay-6': Variation('twice the delay', {'delay': 6}),
    'bfloat16': Variation('tokens stored and multiplied in bfloat16', {'token_precision': 'bfloat16'}),
    'image-encoder': Variation(
        'a frozen ResNet-10 in place of the RL token: trained on demonstrations where weights are given, else random',
        parts=Parts(sees='images'), weights='of rlt bench encoder'),
    'no-chunk': Variation(
        'single steps (C = 1): observed and decided at all 50 ticks a second, so with 20 ms of delay in place of 60',
        {'chunk': 1, 'stride': 1, 'delay': 1}, every_tick=True),
    'no-bc': Variation('nothing pulls to the reference', {'bc_weight': 0.0, 'bc_first': 0.0}),
    'no-pass-through': Variation(
        'the actor neither sees the reference nor adds to it', {'reference_dropout': 1.0}, Parts(pass_through=False)),
    'no-reference-dropout': Variation('the actor always sees the reference', {'reference_dropout': 0.0}),
    'no-sample-noise': Variation(
        'states and executed chunks of training samples as they were stored',
        {'token_noise': 0.0, 'rest_noise': 0.0, 'action_noise': 0.0}),
    'no-latency-awareness': Variation(
        'committed commands are no part of the state, the reference is not shifted; the delay stays',
        parts=Parts(latency_aware=False)),
    'no-context-dropout': Variation(
        'a token whose decoder saw all of its context in training', weights='of rlt train token --context-dropout 0',
        weights_needed=True),
}  # fmt: skip

# the paper's, then those beyond it
ABLATIONS = ('image-encoder', 'no-chunk', 'no-bc', 'no-pass-through', 'no-token', 'no-reference-dropout',
             'no-sample-noise', 'no-latency-awareness', 'stride-10', 'no-context-dropout')  # fmt: skip


def known(name: str) -> Variation:
    """Raises UserError for an unknown one."""
    if name not in VARIATIONS:
        raise UserError(f'variation "{name}" does not exist; there are: {", ".join(VARIATIONS)}')
    return VARIATIONS[name]


def varied(robot: str, method: str, name: str, weights: str = '') -> tuple[RobotProfile, Method, Parts]:
    """What a variation makes of a robot and a method; raises UserError where it is unknown or lacks its weights."""
    chosen, profile = known(name), load(RobotProfile, robot)
    if weights and not chosen.weights:
        raise UserError(f'variation "{name}" takes no weights')
    if chosen.weights_needed and not weights:
        raise UserError(f'variation "{name}" needs weights {chosen.weights}: give --weights {name}=FILE')
    if weights and not Path(weights).is_file():
        raise UserError(f'weights file {weights} of variation "{name}" does not exist; it is one {chosen.weights}')
    if chosen.every_tick:
        profile = load(RobotProfile, robot, observation_rate=profile.control_rate)
    return profile, load(Method, method, **chosen.changes), replace(chosen.parts, weights=weights)
