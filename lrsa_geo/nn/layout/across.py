"""Across: what layers need of the nodes that other processes hold."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn


class Parts(Protocol):
    """The parts of one mesh, of which each knows what it gathers: processes, or chunks."""

    def sum(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The sum of each tensor over the parts, in every one of them."""

    def largest(self, tensor: Tensor) -> Tensor:
        """The largest of each number over the parts, without a gradient."""


class Across(Parts, Protocol):
    """How layers reach the nodes of one mesh that other processes hold.

    Made by :class:`~lrsa_geo.nn.SharedMesh` and kept in the layouts of its nodes and edges.
    """

    @property
    def num_halo(self) -> int:
        """Nodes of other processes that send messages to nodes of this one."""

    def extend(self, rows: Tensor) -> Tensor:
        """Rows of the nodes here, and after them those of the halo."""

    def check(self, module: nn.Module) -> None:
        """Raise ValueError unless a layer can work on a mesh of several processes."""
