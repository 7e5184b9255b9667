"""The low-rank template: compress nodes into latents, process these, reconstruct at the nodes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from lrsa_geo.nn.layout import NodeLayout, Parts
from lrsa_geo.nn.module import NodeModule
from lrsa_geo.nn.pointwise import Linear, modulate

Self = TypeVar("Self", bound="Summary")


class Summary(Protocol):
    """What compress gathers over nodes: the summary of two sets of nodes is the sum of theirs."""

    def __add__(self: Self, other: Self) -> Self:
        """The summary of the nodes of both."""

    def total(self: Self, parts: Parts) -> Self:
        """The sum of the summaries of all parts of the graphs, by sums of tensors."""


@dataclass(frozen=True)
class WeightedSums:
    """Sums over nodes, with which weighted means are worked out; see :class:`Summary`.

    Attributes:
        values: ``[B, H, M, d]`` sum_i w_i s_im v_i.
        weights: ``[B, H, M]`` sum_i w_i s_im.
        measure: ``[B]`` sum_i w_i.
        heard: ``[B]`` number of nodes with w_i > 0.
    """

    values: Tensor
    weights: Tensor
    measure: Tensor
    heard: Tensor

    def __add__(self, other: WeightedSums) -> WeightedSums:
        """The sums over the nodes of both."""
        return WeightedSums(
            self.values + other.values,
            self.weights + other.weights,
            self.measure + other.measure,
            self.heard + other.heard,
        )

    def total(self, parts: Parts) -> WeightedSums:
        """The sums over the nodes of all parts."""
        return WeightedSums(*parts.sum(self.values, self.weights, self.measure, self.heard))

    @classmethod
    def over(cls, weights: Tensor, values: Tensor, layout: NodeLayout) -> WeightedSums:
        """The sums over each graph of a layout.

        Args:
            weights: ``[R, H, M]`` s, packed.
            values: ``[R, H, d]`` v, packed.
            layout: the graphs, with their measures w.
        """
        if layout.measure is not None:
            weights = weights * layout.measure[:, None, None].to(weights.dtype)
        products, sums = [], []
        parts = zip(layout.groups, layout.split(weights), layout.split(values), strict=True)
        for group, of_group, v in parts:
            w = group.pad_with_zeros(of_group)
            products.append(product(w.mT, group.pad(v)))
            sums.append(w.sum(2))
        of_values, of_weights = joined(products), joined(sums)
        if layout.massless is not None:
            of_values = of_values.masked_fill(layout.massless[:, None, None, None], 0)
            of_weights = of_weights.masked_fill(layout.massless[:, None, None], 0)
        counted = torch.promote_types(values.dtype, torch.float32)  # float16 ends at 65,504 nodes
        if layout.total is None or layout.heard is None:
            total = heard = layout.count.to(counted)
        else:
            total, heard = layout.total.to(counted), layout.heard.to(counted)
        return cls(of_values, of_weights, total, heard)


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` over two batch axes, ``[G, H, ., .]``, of which ``a`` is the larger one.

    ``torch.matmul`` copies operands whose batch axes are not next to each other in memory, as those
    of packed rows are not. Here one axis alone is walked by ``bmm``, which takes views; both as one
    where ``a`` has the heads outermost; or the shorter one step by step.
    """
    if a.shape[0] == 1:
        return torch.bmm(a.squeeze(0), b.squeeze(0)).unsqueeze(0)
    graphs, heads = a.shape[:2]
    if a.stride(1) == graphs * a.stride(0):
        a, b = a.transpose(0, 1).flatten(0, 1), b.transpose(0, 1).flatten(0, 1)
        return torch.bmm(a, b).unflatten(0, (heads, graphs)).transpose(0, 1)
    axis = 0 if graphs <= heads else 1
    parts = zip(a.unbind(axis), b.unbind(axis), strict=True)
    return torch.stack([one @ other for one, other in parts], dim=axis)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """The parts below each other; a single one as it is, which ``torch.cat`` would copy."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def head_width(channels: int, heads: int, num_latents: int = 1) -> int:
    """Channels of each head.

    Raises:
        ValueError: a size is less than 1, or the heads do not share the channels evenly.
    """
    sizes = {"channels": channels, "heads": heads, "num_latents": num_latents}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"`{name}` is {size}, expected at least 1")
    if channels % heads:
        raise ValueError(f"`channels` is {channels}, expected a multiple of `heads` = {heads}")
    return channels // heads


class Mixer(NodeModule):
    """Global mixing of the nodes of each graph, as a block of an operator calls it.

    Its name in ``lrsa_geo.nn.MIXERS`` makes it known to models. The Linear layer that it ends with
    is ``reconstruct_out``.

    Args:
        channels: C.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.
    """

    reconstruct_out: Linear

    @abstractmethod
    def mix(self, rows: Tensor, layout: NodeLayout, modulation: Tensor | None = None) -> Tensor:
        """The layer on packed rows ``[R, C]`` -> ``[R, C]``.

        Args:
            rows: features of the nodes.
            layout: the graphs.
            modulation: ``[B, 2 C]`` (g, s), what a graph's condition makes of what is mixed.
        """

    @torch.no_grad()
    def scale_output(self, factor: float) -> None:
        """Multiply what the layer gives; deep stacks start with less of it."""
        self.reconstruct_out.weight.mul_(factor)


class LowRankMixer(Mixer):
    r"""Global mixing of low rank: what every mixer of the family has to say.

    .. math:: K \approx U \, G \, V^T: \qquad
        Z = \mathrm{compress}(x) = V^T x, \qquad Z \leftarrow \mathrm{process}(Z) = G Z, \qquad
        y = \mathrm{reconstruct}(x, Z) = U Z

    (arXiv 2604.03582, section 3). Compress gathers over the nodes of each graph into M latents,
    process works on the latents alone, and in reconstruct every node reads the latents of its
    graph. What compress gathers is a :class:`Summary` that can be added: summaries of chunks of a
    mesh give its latents chunk by chunk, those of the parts of several processes give them in
    parallel, both exactly.

    A mixer writes :meth:`summarize` and :meth:`latents_of` (and a faster :meth:`compress` of the
    same value where there is one), :meth:`process` and :meth:`reconstruct`. Streaming goes over the
    nodes twice, and asks for :meth:`to_compress` and :meth:`to_reconstruct` instead of
    :meth:`prepare`.

    Args:
        channels: C.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.
    """

    def mix(self, rows: Tensor, layout: NodeLayout, modulation: Tensor | None = None) -> Tensor:
        """The layer on packed rows: compress, process, reconstruct; ``[R, C]`` -> ``[R, C]``.

        A graph's condition enters through its latents, at no cost on the nodes: ``modulation``
        ``[B, 2 C]`` holds (g, s) of Z <- (1 + g) Z + s.
        """
        nodes = self.prepare(rows)
        z = self.conditioned_latents(nodes, layout, modulation)
        return self.reconstruct(nodes, self.process(z), layout)

    def conditioned_latents(
        self, nodes: Any, layout: NodeLayout, modulation: Tensor | None = None
    ) -> Tensor:
        """What :meth:`compress` gives, and the graph's condition makes of it: ``[B, M, C]``.

        Where several processes share the graphs, their summaries are added up first.
        """
        if layout.across is None:
            z = self.compress(nodes, layout)
        else:
            z = self.latents_of(self.summarize(nodes, layout).total(layout.across))
        return self.conditioned(z, modulation)

    @staticmethod
    def conditioned(z: Tensor, modulation: Tensor | None) -> Tensor:
        """Latents ``[B, M, C]`` as a graph's condition changes them."""
        return z if modulation is None else modulate(z, modulation[:, None])

    def prepare(self, rows: Tensor) -> Any:
        """What both compress and reconstruct need of each node; the rows themselves by default."""
        return rows

    def to_compress(self, rows: Tensor) -> Any:
        """What compress needs, where reconstruct has a pass over the nodes of its own."""
        return self.prepare(rows)

    def to_reconstruct(self, rows: Tensor) -> Any:
        """What reconstruct needs, where compress has had a pass over the nodes of its own."""
        return self.prepare(rows)

    def compress(self, nodes: Any, layout: NodeLayout) -> Tensor:
        """Nodes, as :meth:`prepare` gives them -> latents ``[B, M, C]``."""
        return self.latents_of(self.summarize(nodes, layout))

    @abstractmethod
    def summarize(self, nodes: Any, layout: NodeLayout) -> Summary:
        """What compress gathers over the nodes of each graph, as a summary that can be added."""

    @abstractmethod
    def latents_of(self, summary: Any) -> Tensor:
        """Latents ``[B, M, C]`` from the summary of all nodes of each graph."""

    @abstractmethod
    def process(self, z: Tensor) -> Tensor:
        """Mix the latents of each graph: ``[B, M, C]`` -> ``[B, M, C]``."""

    @abstractmethod
    def reconstruct(self, nodes: Any, z: Tensor, layout: NodeLayout) -> Tensor:
        """Every node reads the latents ``[B, M, C]`` of its graph -> ``[R, C]``."""
