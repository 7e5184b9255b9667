"""Which rows belong to which graph, worked out once per batch.

Everything pointwise runs on *packed* rows, ``[R, C]``, the nodes of one graph after those of the
other. Only attention sees graphs, and it sees them as *blocks*: neighbouring graphs that share one
call, padded to the largest of them where they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# A call of attention costs as much as attending to this many more nodes would. Below that, padding
# a graph to share a call with its neighbour is cheaper than a call of its own; both figures follow
# from tests/benchmarks/test_batches.py, the GPU's has not been measured yet.
CALL_COST_NODES = {"cpu": 192, "cuda": 4096}


@dataclass(frozen=True, eq=False)
class Block:
    """Neighbouring graphs whose attention is computed in one call.

    Attributes:
        num_graphs: G.
        rows: packed rows of the block, R.
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

    def unpad(self, padded: Tensor) -> Tensor:
        """``[G, H, W, d]`` -> ``[R, H, d]``."""
        rows = padded.transpose(1, 2).flatten(0, 1)
        return rows if self.place_of_row is None else rows[self.place_of_row]


class NodeLayout:
    """The graphs of a batch, and how much each of their nodes counts.

    Build one with :meth:`of` and hand it to every layer in the place of ``batch``; a layer that is
    given a plain ``batch`` builds its own.

    Attributes:
        sizes: nodes of each graph.
        blocks: how attention walks through them.
        massless: ``[B]`` bool, graphs without a node of positive measure; None if there is none.
        share: ``[R]`` measure of each packed row over the mean of its graph's positive ones; None
            if all are 1.
        padding: ``[B, N]`` bool, rows that are no nodes; None unless a traced program keeps them.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        like: Tensor,
        measure: Tensor | None = None,
        order: Tensor | None = None,
        dense: tuple[int, int] | None = None,
        validate: bool = True,
    ) -> None:
        """Args:
        sizes: nodes of each graph, in the order of the packed rows.
        like: a tensor of the batch: its device decides the blocks, its dtype that of the bias.
        measure: ``[R]`` packed.
        order: ``[R]`` user's (flattened) row of each packed row; None if they are the same.
        dense: (B, N) if the user's tensors are dense.
        validate: check the values of ``measure`` (one synchronisation on a GPU).
        """
        self.sizes = tuple(sizes)
        self.order = order
        self.inverse = torch.argsort(order) if order is not None and dense is None else None
        self.dense = dense
        self.massless: Tensor | None = None
        self.padding: Tensor | None = None
        self.share = None if measure is None else self._share(measure, validate)
        log_measure = None if self.share is None else self.share.log()
        if 0 in self.sizes:
            empty = torch.tensor([size == 0 for size in self.sizes], device=like.device)
            self.massless = empty if self.massless is None else self.massless | empty
        self.blocks = self._make_blocks(like, log_measure)

    @classmethod
    def of(
        cls,
        x: Tensor,
        batch: Tensor | NodeLayout | None = None,
        *,
        mask: Tensor | None = None,
        measure: Tensor | None = None,
    ) -> NodeLayout:
        """The layout of node features, packed or dense.

        Args:
            x: ``[R, C]`` packed, or ``[B, N, C]`` dense.
            batch: ``[R]`` graph of each row, in any order; None for a single graph. A layout is
                checked against ``x`` and returned.
            mask: ``[B, N]`` bool, the places that hold a node; only with dense ``x``.
            measure: ``[R]`` or ``[B, N]``, >= 0: length, area or volume that a node stands for. A
                node of measure 0 is passive: it reads the field without influencing it.

        Raises:
            ValueError: shapes, types or values do not fit together.
        """
        if isinstance(batch, NodeLayout):
            if mask is not None or measure is not None:
                raise ValueError("`batch` is a NodeLayout, which has `mask` and `measure` in it")
            batch.check(x)
            return batch
        if x.dim() == 3:
            return cls._of_dense(x, batch, mask, measure)
        if x.dim() != 2:
            raise ValueError(
                f"`x` has shape {_shape(x)}, expected [nodes, channels] or [graphs, nodes,"
                " channels]"
            )
        if mask is not None:
            raise ValueError(
                f"`mask` goes with dense `x` [graphs, nodes, channels], found `x` {_shape(x)};"
                " give packed `x` a `batch` instead"
            )
        _check_measure(measure, x.shape[:1])
        return cls._of_packed(x, batch, measure)

    @classmethod
    @torch.compiler.disable  # its sizes are values of a tensor: nothing in it can be traced
    def _of_packed(cls, x: Tensor, batch: Tensor | None, measure: Tensor | None) -> NodeLayout:
        if batch is None:
            return cls([len(x)], like=x, measure=measure)
        if batch.shape != x.shape[:1] or batch.is_floating_point() or batch.dtype == torch.bool:
            raise ValueError(
                f"`batch` has shape {_shape(batch)} and type {batch.dtype}, expected [{len(x)}]"
                " integers, one per row of `x`"
            )
        order = None
        if len(batch):
            if int(batch.min()) < 0:
                raise ValueError(f"`batch` holds {int(batch.min())}, expected graph numbers >= 0")
            if bool((batch[1:] < batch[:-1]).any()):
                order = torch.argsort(batch, stable=True)
        sizes = torch.bincount(batch).tolist() or [0]
        if measure is not None and order is not None:
            measure = measure[order]
        return cls(sizes, like=x, measure=measure, order=order)

    @classmethod
    def _of_dense(
        cls, x: Tensor, batch: Tensor | None, mask: Tensor | None, measure: Tensor | None
    ) -> NodeLayout:
        num_graphs, num_places, _ = x.shape
        if batch is not None:
            also = " (and `mask` as well)" if mask is not None else ""
            raise ValueError(
                f"`batch`{also} with dense `x` {_shape(x)}: dense `x` takes `mask`, packed `x`"
                " [nodes, channels] takes `batch`"
            )
        if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
            raise ValueError(
                f"`mask` has shape {_shape(mask)} and type {mask.dtype}, expected"
                f" [{num_graphs}, {num_places}] bool, like the first two axes of `x`"
            )
        _check_measure(measure, x.shape[:2])
        dense = (num_graphs, num_places)
        uniform = [num_places] * num_graphs
        if torch.compiler.is_compiling():
            # The shapes must not depend on the values of the mask: padding is a passive node.
            if mask is not None:
                ones = mask.to(x.dtype)
                measure = ones if measure is None else measure * ones
            flat = None if measure is None else measure.flatten()
            layout = cls(uniform, like=x, measure=flat, dense=dense, validate=False)
            layout.padding = None if mask is None else ~mask
            return layout
        flat = None if measure is None else measure.flatten()
        if mask is None or bool(mask.all()):
            return cls(uniform, like=x, measure=flat, dense=dense)
        order = mask.flatten().nonzero().squeeze(1)
        packed = None if flat is None else flat[order]
        return cls(mask.sum(1).tolist(), like=x, measure=packed, order=order, dense=dense)

    @property
    def num_graphs(self) -> int:
        """B."""
        return len(self.sizes)

    @property
    def rows(self) -> int:
        """Packed rows of all graphs."""
        return sum(self.sizes)

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless ``x`` has the shape this layout was made for."""
        if self.dense is not None:
            fits, expected = x.shape[:-1] == self.dense, [*self.dense, "channels"]
        else:
            fits, expected = x.shape[:-1] == (self.rows,), [self.rows, "channels"]
        if not fits:
            raise ValueError(f"`x` has shape {_shape(x)}, its NodeLayout expects {expected}")

    def pack(self, x: Tensor) -> Tensor:
        """The user's tensor ``[R, C]`` or ``[B, N, C]`` -> packed rows ``[R, C]``."""
        if self.dense is not None:
            x = x.flatten(0, 1)
        return x if self.order is None else x[self.order]

    def unpack(self, rows: Tensor) -> Tensor:
        """The inverse of :meth:`pack`; places without a node get zeros."""
        if self.dense is None:
            return rows if self.inverse is None else rows[self.inverse]
        if self.order is not None:
            places = rows.new_zeros(self.dense[0] * self.dense[1], rows.shape[-1])
            rows = places.index_copy(0, self.order, rows)
        x = rows.unflatten(0, self.dense)
        return x if self.padding is None else x.masked_fill(self.padding[..., None], 0)

    def graph_of_row(self, device: torch.device) -> Tensor:
        """``[R]`` graph number of each packed row."""
        sizes = torch.tensor(self.sizes, device=device)
        return torch.repeat_interleave(sizes, output_size=self.rows)

    def split(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Packed rows -> the rows of each block."""
        return rows.split([block.rows for block in self.blocks])

    def split_graphs(self, per_graph: Tensor) -> tuple[Tensor, ...]:
        """``[B, ...]`` -> the graphs of each block."""
        return per_graph.split([block.num_graphs for block in self.blocks])

    def _share(self, measure: Tensor, validate: bool) -> Tensor:
        """w_i over the mean of those > 0: softmax ignores it, low precision does not."""
        if validate and len(measure) and not bool((measure >= 0).all() & measure.isfinite().all()):
            bad = int((~((measure >= 0) & measure.isfinite())).nonzero()[0])
            raise ValueError(
                f"`measure` holds {float(measure[bad])} at node {bad} of {len(measure)}, expected"
                " finite numbers >= 0"
            )
        if self.dense is not None and self.order is None:
            per_graph = measure.unflatten(0, self.dense)
            total = per_graph.sum(1)
            heard = (per_graph > 0).sum(1).clamp(min=1)
            mean = (total / heard)[:, None].expand_as(per_graph).flatten()
        else:
            graph = self.graph_of_row(measure.device)
            total = measure.new_zeros(self.num_graphs).index_add(0, graph, measure)
            heard = total.new_zeros(self.num_graphs).index_add(0, graph, (measure > 0).to(total))
            mean = (total / heard.clamp(min=1))[graph]
        massless = total == 0
        if not validate or bool(massless.any()):
            self.massless = massless
            # Such a graph's weights do not matter, its latents are set to zero: but no NaN.
            no_mass = mean == 0
            measure, mean = measure.masked_fill(no_mass, 1), mean.masked_fill(no_mass, 1)
        return measure / mean

    def _make_blocks(self, like: Tensor, log_measure: Tensor | None) -> list[Block]:
        blocks, first_row = [], 0
        for sizes in _runs(self.sizes, CALL_COST_NODES.get(like.device.type, 0)):
            rows, width = sum(sizes), max(sizes)
            bias = None
            if log_measure is not None:
                bias = log_measure[first_row : first_row + rows].to(like.dtype)
            first_row += rows
            if rows == len(sizes) * width:
                shaped = None if bias is None else bias.view(len(sizes), 1, 1, width)
                blocks.append(Block(len(sizes), rows, width, bias=shaped))
                continue
            number = torch.arange(width, device=like.device).expand(len(sizes), width)
            size = torch.tensor(sizes, device=like.device)[:, None]
            is_node = number < size
            place_of_row = is_node.flatten().nonzero().squeeze(1)
            row_of_place = (is_node.flatten().cumsum(0) - 1).clamp(min=0)
            # A graph with no node attends to its padding rather than to nothing, which is NaN.
            padded = torch.zeros(len(sizes), width, dtype=like.dtype, device=like.device)
            padded = padded.masked_fill(~is_node & (size > 0), -torch.inf)
            if bias is not None:
                padded = padded.flatten().index_copy(0, place_of_row, bias)
            padded = padded.view(len(sizes), 1, 1, width)
            blocks.append(Block(len(sizes), rows, width, place_of_row, row_of_place, padded))
        return blocks


class NodeModule(nn.Module):
    """A module that mixes the C channels of the nodes of each graph, packed or dense.

    What it does is in :meth:`mix`, on packed rows; :meth:`forward` brings the user's tensors there
    and back.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(
        self,
        x: Tensor,
        batch: Tensor | NodeLayout | None = None,
        *,
        mask: Tensor | None = None,
        measure: Tensor | None = None,
    ) -> Tensor:
        """Mix the nodes of each graph.

        Args:
            x: node features.
            batch: graph of each packed node, sorted or not (None: one graph), or a ready
                :class:`NodeLayout`, worth building once when several layers see the same batch.
            mask: which places of a dense ``x`` hold nodes; the others give zeros.
            measure: quadrature weight of each node, default 1.

        Raises:
            ValueError: ``x`` has another width, or see :meth:`NodeLayout.of`.
        """
        if x.dim() < 1 or x.shape[-1] != self.channels:
            raise ValueError(
                f"`x` has shape {_shape(x)}, expected {self.channels} channels in its last axis"
            )
        layout = NodeLayout.of(x, batch, mask=mask, measure=measure)
        return layout.unpack(self.mix(layout.pack(x), layout))

    def mix(self, rows: Tensor, layout: NodeLayout) -> Tensor:
        """Packed rows ``[R, C]`` -> ``[R, C]``."""
        raise NotImplementedError


def _runs(sizes: Sequence[int], call_cost: int) -> list[list[int]]:
    """Cut the sizes into runs of neighbours that are cheaper together, padded, than apart."""
    runs: list[list[int]] = []
    for size in sizes:
        if runs:
            together = [*runs[-1], size]
            padding = len(together) * max(together) - sum(together)
            before = len(runs[-1]) * max(runs[-1]) - sum(runs[-1])
            if padding - before <= call_cost:
                runs[-1] = together
                continue
        runs.append([size])
    return runs


def _check_measure(measure: Tensor | None, shape: torch.Size) -> None:
    if measure is not None and (measure.shape != shape or not measure.is_floating_point()):
        raise ValueError(
            f"`measure` has shape {_shape(measure)} and type {measure.dtype}, expected"
            f" {list(shape)} floating point, one number per node of `x`"
        )


def _shape(x: Tensor) -> str:
    return str(list(x.shape))
