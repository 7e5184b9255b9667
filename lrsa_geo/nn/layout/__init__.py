"""Which rows and edges belong to which graph, worked out once per batch for all layers.

Everything pointwise runs on *packed* rows, ``[R, C]``, the nodes of one graph after those of the
other. Only attention sees graphs (:class:`NodeLayout`), only message passing sees edges
(:class:`EdgeLayout`); :class:`GraphLayout` is both. A loader builds it where the sizes are known,
on the CPU, and moves it with the batch: no layer then waits for a GPU.
"""

from lrsa_geo.nn.layout.across import Across, Parts
from lrsa_geo.nn.layout.edges import EdgeLayout
from lrsa_geo.nn.layout.graph import GraphLayout
from lrsa_geo.nn.layout.nodes import NodeLayout

__all__ = ["Across", "EdgeLayout", "GraphLayout", "NodeLayout", "Parts"]
