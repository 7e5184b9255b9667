"""Partition: one mesh in parts, each for a process, with the neighbours that a part needs."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lrsa_geo.nn.layout.edges import check_edges


@dataclass(frozen=True, eq=False)
class MeshPart:
    """The nodes of one mesh that a process holds, and its neighbours; made by :class:`Partition`.

    Attributes:
        rank: which part.
        size: number of parts.
        num_nodes: N, nodes of the whole mesh.
        nodes: ``[n]`` numbers of the nodes of this part in the mesh, ascending.
        halo: ``[h]`` numbers of the nodes of other parts that send messages to those of this one,
            by part and then ascending.
        edge_index: ``[2, e]`` edges that reach the nodes of this part: places in ``nodes``, and
            from ``n`` on in ``halo``; None if the partition knows no edges.
        receive: how many nodes of the halo each part has, ``size`` numbers.
        send: places in ``nodes`` of what the other parts need, by part.
        sent: how many of them each part needs, ``size`` numbers.
        digest: of the partition, by which processes see that they hold parts of the same one.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import Partition
        >>> edge_index = torch.tensor([[0, 1, 3], [1, 2, 1]])
        >>> part = Partition(torch.tensor([0, 0, 1, 1]), edge_index).part(0)
        >>> part.nodes, part.halo, part.edge_index
        (tensor([0, 1]), tensor([3]), tensor([[0, 2],
                [1, 1]]))
    """

    rank: int
    size: int
    num_nodes: int
    nodes: Tensor
    halo: Tensor
    edge_index: Tensor | None
    receive: tuple[int, ...]
    send: Tensor
    sent: tuple[int, ...]
    digest: int

    def to(self, device: torch.device | str) -> MeshPart:
        """The part on another device, that of the model."""
        edges = None if self.edge_index is None else self.edge_index.to(device)
        return replace(
            self,
            nodes=self.nodes.to(device),
            halo=self.halo.to(device),
            edge_index=edges,
            send=self.send.to(device),
        )

    def __repr__(self) -> str:
        return (
            f"MeshPart({self.rank} of {self.size}, {len(self.nodes):,} of {self.num_nodes:,} nodes,"
            f" halo {len(self.halo):,})"
        )


class Partition:
    r"""Which part each node of one mesh belongs to, and which nodes the parts need of each other.

    .. math:: \text{halo of part } r = \{ j : (j \to i) \in E, \; i \in r, \; j \notin r \}

    :meth:`of` cuts a mesh by its positions. Another partitioner, such as METIS
    (``torch_geometric.loader.ClusterData`` has it where pyg-lib or torch-sparse is installed), cuts
    fewer edges; what it says of each node is ``owner``.

    Args:
        owner: ``[N]`` part of each node.
        edge_index: ``[2, E]`` from ``edge_index[0]`` to ``edge_index[1]``, for models with local
            layers.
        size: number of parts; by default the highest in ``owner``, and one more.

    Raises:
        ValueError: a part has no node, a node has no part, or an edge points at no node.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import Partition
        >>> edge_index = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> partition = Partition(torch.tensor([0, 0, 1, 1]), edge_index)
        >>> partition
        Partition(2 parts of 2 to 2 nodes, 2 of 6 edges between parts)
        >>> partition.part(0)
        MeshPart(0 of 2, 2 of 4 nodes, halo 1)
        >>> partition.part(0).halo
        tensor([2])
    """

    def __init__(
        self, owner: Tensor, edge_index: Tensor | None = None, size: int | None = None
    ) -> None:
        if owner.dim() != 1 or owner.is_floating_point() or owner.dtype == torch.bool:
            raise ValueError(
                f"`owner` has shape {list(owner.shape)} and type {owner.dtype}, expected [N]"
                " integers, the part of each node"
            )
        owner = owner.long()
        size = int(owner.max()) + 1 if size is None and len(owner) else size or 0
        beyond = (owner < 0) | (owner >= size)
        if bool(beyond.any()):
            node = int(beyond.nonzero()[0])
            raise ValueError(
                f"node {node} belongs to part {int(owner[node])}, expected 0 to {size - 1}"
            )
        self.counts: list[int] = torch.bincount(owner, minlength=size).tolist()
        if not size or 0 in self.counts:
            without = self.counts.index(0) if size else 0
            raise ValueError(
                f"part {without} of {size} has no node of {len(owner)}; take fewer processes, or"
                " another partition"
            )
        self.owner, self.edge_index, self.size = owner, edge_index, size
        self.cut = 0
        pairs = owner.new_empty(0)
        self.digest = zlib.crc32(owner.contiguous().cpu().numpy().data)
        if edge_index is not None:
            check_edges(edge_index, len(owner))
            source, target = edge_index
            between = owner[source] != owner[target]
            self.cut = int(between.sum())
            # Each node once for each part that needs it, by part and then ascending.
            pairs = (owner[target[between]] * len(owner) + source[between]).unique()
            self.digest = zlib.crc32(edge_index.contiguous().cpu().numpy().data, self.digest)
        self._needed_by = pairs.div(max(len(owner), 1), rounding_mode="floor")
        self._needed = pairs - self._needed_by * len(owner)

    @classmethod
    def of(cls, pos: Tensor, size: int, edge_index: Tensor | None = None) -> Partition:
        """A mesh cut by planes into parts of equally many nodes.

        The nodes are halved across their longest extent, and the halves again (recursive
        coordinate bisection, Berger and Bokhari 1987); for three parts, one third and two thirds.

        Args:
            pos: ``[N, D]``.
            size: number of parts.
            edge_index: see :class:`Partition`.

        Raises:
            ValueError: there are fewer nodes than parts.

        Examples:
            >>> import torch
            >>> from lrsa_geo.nn import Partition
            >>> Partition.of(torch.tensor([[0.0], [3.0], [1.0], [2.0]]), 2).owner
            tensor([0, 1, 0, 1])
        """
        if not 1 <= size <= len(pos):
            raise ValueError(
                f"`size` is {size}, expected 1 to {len(pos)}: each part has a node, and there are"
                f" {len(pos)}"
            )
        owner = torch.zeros(len(pos), dtype=torch.long, device=pos.device)
        pos = pos.detach()
        rest = [(torch.arange(len(pos), device=pos.device), 0, size)]
        while rest:
            nodes, first, parts = rest.pop()
            if parts == 1:
                owner[nodes] = first
                continue
            here = pos[nodes]
            axis = int((here.amax(0) - here.amin(0)).argmax())
            nodes = nodes[here[:, axis].argsort(stable=True)]
            half = parts // 2
            cut = len(nodes) * half // parts
            rest += [(nodes[:cut], first, half), (nodes[cut:], first + half, parts - half)]
        return cls(owner, edge_index, size)

    @classmethod
    def of_nodes(
        cls, nodes: Sequence[Tensor], num_nodes: int, edge_index: Tensor | None = None
    ) -> Partition:
        """A partition from the nodes of each part, such as the pieces of a file.

        Args:
            nodes: numbers of the nodes of each part.
            num_nodes: N.
            edge_index: see :class:`Partition`.

        Raises:
            ValueError: a node has no part, or two of them, or a part has none.
        """
        all_nodes = torch.cat(list(nodes)) if nodes else torch.empty(0, dtype=torch.long)
        beyond = (all_nodes < 0) | (all_nodes >= num_nodes)
        if bool(beyond.any()):
            raise ValueError(
                f"a part has node {int(all_nodes[beyond][0])}, expected 0 to {num_nodes - 1}"
            )
        times = torch.bincount(all_nodes, minlength=num_nodes)
        if bool((times != 1).any()):
            node = int((times != 1).nonzero()[0])
            found = "no part" if not times[node] else f"{int(times[node])} parts"
            raise ValueError(f"node {node} of {num_nodes} belongs to {found}, expected one")
        owner = torch.empty_like(all_nodes)
        for rank, of_part in enumerate(nodes):
            owner[of_part] = rank
        return cls(owner, edge_index, len(nodes))

    def part(self, rank: int) -> MeshPart:
        """The part of a process.

        Raises:
            ValueError: there is no such part.
        """
        if not 0 <= rank < self.size:
            raise ValueError(f"`rank` is {rank}, expected 0 to {self.size - 1}")
        owner, by = self.owner, self._needed_by
        nodes = (owner == rank).nonzero().squeeze(1)
        halo = self._needed[by == rank]
        halo = halo[owner[halo].argsort(stable=True)]
        edges = None
        place = torch.empty_like(owner)
        place[nodes] = torch.arange(len(nodes), device=owner.device)
        sends = owner[self._needed] == rank
        send = place[self._needed[sends]]
        if self.edge_index is not None:
            place[halo] = torch.arange(len(nodes), len(nodes) + len(halo), device=owner.device)
            edges = place[self.edge_index[:, owner[self.edge_index[1]] == rank]]
        return MeshPart(
            rank,
            self.size,
            len(owner),
            nodes,
            halo,
            edges,
            tuple(torch.bincount(owner[halo], minlength=self.size).tolist()),
            send,
            tuple(torch.bincount(by[sends], minlength=self.size).tolist()),
            self.digest,
        )

    def __repr__(self) -> str:
        sizes = f"{self.size} parts of {min(self.counts):,} to {max(self.counts):,} nodes"
        if self.edge_index is None:
            return f"Partition({sizes})"
        edges = self.edge_index.shape[1]
        return f"Partition({sizes}, {self.cut:,} of {edges:,} edges between parts)"
