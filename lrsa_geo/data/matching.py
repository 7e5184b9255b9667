"""A store and a model that meet later: columns are found by the names and units of fields."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrsa_geo.data.store import MeshStore, StoreView
from lrsa_geo.data.units import Conversion, UnitError, conversion
from lrsa_geo.mesh import Field, Fields, column_slices

_KIND = {"x": "input", "y": "target", "cond": "condition", "about": "fact"}
_KIND |= {"states": "state", "x_t": "input of time", "cond_t": "condition of time"}


class MismatchError(ValueError):
    """A store lacks a field, or has it in another form than is asked for."""


@dataclass(frozen=True)
class ColumnMatch:
    """Which columns of an array are the wanted ones, and what makes their unit the wanted one.

    Attributes:
        columns: numbers of the columns, in the wanted order.
        factor: of each.
        offset: of each.
    """

    columns: tuple[int, ...]
    factor: tuple[float, ...]
    offset: tuple[float, ...]

    def __call__(self, values: Tensor) -> Tensor:
        """``[..., columns of the store]`` -> ``[..., wanted columns]``."""
        picked = values[..., list(self.columns)]
        if set(self.factor) <= {1.0} and set(self.offset) <= {0.0}:
            return picked
        factor = torch.tensor(self.factor, dtype=torch.float64, device=values.device)
        offset = torch.tensor(self.offset, dtype=torch.float64, device=values.device)
        return (picked.double() * factor + offset).to(values.dtype)


def match_fields(array: str, wanted: Fields, offered: Fields, where: object) -> ColumnMatch:
    """Find fields among those that are offered, by name; other units are converted.

    Args:
        array: ``"x"``, ``"y"`` or ``"cond"``, for messages.
        wanted: fields, in the order in which their columns are wanted.
        offered: fields of the columns that there are.
        where: whose they are.

    Raises:
        MismatchError: a field is missing, its unit cannot be converted, or its components differ.
    """
    slices, by_name = column_slices(offered), {field.name: field for field in offered}
    columns: list[int] = []
    conversions: list[Conversion] = []
    for field in wanted:
        found = by_name.get(field.name)
        if found is None:
            raise _missing(array, field, list(by_name), where)
        what = f"{where}: {_KIND[array]} '{field.name}'"
        if sorted(found.components) != sorted(field.components):
            raise MismatchError(
                f"{what} has {_described(found)}, the model was trained with {_described(field)};"
                " make the store again with the same kind of field"
            )
        try:
            unit = conversion(found.unit, field.unit)
        except UnitError as error:
            raise MismatchError(
                f"{what} has the unit '{found.unit}', the model was trained with '{field.unit}':"
                f" {error}; make the store again with '{field.name} [{field.unit}]'"
            ) from error
        first = slices[field.name].start
        order = [found.components.index(name) for name in field.components] or [0]
        columns += [first + component for component in order]
        conversions += [unit] * field.width
    return ColumnMatch(
        tuple(columns),
        tuple(unit.factor for unit in conversions),
        tuple(unit.offset for unit in conversions),
    )


def match_store(store: MeshStore, wanted: Mapping[str, Fields], *, truth: bool = True) -> MeshStore:
    """The store with the columns of a model: picked by name, in its order and in its units.

    Args:
        store: its graphs.
        wanted: fields of ``x``, ``y`` and ``cond``; an array that is not named stays as it is.
        truth: demand the targets; otherwise the graphs have ``y`` only if the store has them all.

    Returns:
        ``store`` itself if there is nothing to do.

    Raises:
        MismatchError: a field is missing, or cannot be converted.
    """
    matches: dict[str, ColumnMatch] = {}
    left_out = []
    for array, fields in wanted.items():
        offered = store.fields.get(array, ())
        if array == "y" and not truth and {f.name for f in fields} - {f.name for f in offered}:
            left_out.append(array)
        elif fields != offered:
            matches[array] = match_fields(array, fields, offered, store.path)
    if not matches and not left_out:
        return store
    return _MatchedStore(store, wanted, matches, left_out)


class _MatchedStore(StoreView):
    """A store seen through the columns that a model wants."""

    def __init__(
        self,
        store: MeshStore,
        wanted: Mapping[str, Fields],
        matches: dict[str, ColumnMatch],
        left_out: list[str],
    ) -> None:
        super().__init__(store)
        self._matches = matches
        self._left_out = left_out
        fields = store.fields | {array: wanted[array] for array in matches}
        self.fields = {array: f for array, f in fields.items() if array not in left_out}

    @property
    def arrays(self) -> list[str]:
        """Names of the arrays that every graph has."""
        return [array for array in self.store.arrays if array not in self._left_out]

    def _graph(
        self, index: int, only: Container[str] | None = None, nodes: np.ndarray | None = None
    ) -> dict[str, Any]:
        wanted = self.arrays if only is None else only
        return self._matched(super()._graph(index, wanted, nodes))

    def window(self, index: int, first: int, last: int, arrays: list[str]) -> dict[str, Tensor]:
        """Some steps of a series."""
        return self._matched(super().window(index, first, last, arrays))

    def _matched(self, values: dict[str, Any]) -> dict[str, Any]:
        return {a: self._matches[a](v) if a in self._matches else v for a, v in values.items()}

    def read(self, array: str) -> np.ndarray:
        """One array of all graphs, concatenated."""
        return self._matched_rows(array, super().read(array))

    def pieces(self, array: str) -> Iterator[np.ndarray]:
        """The same in pieces."""
        return (self._matched_rows(array, rows) for rows in super().pieces(array))

    def _matched_rows(self, array: str, rows: np.ndarray) -> np.ndarray:
        match = self._matches.get(array)
        return rows if match is None else match(torch.from_numpy(rows)).numpy()


def _missing(array: str, field: Field, known: list[str], where: object) -> MismatchError:
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(field.name.lower(), by_lower, 1)
    return MismatchError(
        f"{where}: has no {_KIND[array]} '{field.name}', which the model was trained with; it has"
        f" {', '.join(known) or 'none'}"
        + (f"; did you mean '{by_lower[near[0]]}'?" if near else "")
    )


def _described(field: Field) -> str:
    return f"components {', '.join(field.components)}" if field.components else "one component"
