"""NodeLayout: which rows of a batch belong to which graph, and how much each node counts."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lrsa_geo.nn.layout import rows as rows_of
from lrsa_geo.nn.layout.across import Across
from lrsa_geo.nn.layout.groups import CALL_COST_NODES, Group, make_groups


class NodeLayout:
    """The graphs of a batch, and how much each of their nodes counts.

    Build one with :meth:`of` and hand it to every layer in the place of ``batch``; a layer that is
    given a plain ``batch`` builds its own.

    Attributes:
        sizes: nodes of each graph.
        groups: how attention walks through them.
        measure: ``[R]`` of each packed row as it was given; None if all are 1.
        share: ``[R]`` measure over the mean of its graph's positive ones; None if all are 1.
        total: ``[B]`` sum of the measure of each graph; None with ``measure``.
        heard: ``[B]`` number of nodes with a positive measure; None with ``measure``.
        massless: ``[B]`` bool, graphs without a node of positive measure; None if there is none.
        padding: ``[B, N]`` bool, rows that are no nodes; None unless a traced program keeps them.
        dense: (B, N) if the user's tensors are dense.
        across: where the other nodes of a graph are, if several processes share it.
        one_call: all graphs are padded into one call of attention, see :meth:`together`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import LRSABlock, NodeLayout
        >>> x, batch = torch.randn(7, 16), torch.tensor([0, 0, 0, 1, 1, 1, 1])
        >>> layout = NodeLayout.of(x, batch)
        >>> layout.sizes
        (3, 4)
        >>> for block in [LRSABlock(16, 2, 4), LRSABlock(16, 2, 4)]:
        ...     x = block(x, layout)
        >>> x.shape
        torch.Size([7, 16])
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
        like: a tensor of the batch: its device decides the groups, its dtype that of the bias.
        measure: ``[R]`` packed.
        order: ``[R]`` user's (flattened) row of each packed row; None if they are the same.
        dense: (B, N) if the user's tensors are dense.
        validate: check the values of ``measure`` (one synchronisation on a GPU).
        """
        self.sizes = tuple(sizes)
        self.rows = sum(self.sizes)
        self.order = order
        self.inverse = torch.argsort(order) if order is not None and dense is None else None
        self.dense = dense
        self.massless: Tensor | None = None
        self.padding: Tensor | None = None
        # Wherever it is read, the measure of a passive node has the gradient 0.
        self.measure = None if measure is None else measure.masked_fill(measure == 0, 0)
        self.across: Across | None = None
        self.one_call = False
        self.share: Tensor | None = None
        self.total: Tensor | None = None
        self.heard: Tensor | None = None
        self._graph: Tensor | None = None
        self._count: Tensor | None = None
        self._like = like.new_empty(0)
        if self.measure is not None:
            self._take_measure(self.measure, validate)
        if 0 in self.sizes:
            empty = self.count == 0
            self.massless = empty if self.massless is None else self.massless | empty
        self.groups = self._make_groups(like.device.type)

    @classmethod
    def of(
        cls,
        x: Tensor,
        batch: Tensor | NodeLayout | None = None,
        *,
        ptr: Tensor | None = None,
        batch_size: int | None = None,
        mask: Tensor | None = None,
        measure: Tensor | None = None,
    ) -> NodeLayout:
        """The layout of node features, packed or dense.

        Args:
            x: ``[R, C]`` packed, or ``[B, N, C]`` dense.
            batch: ``[R]`` graph of each row, in any order; None for a single graph. A layout is
                checked against ``x`` and returned.
            ptr: ``[B + 1]`` first row of each graph, instead of ``batch`` or with it, as in a PyG
                ``Batch``: graphs without nodes count, and nothing has to be counted.
            batch_size: B, where the last graphs may have no nodes.
            mask: ``[B, N]`` bool, the places that hold a node; only with dense ``x``.
            measure: ``[R]`` or ``[B, N]``, >= 0: length, area or volume that a node stands for. A
                node of measure 0 is passive: it reads the field without influencing it.

        Raises:
            ValueError: shapes, types or values do not fit together.
        """
        if isinstance(batch, NodeLayout):
            if any(given is not None for given in (ptr, batch_size, mask, measure)):
                raise ValueError("`batch` is a NodeLayout, which has `mask` and `measure` in it")
            batch.check(x)
            return batch
        if x.dim() == 3:
            if ptr is not None or batch_size is not None:
                raise ValueError(
                    f"`ptr` and `batch_size` go with packed `x`, found dense `x` {list(x.shape)}"
                )
            return cls._of_dense(x, batch, mask, measure)
        if x.dim() != 2:
            raise ValueError(
                f"`x` has shape {list(x.shape)}, expected [nodes, channels] or [graphs, nodes,"
                " channels]"
            )
        if mask is not None:
            raise ValueError(
                f"`mask` goes with dense `x` [graphs, nodes, channels], found `x` {list(x.shape)};"
                " give packed `x` a `batch` instead"
            )
        rows_of.check_measure(measure, x.shape[:1])
        sizes, order = rows_of.sizes_and_order(x, batch, ptr, batch_size)
        if measure is not None and order is not None:
            measure = measure[order]
        return cls(sizes, like=x, measure=measure, order=order)

    @classmethod
    def _of_dense(
        cls, x: Tensor, batch: Tensor | None, mask: Tensor | None, measure: Tensor | None
    ) -> NodeLayout:
        rows_of.check_dense(x, batch, mask, measure)
        num_graphs, num_places, _ = x.shape
        dense = (num_graphs, num_places)
        uniform = [num_places] * num_graphs
        if torch.compiler.is_compiling() and mask is not None:
            # The shapes must not depend on the values of the mask: padding is a passive node.
            ones = mask.to(x.dtype)
            measure = ones if measure is None else measure * ones
            layout = cls(uniform, like=x, measure=measure.flatten(), dense=dense, validate=False)
            layout.padding = ~mask
            return layout
        flat = None if measure is None else measure.flatten()
        if mask is None or bool(mask.all()):
            validate = not torch.compiler.is_compiling()
            return cls(uniform, like=x, measure=flat, dense=dense, validate=validate)
        order = mask.flatten().nonzero().squeeze(1)
        packed = None if flat is None else flat[order]
        return cls(mask.sum(1).tolist(), like=x, measure=packed, order=order, dense=dense)

    @property
    def num_graphs(self) -> int:
        """B."""
        return len(self.sizes)

    @property
    def graph(self) -> Tensor:
        """``[R]`` graph number of each packed row."""
        if self._graph is None:
            self._graph = torch.repeat_interleave(self.count, output_size=self.rows)
        return self._graph

    @property
    def count(self) -> Tensor:
        """``[B]`` nodes of each graph."""
        if self._count is None:
            self._count = torch.tensor(self.sizes, device=self._like.device)
        return self._count

    @property
    def mean_measure(self) -> Tensor | None:
        """``[B]`` mean of the positive measures of each graph; None with ``measure``."""
        if self.total is None or self.heard is None:
            return None
        return self.total / self.heard.clamp(min=1)

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless ``x`` has the shape and device this layout was made for."""
        if self.dense is not None:
            fits, expected = x.shape[:-1] == self.dense, [*self.dense, "channels"]
        else:
            fits, expected = x.shape[:-1] == (self.rows,), [self.rows, "channels"]
        if not fits:
            raise ValueError(f"`x` has shape {list(x.shape)}, its NodeLayout expects {expected}")
        if x.device != self._like.device:
            raise ValueError(
                f"`x` is on {x.device}, its NodeLayout on {self._like.device}; move the layout with"
                " `.to(device)`"
            )

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

    def split(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Packed rows -> the rows of each group."""
        if len(self.groups) == 1:
            return (rows,)  # the gradient of a split is a copy
        return rows.split([group.rows for group in self.groups])

    def split_graphs(self, per_graph: Tensor) -> tuple[Tensor, ...]:
        """``[B, ...]`` -> the graphs of each group."""
        if len(self.groups) == 1:
            return (per_graph,)
        return per_graph.split([group.num_graphs for group in self.groups])

    def together(self) -> NodeLayout:
        """The layout with all graphs padded into one call of attention, whatever that costs.

        What is compiled depends on how many calls there are, and which of them are padded. So
        batches take one form, or two: graphs of one size, and of several.
        """
        one = copy.copy(self)
        _ = one.graph  # is there from the first call on
        one.one_call = True
        if len(one.groups) > 1:
            one.groups = one._make_groups(self._like.device.type)
        return one

    def to(self, device: torch.device | str | None = None, **options: Any) -> NodeLayout:
        """The layout on another device; ``options`` are those of ``Tensor.to``."""
        _ = self.graph  # made here, where making it waits for nothing
        moved = self._map(lambda tensor: tensor.to(device=device, **options))
        if moved._like.device.type != self._like.device.type:  # calls cost something else there
            there = moved._like.device
            moved.groups = [
                group.map(lambda tensor: tensor.to(device=there, **options))
                for group in self._make_groups(there.type)
            ]
        return moved

    def pin_memory(self) -> NodeLayout:
        """The layout in page-locked memory, for a loader."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> NodeLayout:
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, change(value))
        moved.groups = [group.map(change) for group in self.groups]
        return moved

    def _make_groups(self, device_type: str) -> list[Group]:
        bias = None
        if self.share is not None:
            # A passive node's logit is -inf; its measure gets the gradient 0, not NaN.
            tiny = torch.finfo(self.share.dtype).tiny
            bias = torch.where(self.share > 0, self.share.clamp(min=tiny).log(), -torch.inf)
        call_cost = math.inf if self.one_call else CALL_COST_NODES.get(device_type, 0)
        return make_groups(self.sizes, call_cost, self._like, bias)

    def _take_measure(self, measure: Tensor, validate: bool) -> None:
        """w_i over the mean of those > 0: softmax ignores it, low precision does not."""
        if validate:
            rows_of.check_weights(measure)
        # Half precision ends at some thousands of nodes.
        measure = measure.to(torch.promote_types(measure.dtype, torch.float32))
        positive = (measure > 0).to(measure)
        if self.dense is not None and self.order is None:  # nothing here depends on the values
            total = measure.unflatten(0, self.dense).sum(1)
            heard = positive.unflatten(0, self.dense).sum(1)
        else:
            zeros = measure.new_zeros(self.num_graphs)
            total = zeros.index_add(0, self.graph, measure)
            heard = zeros.index_add(0, self.graph, positive)
        self.total, self.heard = total, heard
        mean = self.mean_measure
        assert mean is not None
        if self.dense is not None and self.order is None:
            of_row = mean[:, None].expand(self.dense).flatten()
        else:
            of_row = mean[self.graph]
        massless = total == 0
        if not validate or bool(massless.any()):
            self.massless = massless
            # Such a graph's weights do not matter, its latents are set to zero: but no NaN.
            no_mass = of_row == 0
            measure, of_row = measure.masked_fill(no_mass, 1), of_row.masked_fill(no_mass, 1)
        self.share = measure / of_row
