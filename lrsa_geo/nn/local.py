"""A convolution over neighbours behind a norm, of ours or of PyTorch Geometric."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch_geometric.nn
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from lrsa_geo.nn.grid_conv import GridConv
from lrsa_geo.nn.layout import EdgeLayout, NodeLayout
from lrsa_geo.nn.mesh_conv import MeshConv
from lrsa_geo.nn.pointwise import RMSNorm, reset_children
from lrsa_geo.nn.registry import build

_OWN: dict[str, Callable[..., nn.Module]] = {"MeshConv": MeshConv, "GridConv": GridConv}

Conv = str | nn.Module | Callable[..., nn.Module]
"""A convolution: its name, a class or factory, or an instance to copy; see :class:`LocalLayer`."""


class LocalLayer(nn.Module):
    r"""A convolution over neighbours behind a norm: :math:`\mathrm{Conv}(\mathrm{Norm}(h))`.

    A class or factory is called with those of ``channels``, ``in_channels``, ``out_channels``,
    ``pos_dim`` and ``edge_dim`` that its signature names. The convolution's ``forward`` may be that
    of PyG, ``(x, edge_index)``, with ``edge_attr`` if it takes that; ``(x, pos, edges)`` with an
    :class:`EdgeLayout`, as :class:`MeshConv` has it; or ``(x, layout)`` with a :class:`NodeLayout`
    and without edges, as :class:`GridConv` has it.

    Args:
        conv: "MeshConv", "GridConv" or the name of a convolution of ``torch_geometric.nn``; a class
            or a factory; or an instance, of which this layer takes a copy with new weights.
        channels: C, of its input and its output.
        pos_dim: D.
        options: further arguments of a class or factory by name.

    Raises:
        ValueError: there is no such convolution, or it does not map C to C channels.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import EdgeLayout, LocalLayer
        >>> pos = torch.rand(4, 2)
        >>> edges = EdgeLayout(torch.tensor([[0, 1, 2], [1, 0, 3]]), pos)
        >>> LocalLayer("SAGEConv", channels=8, pos_dim=2)(torch.randn(4, 8), pos, edges).shape
        torch.Size([4, 8])
    """

    def __init__(
        self,
        conv: Conv,
        channels: int,
        pos_dim: int,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.norm = RMSNorm(channels)
        self.conv = _make_conv(conv, channels, pos_dim, options)
        takes = inspect.signature(self.conv.forward).parameters
        self._takes_layout, self._takes_attr = "edges" in takes, "edge_attr" in takes
        self.needs_edges = _reads_edges(self.conv)

    def reset_parameters(self) -> None:
        """Draw new weights."""
        reset_children(self)

    def forward(
        self,
        rows: Tensor,
        pos: Tensor | None = None,
        edges: EdgeLayout | None = None,
        layout: NodeLayout | None = None,
    ) -> Tensor:
        """``[N, C]`` -> ``[N, C]``; which of the others it needs, ``needs_edges`` says.

        Raises:
            ValueError: what it needs is not given.
        """
        rows = self.norm(rows)
        if not self.needs_edges:
            return self.conv(rows, layout)
        if edges is None:
            raise ValueError("a block with a local layer needs edges: give them to `mix`")
        if self._takes_layout:
            return self.conv(rows, pos, edges)
        if self._takes_attr:
            return self.conv(rows, edges.edge_index, edge_attr=edges.edge_attr)
        return self.conv(rows, edges.edge_index)

    @property
    def hops(self) -> int:
        """How often it passes messages on: 1, but for convolutions of PyG over several hops."""
        return max(1, *(int(getattr(self.conv, name, 1)) for name in ("K", "num_layers")))

    @torch.no_grad()
    def scale_output(self, factor: float) -> None:
        """Multiply what our own layers give; other convolutions are left as they start."""
        if isinstance(self.conv, MeshConv):
            self.conv.out.weight.mul_(factor)
        elif isinstance(self.conv, GridConv):
            self.conv.conv.weight.mul_(factor)


def needs_edges(name: str) -> bool:
    """Whether the local layer of this name reads the edges of a mesh.

    Raises:
        ValueError: there is no such convolution.
    """
    return _reads_edges(_named(name))


def _reads_edges(conv: Any) -> bool:
    return "layout" not in inspect.signature(conv.forward).parameters


def _make_conv(
    conv: Conv, channels: int, pos_dim: int, options: Mapping[str, Any] | None
) -> nn.Module:
    if isinstance(conv, nn.Module):
        if options:
            raise ValueError(
                f"`local` is a layer that is made already; `local_options` {options} would be lost"
            )
        made = copy.deepcopy(conv)
    else:
        kind = _named(conv) if isinstance(conv, str) else conv
        given: dict[str, Any] = {
            "channels": channels,
            "in_channels": channels,
            "out_channels": channels,
            "pos_dim": pos_dim,
            "edge_dim": pos_dim + 1,
        }
        made = build(kind, given, "local", options)
    sizes = [getattr(made, f"{side}_channels", channels) for side in ("in", "out")]
    if sizes != [channels, channels]:
        raise ValueError(
            f"`local` maps {sizes[0]} channels to {sizes[1]}, expected {channels} each"
        )
    return made


def _named(name: str) -> Callable[..., nn.Module]:
    if name in _OWN:
        return _OWN[name]
    kind = getattr(torch_geometric.nn, name, None)
    if not (inspect.isclass(kind) and issubclass(kind, MessagePassing)):
        raise ValueError(
            f"`local` is '{name}', expected 'MeshConv', 'GridConv' or a convolution of"
            " torch_geometric.nn, such as 'SAGEConv' or 'GATv2Conv'"
        )
    named: Any = kind
    return named
