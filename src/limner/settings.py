"""The frozen base of all sections of a configuration, and the types of their keys.

The docstring under a key is its documentation; `limner presets --keys` prints it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def both(value: object) -> object:
    """Read one value as the same value twice: a square size, a setting for source and target."""
    return value if isinstance(value, list | tuple) else (value, value)


PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Size = Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(both)]
Channels = Annotated[tuple[PositiveInt, PositiveInt], BeforeValidator(both)]
Norm = Literal["batch", "sync-batch", "instance", "instance-affine", "group", "none"]
Init = Literal["normal", "xavier", "kaiming", "orthogonal", "normal-weights", "default"]
Gain = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]
Optimizer = Literal["adam", "adamw", "radam"]


class Section(BaseModel):
    """A frozen group of keys that refuses unknown ones."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
