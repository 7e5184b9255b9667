"""Parallel: one mesh over several processes, each with a part of its nodes.

Every process has the whole model and a part of the mesh. Global layers add up their summaries
(O(M C) numbers a layer, whatever N is), message passing exchanges the rows of neighbours at the
borders of the parts, and all else is local. With ``torchrun --nproc_per_node 4 train.py``::

    torch.distributed.init_process_group("nccl")  # or "gloo" on processors
    torch.manual_seed(0)  # the same weights everywhere
    model = GeometryOperator(0, 1, 3, local="MeshConv").to(device)
    partition = Partition.of(pos, torch.distributed.get_world_size(), edge_index)
    mesh = SharedMesh(partition.part(torch.distributed.get_rank()).to(device))
    here = mesh.part.nodes  # rows of this process
    layout = mesh.layout(pos[here], measure[here])
    for _ in range(steps):
        y = model(None, pos[here], layout)
        error, size = mesh.sum((y - truth[here]).square().sum(), truth[here].square().sum())
        ((error / size).sqrt() / mesh.size).backward()  # one loss, which every process has
        mesh.sum_gradients(model.parameters())
        optimizer.step()
        optimizer.zero_grad()
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from lrsa_geo.nn.collectives import Collectives
from lrsa_geo.nn.layout import EdgeLayout, GraphLayout, NodeLayout
from lrsa_geo.nn.mixers import Mixer
from lrsa_geo.nn.partition import MeshPart
from lrsa_geo.nn.parts import needs_whole_mesh


class SharedMesh(Collectives):
    r"""One mesh of several processes: layers on its layout answer as on the whole mesh.

    .. math:: S = \sum_r \mathrm{summarize}(h_r), \qquad
              h_r \leftarrow h_r + \mathrm{reconstruct}(h_r, \mathrm{process}(S))

    for the nodes r of each process: what compress gathers adds up (arXiv 2604.03582, section 3),
    and :class:`MeshConv` reads the rows of its halo from the processes that own them. A
    :class:`GeometryOperator` or a :class:`MixerBlock` that is given :meth:`layout` gives, up to
    rounding, the rows of ``nodes`` of what it gives for the whole mesh.

    **Gradients.** What is differentiated is the sum of the losses of all processes. After
    ``backward`` the gradients of what a process owns (features, positions, measure of its nodes)
    are complete; those of what every process has a copy of (weights, ``cond``) are its share, and
    :meth:`sum_gradients` makes them whole. A loss that is made of :meth:`sum` is the same in every
    process and would count ``size`` times: divide it by ``size``.

    All processes do the same in the same order: the same model with the same weights, one forward
    and one backward each, gradients asked for of the same things. Where they do not, the variable
    ``TORCH_DISTRIBUTED_DEBUG=DETAIL`` finds the place. Mixers must be of low rank, local layers
    ``MeshConv``.

    Args:
        part: the part of this process, on the device of the model.
        group: of the processes; all of them by default.

    Attributes:
        part: which nodes are here.
        rank: of this process.
        size: number of processes.
        traffic: bytes sent so far, see :class:`Traffic`.

    Raises:
        RuntimeError: ``torch.distributed`` has no process group.
        ValueError: there are not as many processes as parts, or they hold parts of different
            partitions, or one part twice. All processes raise it.
        LostProcessError: here and in all that follows, if another process ended or hangs.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import GeometryOperator, Partition, SharedMesh
        >>> alone = {"store": torch.distributed.HashStore(), "rank": 0, "world_size": 1}
        >>> torch.distributed.init_process_group("gloo", **alone)  # torchrun needs "gloo" only
        >>> pos, edge_index = torch.rand(50, 2), torch.randint(50, (2, 200))
        >>> model = GeometryOperator(0, 1, 2, channels=16, depth=2, heads=2, local="MeshConv")
        >>> mesh = SharedMesh(Partition.of(pos, 1, edge_index).part(0))
        >>> y = model(None, pos, mesh.layout(pos))
        >>> torch.allclose(y, model(None, pos, edge_index=edge_index), atol=1e-5)
        True
        >>> torch.distributed.destroy_process_group()
    """

    def __init__(self, part: MeshPart, group: dist.ProcessGroup | None = None) -> None:
        super().__init__(part, group)
        self._compare()

    def _compare(self) -> None:
        part = self.part
        said: list[Any] = [None] * self.size
        mine = (part.size, part.rank, part.digest)
        self.together("saying which part it holds", dist.all_gather_object, said, mine)
        for rank, (size, number, digest) in enumerate(said):
            if size != self.size:
                raise ValueError(
                    f"there are {self.size} processes, and rank {rank} has a part of a partition"
                    f" into {size}; make as many parts as processes"
                )
            if number != rank:
                raise ValueError(f"rank {rank} has part {number}, expected part {rank}")
            if digest != said[0][2]:
                raise ValueError(
                    f"rank {rank} has a part of another partition than rank 0: other nodes, or"
                    " other edges; make the partition once, or alike everywhere"
                )

    def layout(self, pos: Tensor, measure: Tensor | None = None) -> GraphLayout:
        """The nodes of this process, for layers and models instead of ``batch``.

        It may be kept as long as no gradient of ``measure`` is asked for.

        Args:
            pos: ``[n, D]`` positions of ``part.nodes``.
            measure: ``[n]`` their measure. All may be 0 here.

        Raises:
            ValueError: these are not the nodes of this part, or see :meth:`NodeLayout.of`.
        """
        expected = len(self.part.nodes)
        if len(pos) != expected:
            raise ValueError(
                f"`pos` has shape {list(pos.shape)}, expected [{expected}, D]: the positions of"
                " `part.nodes`"
            )
        nodes = NodeLayout.of(pos, measure=measure)
        nodes.across = self
        edge_index = self.part.edge_index
        edges = None
        if edge_index is not None:
            edges = EdgeLayout(edge_index, pos, nodes.measure, across=self)
        return GraphLayout(nodes, edges)

    def sum(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The sum of each tensor over the processes, in every one of them.

        The tensors travel together; what is shorter than float32 is added in float32.
        """
        dtype = torch.float32
        for tensor in tensors:
            dtype = torch.promote_types(dtype, tensor.dtype)
        flat = torch.cat([tensor.reshape(-1).to(dtype) for tensor in tensors])
        parts = self.added(flat).split([tensor.numel() for tensor in tensors])
        pairs = zip(parts, tensors, strict=True)
        return tuple(part.view(tensor.shape).to(tensor.dtype) for part, tensor in pairs)

    @torch.no_grad()
    def largest(self, tensor: Tensor) -> Tensor:
        """The largest of each number over the processes; it has no gradient."""
        dtype = torch.promote_types(tensor.dtype, torch.float32)
        return self.reduce(tensor.to(dtype), dist.ReduceOp.MAX).to(tensor.dtype)

    @property
    def num_halo(self) -> int:
        """Nodes of other processes that send messages to nodes of this one."""
        return len(self.part.halo)

    def extend(self, rows: Tensor) -> Tensor:
        """``[n, ...]`` -> ``[n + h, ...]``: rows of the nodes here, then those of the halo."""
        return torch.cat([rows, self.of_halo(rows)])

    def gather(self, rows: Tensor) -> Tensor:
        """``[n, K]`` -> ``[N, K]``: rows of the whole mesh in its order, in every process."""
        everywhere = rows.new_zeros(self.part.num_nodes, *rows.shape[1:])
        return self.sum(everywhere.index_copy(0, self.part.nodes, rows))[0]

    @torch.no_grad()
    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Add up the gradients of what every process has a copy of, after ``backward``.

        What has no gradient in any process is left without.

        Args:
            parameters: such as ``model.parameters()``, in the same order everywhere.
        """
        wanted = [p for p in parameters if p.requires_grad]
        if not wanted:
            return
        has = torch.tensor([float(p.grad is not None) for p in wanted], device=wanted[0].device)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in wanted]
        *sums, held = self.sum(*grads, has)
        for parameter, total, held_by in zip(wanted, sums, held.tolist(), strict=True):
            if held_by:
                parameter.grad = total.clone()

    def check(self, module: nn.Module) -> None:
        """Raise ValueError unless a layer can work on a mesh of several processes."""
        found = needs_whole_mesh(module)
        if isinstance(found, Mixer):
            raise ValueError(
                f"{type(found).__name__} gathers no summary that can be added, so a mesh of several"
                " processes cannot be mixed by it; give it the whole mesh"
            )
        if found is not None:
            raise ValueError(
                f"the local layer is {type(found).__name__}, and only MeshConv is known to read no"
                " more than a node's neighbours; give it the whole mesh"
            )

    def __repr__(self) -> str:
        return f"SharedMesh({self.part})"
