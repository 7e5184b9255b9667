"""GraphLayout: the nodes and the edges of a batch, prepared once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lrsa_geo.nn.layout.edges import EdgeLayout, check_edges
from lrsa_geo.nn.layout.nodes import NodeLayout


@dataclass(frozen=True, eq=False)
class GraphLayout:
    """What all layers of a model need to know of a batch: its nodes, and its edges if it has some.

    A model takes it in the place of ``batch``, ``edge_index`` and ``measure``. A loader builds it
    where the sizes are known, on the CPU, and it moves along with the batch.

    Attributes:
        nodes: graphs, and measure of their nodes.
        edges: between packed rows; None if there are none.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import GeometryOperator, GraphLayout
        >>> pos, edge_index = torch.rand(5, 2), torch.tensor([[0, 1, 3], [1, 0, 4]])
        >>> layout = GraphLayout.of(pos, torch.tensor([0, 0, 0, 1, 1]), edge_index=edge_index)
        >>> model = GeometryOperator(0, 1, 2, channels=16, depth=2, heads=2, local="MeshConv")
        >>> model(None, pos, layout).shape
        torch.Size([5, 1])
    """

    nodes: NodeLayout
    edges: EdgeLayout | None = None

    @classmethod
    def of(
        cls,
        pos: Tensor,
        batch: Tensor | NodeLayout | GraphLayout | None = None,
        *,
        edge_index: Tensor | None = None,
        ptr: Tensor | None = None,
        batch_size: int | None = None,
        measure: Tensor | None = None,
        halo: Tensor | None = None,
    ) -> GraphLayout:
        """The layout of a batch of graphs.

        Args:
            pos: ``[R, D]`` positions of the nodes.
            batch, ptr, batch_size, measure: see :meth:`NodeLayout.of`. Messages from a node are
                weighted by its measure.
            edge_index: ``[2, E]`` from ``edge_index[0]`` to ``edge_index[1]``, numbered as ``pos``.
            halo: ``[R] bool``: nodes that are passive in the global layers, as those of measure 0
                are, and yet send messages, such as the surroundings of a part of a mesh.

        Raises:
            ValueError: shapes, types or values do not fit together.
        """
        sent = measure
        if halo is not None:
            if halo.shape != pos.shape[:1] or halo.dtype != torch.bool:
                raise ValueError(
                    f"`halo` has shape {list(halo.shape)} and type {halo.dtype}, expected"
                    f" [{len(pos)}] bool"
                )
            measure = pos.new_ones(len(pos)) if measure is None else measure
            measure = measure.masked_fill(halo, 0)
        given = {"ptr": ptr, "batch_size": batch_size, "measure": measure}
        if isinstance(batch, GraphLayout):
            extra = [name for name, value in given.items() if value is not None]
            extra += ["edge_index"] if edge_index is not None and batch.edges is not None else []
            if extra:
                raise ValueError(f"`batch` is a GraphLayout, which has {extra} in it")
            batch.nodes.check(pos)
            if edge_index is None or batch.edges is not None:
                return batch
            if batch.nodes.across is not None:
                raise ValueError(
                    "`batch` is the layout of a mesh of several processes, which has its own edges:"
                    " give `edge_index` to its Partition"
                )
            batch, given = batch.nodes, {}
        nodes = NodeLayout.of(pos, batch, **given)  # type: ignore[arg-type]
        if edge_index is None:
            return cls(nodes)
        if nodes.inverse is not None:
            check_edges(edge_index, len(pos))  # before it is an index
            edge_index = nodes.inverse[edge_index]
        graph = nodes.graph if nodes.num_graphs > 1 else None
        of_messages = nodes.measure
        if halo is not None:
            of_messages = None if sent is None else nodes.pack(sent)
        return cls(nodes, EdgeLayout(edge_index, nodes.pack(pos), of_messages, graph))

    def together(self) -> GraphLayout:
        """The layout for a compiled model, see :meth:`NodeLayout.together`."""
        return replace(self, nodes=self.nodes.together())

    def to(self, device: torch.device | str | None = None, **options: Any) -> GraphLayout:
        """The layout on another device; ``options`` are those of ``Tensor.to``."""
        edges = None if self.edges is None else self.edges.to(device, **options)
        return replace(self, nodes=self.nodes.to(device, **options), edges=edges)

    def pin_memory(self) -> GraphLayout:
        """The layout in page-locked memory, for a loader."""
        edges = None if self.edges is None else self.edges.pin_memory()
        return replace(self, nodes=self.nodes.pin_memory(), edges=edges)
