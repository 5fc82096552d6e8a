"""How contact is computed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Physics:
    """`STIFF` is harder and finer than `SOFT`: a policy must not notice."""

    timestep: float = 0.002  # s
    solref: str = '0.004 1'  # MuJoCo's time constant and damping ratio of a contact
    solimp: str = '0.9 0.99 0.0005'  # and its impedance

    @property
    def contact(self) -> str:
        """Attributes of a geom that touches."""
        return f'condim="3" friction="0.25 0.005 0.0001" solref="{self.solref}" solimp="{self.solimp}"'

    @property
    def part(self) -> str:
        """Of a geom of the held part."""
        return f'contype="8" conaffinity="4" {self.contact}'

    @property
    def fixed(self) -> str:
        """Of a geom of the socket."""
        return f'contype="4" conaffinity="8" {self.contact}'


SOFT = Physics()
STIFF = Physics(timestep=0.001, solref='0.002 1', solimp='0.95 0.995 0.0002')
