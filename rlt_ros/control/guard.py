"""What keeps the robot still, and what is said about it. Pure: times and facts come from outside."""

import math

from rlt_ros.control.chunks import ACTOR, HOLD, HUMAN, VLA
from rlt_ros.control.executor import Executed
from rlt_ros.control.inputs import Hand, JointStates

ESTOP, IDLE = 4, 5  # states beside the sources, as in ExecutorStatus.msg


class Guard:
    """Faults hold the robot while they last. The E-stop is latched, and beats everything."""

    def __init__(self, joints: JointStates, hand: Hand):
        self.joints, self.hand = joints, hand
        self.estop = ''  # who pressed it
        self.intruders = ''  # who else publishes what only one may
        self.misplaced = ''  # why the robot cannot start from where it stands
        self.due = math.inf  # s by which somebody must have ended the phase
        self.jump = 0.0  # s that the wall clock was moved within an episode

    def fault(self, now: float) -> str:
        """Why the robot may not move, the E-stop left aside; '' if nothing is wrong."""
        jump = f'the clock jumped by {self.jump:.3g} s' if self.jump else ''
        return self.intruders or self.joints.fault(now) or self.misplaced or jump or self.hand.fault(now)

    def overdue(self, now: float) -> str:
        """Why nobody but a person may drive on: whoever ends episodes has fallen silent; '' if nothing is wrong."""
        return 'the phase is over its time, and nobody has ended it' if now > self.due else ''

    def holds(self, now: float) -> bool:
        """Whether the robot must stand still, whoever drives."""
        return bool(self.estop or self.fault(now))

    def stop(self, who: str) -> None:
        """Press the E-stop; who pressed first is remembered."""
        self.estop = self.estop or who

    def rearm(self, now: float) -> str:
        """Release the E-stop, and a takeover that fell silent; returns why not, and changes nothing then."""
        silent = self.hand.fault(now)
        if not self.estop and not silent:
            return 'the E-stop is not pressed'
        wrong = self.fault(now)
        if not wrong and self.hand.velocity(now) is not None:
            wrong = f'a person has the robot ({self.hand.device})'
        if wrong and wrong != silent:
            return wrong
        self.estop = ''
        self.hand.forget()
        return ''

    def describe(self, executed: Executed | None, chunk: int, now: float, acting: bool = True) -> tuple[int, str]:
        """State (as in ExecutorStatus.msg) and a line about it.

        executed: None while nothing is commanded; chunk: C; acting: False for the ramp after an episode.
        """
        fault = self.fault(now)
        if self.estop:
            return ESTOP, f'ESTOP: pressed, {self.estop}' + (f'; {fault}' if fault else '')
        if executed is None:
            return IDLE, f'IDLE: {fault}' if fault else 'IDLE'
        if executed.source == HOLD:
            fault = fault or self.overdue(now)
            return HOLD, f'HOLD: {fault or ("waiting for a chunk" if acting else "stopping after the episode")}'
        late = executed.index >= chunk
        return executed.source, {
            HUMAN: f'HUMAN {self.hand.device}'.rstrip(), ACTOR: f'ACTOR v{executed.policy_version}',
            VLA: 'VLA: the next chunk is late' if late else 'VLA',
        }[executed.source]  # fmt: skip
