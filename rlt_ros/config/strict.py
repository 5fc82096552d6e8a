"""What every configuration is built of: a model that refuses unknown keys, and vectors."""

import math
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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
