"""Names, units and vector components of the columns of ``x``, ``y`` and ``cond``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Field:
    """One physical quantity: a scalar, or a vector whose components are neighbouring columns.

    Args:
        name: such as ``"displacement"``.
        unit: SI unit, ``"1"`` when there is none.
        components: names of the components, such as ``("x", "y")``; empty for a scalar.
    """

    name: str
    unit: str = "1"
    components: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Number of columns."""
        return max(1, len(self.components))

    @property
    def columns(self) -> list[str]:
        """Column names: ``["displacement_x", "displacement_y"]``, or the name of a scalar."""
        return [f"{self.name}_{c}" for c in self.components] or [self.name]

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        return {**asdict(self), "components": list(self.components)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Field:
        """The inverse of :meth:`to_dict`."""
        return cls(values["name"], values["unit"], tuple(values["components"]))


Fields = tuple[Field, ...]
"""The fields of an array, in the order of its columns."""


def column_slices(fields: Iterable[Field]) -> dict[str, slice]:
    """Where each field sits among the columns of its array: name -> slice."""
    slices, start = {}, 0
    for field in fields:
        slices[field.name] = slice(start, start + field.width)
        start += field.width
    return slices


def scalars_of(fields: Iterable[Field]) -> tuple[Field, ...]:
    """A scalar for each column, as tables name them: ``force_x``, ``force_y`` of ``force``."""
    return tuple(
        Field(f"{field.name}_{component}" if component else field.name, field.unit)
        for field in fields
        for component in field.components or ("",)
    )


def total_width(fields: Iterable[Field]) -> int:
    """Number of columns of an array that holds these fields."""
    return sum(field.width for field in fields)


def split_unit(text: str) -> tuple[str, str]:
    """``"p [Pa]"`` -> ``("p", "Pa")``; without brackets the unit is "1"."""
    match = re.fullmatch(r"(.+?)\s*\[([^\[\]]*)\]", text)
    return (match[1], match[2] or "1") if match else (text, "1")
