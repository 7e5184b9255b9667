"""Collectives: what processes with parts of one mesh tell each other, with gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from lrsa_geo.nn.partition import MeshPart


class LostProcessError(RuntimeError):
    """Another process of the group ended, or does not answer; the message says what was waited for.

    A process that does not answer is noticed after the ``timeout`` of ``init_process_group``.
    """


@dataclass
class Traffic:
    """Bytes that a process gave to others, forwards and backwards.

    Attributes:
        sums: of the tensors whose sum or maximum over the processes was taken.
        num_sums: how many there were.
        halos: of the rows that other processes read.
        num_halos: how many exchanges there were.

    Examples:
        >>> from lrsa_geo.nn import Traffic
        >>> print(Traffic(sums=4096, num_sums=4, halos=640, num_halos=2))
        4,096 bytes in 4 sums, 640 bytes in 2 exchanges of halos
    """

    sums: int = 0
    num_sums: int = 0
    halos: int = 0
    num_halos: int = 0

    def __str__(self) -> str:
        return (
            f"{self.sums:,} bytes in {self.num_sums} sums,"
            f" {self.halos:,} bytes in {self.num_halos} exchanges of halos"
        )


class Collectives:
    """What a process tells the others, and is told.

    Args:
        part: of this process.
        group: of the processes; all of them by default.

    Raises:
        RuntimeError: ``torch.distributed`` has no process group.
    """

    def __init__(self, part: MeshPart, group: dist.ProcessGroup | None = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "there is no process group: call torch.distributed.init_process_group first, in"
                " processes that torchrun started"
            )
        self.part = part
        self.group = group
        self.rank = dist.get_rank(group)
        self.size = dist.get_world_size(group)
        self.traffic = Traffic()

    def added(self, values: Tensor) -> Tensor:
        """The sum of each number over the processes."""
        total: Tensor = _Sum.apply(values, self)
        return total

    def of_halo(self, rows: Tensor) -> Tensor:
        """Rows of the halo, from the processes that own them: ``[n, ...]`` -> ``[h, ...]``."""
        halo: Tensor = _Halo.apply(rows, self)
        return halo

    def reduce(self, values: Tensor, operation: Any) -> Tensor:
        """Sum or maximum of each number over the processes, without a gradient."""
        values = values.detach().clone(memory_format=torch.contiguous_format)
        self.traffic.sums += values.nbytes
        self.traffic.num_sums += 1
        self.together("adding up", dist.all_reduce, values, operation)
        return values

    def exchange(self, rows: Tensor, sent: tuple[int, ...], received: tuple[int, ...]) -> Tensor:
        """Rows for each process, by process, and those from each; how many of each is known."""
        found = rows.new_empty(sum(received), *rows.shape[1:])
        self.traffic.halos += rows.nbytes
        self.traffic.num_halos += 1
        self.together(
            "exchanging halos",
            dist.all_to_all_single,
            found,
            rows.contiguous(),
            list(received),
            list(sent),
        )
        return found

    def together(self, what: str, call: Callable[..., object], *arguments: object) -> None:
        """A call of torch.distributed; an error of it says what this process waited for."""
        try:
            call(*arguments, group=self.group)
        except RuntimeError as error:
            raise LostProcessError(
                f"rank {self.rank} of {self.size}: {what} failed: {error}; another process has"
                " ended, does something else or hangs: the first error is in what that one printed"
            ) from error


class _Sum(torch.autograd.Function):
    """y_r = sum_s x_s. Of the sum of all losses, dL/dx_s = sum_r dL/dy_r: the same sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, mesh: Collectives) -> Tensor:
        ctx.mesh = mesh
        return mesh.reduce(values, dist.ReduceOp.SUM)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(grad, ctx.mesh), None


class _Halo(torch.autograd.Function):
    """Rows of the halo, from the processes that own them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, mesh: Collectives) -> Tensor:
        ctx.mesh = mesh
        part = mesh.part
        return mesh.exchange(rows.detach()[part.send], part.sent, part.receive)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _HaloGradients.apply(grad, ctx.mesh), None


class _HaloGradients(torch.autograd.Function):
    """The way back: what arrives at the rows of the halo is added where they come from."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, mesh: Collectives) -> Tensor:
        ctx.mesh = mesh
        part = mesh.part
        found = mesh.exchange(grad.detach(), part.receive, part.sent)
        zeros = grad.new_zeros(len(part.nodes), *grad.shape[1:])
        return zeros.index_add(0, part.send, found)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Halo.apply(grad, ctx.mesh), None
