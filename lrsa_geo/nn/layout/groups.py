"""Neighbouring graphs that share one padded call of attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

# A call of attention costs as much as attending to this many more nodes would. Below that, padding
# a graph to share a call with its neighbour is cheaper than a call of its own; both figures follow
# from tests/benchmarks/test_batches.py, the GPU's has not been measured yet.
CALL_COST_NODES = {"cpu": 192, "cuda": 4096}


@dataclass(frozen=True, eq=False)
class Group:
    """Neighbouring graphs whose attention is computed in one call.

    Attributes:
        num_graphs: G.
        rows: packed rows of the group, R.
        width: nodes of its largest graph, W.
        place_of_row: ``[R]`` where each row goes among the G * W padded places; None if R = G * W.
        row_of_place: ``[G * W]`` the row at each place (the last one again where there is none).
        bias: ``[G, 1, 1, W]`` added to the logits of the nodes, or None for zero.
    """

    num_graphs: int
    rows: int
    width: int
    place_of_row: Tensor | None = None
    row_of_place: Tensor | None = None
    bias: Tensor | None = None

    def pad(self, rows: Tensor) -> Tensor:
        """``[R, H, d]`` -> ``[G, H, W, d]``."""
        if self.row_of_place is not None:
            rows = rows[self.row_of_place]
        return rows.unflatten(0, (self.num_graphs, self.width)).transpose(1, 2)

    def pad_with_zeros(self, rows: Tensor) -> Tensor:
        """:meth:`pad` with zeros where there is no node; graphs without any stay as padded."""
        padded = self.pad(rows)
        if self.row_of_place is None or self.bias is None:
            return padded
        no_node = self.bias.mT == -torch.inf  # or a passive one
        return padded.masked_fill(no_node, 0)

    def unpad(self, padded: Tensor) -> Tensor:
        """``[G, H, W, d]`` -> ``[R, H, d]``."""
        rows = padded.transpose(1, 2).flatten(0, 1)
        return rows if self.place_of_row is None else rows[self.place_of_row]

    def map(self, change: Callable[[Tensor], Tensor]) -> Group:
        """The group with each of its tensors changed, such as moved to a device."""
        if self.bias is None:
            return self
        if self.place_of_row is None or self.row_of_place is None:
            return replace(self, bias=change(self.bias))
        places = change(self.place_of_row), change(self.row_of_place)
        return replace(self, place_of_row=places[0], row_of_place=places[1], bias=change(self.bias))


def make_groups(
    sizes: Sequence[int], call_cost: float, like: Tensor, bias: Tensor | None
) -> list[Group]:
    """Group graphs of these sizes, in their order.

    Args:
        sizes: nodes of each graph.
        call_cost: nodes whose attention costs as much as a call, see :data:`CALL_COST_NODES`.
        like: device and type of the padded bias.
        bias: ``[R]`` added to the logits of each node, or None for zero.
    """
    groups, first_row = [], 0
    for run in runs(sizes, call_cost):
        rows, width = sum(run), max(run)
        of_rows = None if bias is None else bias[first_row : first_row + rows]
        first_row += rows
        if rows == len(run) * width:
            shaped = None if of_rows is None else of_rows.view(len(run), 1, 1, width)
            groups.append(Group(len(run), rows, width, bias=shaped))
            continue
        number = torch.arange(width, device=like.device).expand(len(run), width)
        size = torch.tensor(run, device=like.device)[:, None]
        is_node = number < size
        place_of_row = is_node.flatten().nonzero().squeeze(1)
        row_of_place = (is_node.flatten().cumsum(0) - 1).clamp(min=0)
        # A graph with no node attends to its padding rather than to nothing, which is NaN.
        padded = torch.zeros(len(run), width, dtype=like.dtype, device=like.device)
        padded = padded.masked_fill(~is_node & (size > 0), -torch.inf)
        if of_rows is not None:
            padded = padded.flatten().index_copy(0, place_of_row, of_rows.to(padded.dtype))
        shaped = padded.view(len(run), 1, 1, width)
        groups.append(Group(len(run), rows, width, place_of_row, row_of_place, shaped))
    return groups


def runs(sizes: Sequence[int], call_cost: float) -> list[list[int]]:
    """Cut the sizes into runs of neighbours that are cheaper together, padded, than apart.

    Graphs of one size that follow each other are taken at once: O(B) for any number of them.
    """
    found: list[list[int]] = []
    width = 0
    for size, same in groupby(sizes):
        count = len(list(same))
        # Padding that the first of them adds; the others then add the same, or none.
        added = width - size if size <= width else len(found[-1]) * (size - width) if found else 0
        if found and added <= call_cost:
            found[-1] += [size] * count
            width = max(width, size)
        else:
            found.append([size] * count)
            width = size
    return found
