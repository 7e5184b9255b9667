"""A table of cells that PyG can batch: offsets leave its padding alone, and widths may differ."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


class CellTable(Tensor):
    """``cells [K, V]``, padded with -1, as a tensor that PyG batches and takes apart again.

    It differs from a plain tensor in what PyG does with the tables of a batch: adding or
    subtracting an offset leaves the padding as it is; ``torch.cat`` pads to the widest and
    remembers each part, so that ``narrow`` on the rows of a part gives it back in its own width
    (neighbours without any rows are taken to have one width).
    Copies and moves (``clone``, ``to``, ``pin_memory``, ...) are tables again. Everything else,
    such as indexing and comparing, gives plain tensors.
    """

    _parts: tuple[tuple[int, int], ...] = ()  # rows and width of each table that was joined

    @staticmethod
    def of(cells: Any) -> Any:
        """A tensor as a table that shares its memory; anything else as it is."""
        is_plain = isinstance(cells, Tensor) and not isinstance(cells, CellTable)
        return cells.as_subclass(CellTable) if is_plain else cells

    def plain(self) -> Tensor:
        """The same numbers in the same memory, as an ordinary tensor."""
        return self.as_subclass(Tensor)

    def __deepcopy__(self, memo: dict[int, Any]) -> CellTable:
        return _like(self, copy.deepcopy(self.plain(), memo))

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Intercept the few functions that PyG's batching calls."""
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func in _JOIN:
                return _joined(*args, **kwargs)
            if func not in _SPECIAL or not isinstance(args[0], CellTable):
                return func(*args, **kwargs)
            table = args[0]
            if func in _IN_PLACE:
                raise TypeError(
                    "adding to a table of cells in place would change its padding; write"
                    " `cells = cells + offset`"
                )
            if func is Tensor.resize_ and not _fits(table, *args[1:]):
                return table  # PyG's shared memory, sized for tables of one width
            result = func(*args, **kwargs)
            if func in _OFFSET:
                return _like(table, result.masked_fill_(table.as_subclass(Tensor) < 0, -1))
            if func in _NARROW:
                return _narrowed(table, result, *args[1:], **kwargs)
            return _like(table, result)


torch.serialization.add_safe_globals([CellTable])  # it carries no code

_JOIN = {torch.cat, torch.concat, torch.concatenate}
_OFFSET: set[Callable[..., Any]] = {
    *(Tensor.add, Tensor.__add__, torch.add, Tensor.sub, Tensor.__sub__, torch.sub)
}
_IN_PLACE: set[Callable[..., Any]] = {*(Tensor.add_, Tensor.__iadd__, Tensor.sub_, Tensor.__isub__)}
_NARROW: set[Callable[..., Any]] = {Tensor.narrow, torch.narrow}
_COPY: set[Callable[..., Any]] = {
    *(Tensor.to, Tensor.cpu, Tensor.cuda, Tensor.clone, torch.clone, Tensor.detach, torch.detach),
    *(Tensor.contiguous, Tensor.pin_memory, Tensor.new),
}
_SPECIAL: set[Callable[..., Any]] = {*_OFFSET, *_IN_PLACE, *_NARROW, *_COPY, Tensor.resize_}


def _fits(table: Tensor, *shape: int) -> bool:
    return math.prod(shape) * table.element_size() <= table.untyped_storage().nbytes()


def _like(table: CellTable, result: Tensor) -> CellTable:
    other = result.as_subclass(CellTable)
    other._parts = table._parts
    return other


def _joined(
    tables: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None
) -> Tensor | CellTable:
    """Rows after each other, padded with -1; ``out``, PyG's shared memory, where it fits."""
    if dim != 0 or any(table.dim() != 2 for table in tables):
        return torch.cat([table.as_subclass(Tensor) for table in tables], dim, out=out)
    parts = tuple((len(table), table.shape[1]) for table in tables)
    width = max(width for _, width in parts)
    padded = [
        pad(table.as_subclass(Tensor), (0, width - table.shape[1]), value=-1)
        if table.shape[1] < width
        else table.as_subclass(Tensor)
        for table in tables
    ]
    fits = out is not None and out.shape == (sum(rows for rows, _ in parts), width)
    joined = torch.cat(padded, out=out.as_subclass(Tensor) if fits and out is not None else None)
    result: CellTable = joined.as_subclass(CellTable)
    result._parts = parts
    return result


def _narrowed(
    table: CellTable, rows: Tensor, dim: int, start: int | Tensor, length: int
) -> Tensor | CellTable:
    if dim != 0:
        return rows
    first = 0
    for count, width in table._parts:
        if first == int(start) and count == length:
            rows = rows[:, :width]
            break
        first += count
    return rows.as_subclass(CellTable)
