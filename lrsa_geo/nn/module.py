"""NodeModule: packed or dense tensors in and out of a layer that works on packed rows."""

from __future__ import annotations

from torch import Tensor, nn

from lrsa_geo.nn.attention import with_second_derivatives
from lrsa_geo.nn.layout import GraphLayout, NodeLayout


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
        batch: Tensor | NodeLayout | GraphLayout | None = None,
        *,
        ptr: Tensor | None = None,
        batch_size: int | None = None,
        mask: Tensor | None = None,
        measure: Tensor | None = None,
    ) -> Tensor:
        """Mix the nodes of each graph.

        Args:
            x: node features.
            batch: graph of each packed node, sorted or not (None: one graph), or a ready
                :class:`NodeLayout` or :class:`GraphLayout`, worth building once when several
                layers see the same batch.
            ptr: first row of each graph, as in a PyG ``Batch``; saves counting.
            batch_size: number of graphs, where the last ones may have no nodes.
            mask: which places of a dense ``x`` hold nodes; the others give zeros.
            measure: quadrature weight of each node, default 1.

        Raises:
            ValueError: ``x`` has another width, or see :meth:`NodeLayout.of`.
        """
        if x.dim() < 1 or x.shape[-1] != self.channels:
            raise ValueError(
                f"`x` has shape {list(x.shape)}, expected {self.channels} channels in its last axis"
            )
        nodes = batch.nodes if isinstance(batch, GraphLayout) else batch
        layout = NodeLayout.of(x, nodes, ptr=ptr, batch_size=batch_size, mask=mask, measure=measure)
        if layout.across is not None:
            layout.across.check(self)
        inputs = (x, layout.measure)
        rows = with_second_derivatives(inputs, self.mix, layout.pack(x), layout)
        return layout.unpack(rows)

    def mix(self, rows: Tensor, layout: NodeLayout) -> Tensor:
        """Packed rows ``[R, C]`` -> ``[R, C]``."""
        raise NotImplementedError
