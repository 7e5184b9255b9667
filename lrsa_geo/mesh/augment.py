"""Normalise positions; rotate, scale and mirror graphs with their vectors and tensors.

Vectors and tensors of ``x``, ``y`` and ``cond`` turn along. Which columns those are, a field's
components say: ("x", "y") is a vector, ("xx", "xy", "yy") a symmetric tensor of second order.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.mesh.fields import Field, Fields, column_slices
from lrsa_geo.mesh.graph_by_graph import MeshTransform, graph_by_graph

Axis = Literal["x", "y", "z"]
"""A coordinate axis."""
AXES = "xyz"


class NormalizePositions(MeshTransform):
    r"""Shift and scale positions so that they fill [-1, 1] along their longest axis. O(N).

    .. math:: p_i \leftarrow (p_i - c) / s

    with c the middle and s half the longest side of the bounding box; both are kept in the graph as
    ``pos_shift [1, D]`` and ``pos_scale [1, 1]`` for :meth:`inverse`. Measure and fields keep their
    units.
    """

    def forward(self, data: Data) -> Data:
        """Normalise ``pos``."""
        low, high = data.pos.amin(0, keepdim=True), data.pos.amax(0, keepdim=True)
        scale = ((high - low).amax() / 2).reshape(1, 1)
        data.pos_shift = (low + high) / 2
        data.pos_scale = torch.where(scale > 0, scale, 1.0)
        data.pos = (data.pos - data.pos_shift) / data.pos_scale
        return data

    @staticmethod
    def inverse(data: Data) -> Data:
        """A copy with the positions that it had before, up to rounding."""

        def restored(graph: Data) -> Data:
            graph = graph.clone()
            graph.pos = graph.pos * graph.pos_scale + graph.pos_shift
            del graph.pos_shift, graph.pos_scale
            return graph

        return graph_by_graph(restored, data)


class RandomRotation(MeshTransform):
    """Turn the graph about the origin by a random angle, vectors and tensors along.

    In the plane the angle is uniform; in space the rotation is (over SO(3)), or one about ``axis``.

    Args:
        fields: columns of ``x``, ``y`` and ``cond``, as of a MeshStore.
        axis: "x", "y" or "z" to turn about that axis of space alone.
        generator: source of the random numbers.
    """

    def __init__(
        self,
        fields: dict[str, Fields],
        axis: Axis | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.fields = fields
        self.axis = axis
        self.generator = generator

    def forward(self, data: Data) -> Data:
        """Turn ``pos`` and everything that points somewhere."""
        dim = data.pos.shape[1]
        if dim == 3 and self.axis is None:
            matrix = _rotation_of_space(torch.randn(4, generator=self.generator).double())
        else:
            angle = 2 * math.pi * torch.rand((), generator=self.generator).double()
            first = 0 if dim == 2 else (AXES.index(self.axis or "z") + 1) % 3
            second = 1 if dim == 2 else (first + 1) % 3
            matrix = torch.eye(dim, dtype=torch.float64)
            matrix[first, first] = matrix[second, second] = angle.cos()
            matrix[second, first] = angle.sin()
            matrix[first, second] = -angle.sin()
        return turned(data, matrix, self.fields)


class RandomScaling(MeshTransform):
    """Multiply all lengths by a factor that is log-uniform between ``low`` and ``high``.

    Positions scale, and with them every field in ``unit`` (distances, displacements), ``measure``
    with the power of its dimension, and ``edge_attr`` of :class:`EdgeGeometry`. Where the physics
    knows a length of its own, the scaled graph is no solution: only use it where there is none.

    Args:
        fields: columns of ``x``, ``y`` and ``cond``.
        low, high: range of the factor.
        unit: of the positions.
        dim: of what ``measure`` measures, D by default; 2 for a surface in space.
        generator: source of the random numbers.
    """

    def __init__(
        self,
        fields: dict[str, Fields],
        low: float = 0.8,
        high: float = 1.25,
        unit: str = "m",
        dim: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if not 0 < low <= high:
            raise ValueError(f"`low` and `high` are {low} and {high}, expected 0 < low <= high")
        self.fields = fields
        self.low, self.high = low, high
        self.unit = unit
        self.dim = dim
        self.generator = generator

    def forward(self, data: Data) -> Data:
        """Scale ``pos`` and everything that is a length."""
        share = float(torch.rand((), generator=self.generator))
        factor = self.low * (self.high / self.low) ** share
        data.pos = data.pos * factor
        if data.get("measure") is not None:
            data.measure = data.measure * factor ** (self.dim or data.pos.shape[1])
        if data.get("edge_attr") is not None:
            data.edge_attr = data.edge_attr * factor
        for array, described in self.fields.items():
            if data.get(array) is None:
                continue
            values = data[array].clone()
            for field, columns in zip(described, column_slices(described).values(), strict=True):
                if field.unit == self.unit:
                    values[:, columns] *= factor
            data[array] = values
        return data


def mirrored(data: Data, axis: Axis, position: float, fields: dict[str, Fields]) -> Data:
    """The mirror image of a graph in the plane where coordinate ``axis`` equals ``position``.

    Where domain and physics have this symmetry, the image is as good a solution as the original.

    Args:
        data: graph; it is not changed.
        axis: "x", "y" or "z".
        position: of the plane, in the unit of ``pos``.
        fields: columns of ``x``, ``y`` and ``cond``.
    """
    coordinate = AXES.index(axis)
    signs = torch.ones(data.pos.shape[1], dtype=torch.float64)
    signs[coordinate] = -1
    image = turned(data, signs.diag(), fields)
    image.pos[:, coordinate] += 2 * position
    return image


def turned(data: Data, matrix: Tensor, fields: dict[str, Fields]) -> Data:
    r"""A graph in a turned (or mirrored) coordinate system.

    .. math:: p \leftarrow R p, \qquad v \leftarrow R v, \qquad T \leftarrow R T R^T

    for positions, vectors and tensors; ``edge_attr`` of :class:`EdgeGeometry` and ``normal`` turn
    too. Cells keep the order of their nodes, so a mirror image reverses their orientation.

    Args:
        data: graph; it is not changed.
        matrix: R, ``[D, D]`` orthogonal.
        fields: columns of ``x``, ``y`` and ``cond``.

    Raises:
        ValueError: a field lacks components, such as a tensor ("xx", "yy") without "xy".
    """
    dim = data.pos.shape[1]
    matrix = matrix.double()
    if matrix.shape != (dim, dim):
        raise ValueError(f"`matrix` has shape {list(matrix.shape)}, expected [{dim}, {dim}]")
    data = data.clone()
    data.pos = _apply(matrix, data.pos)
    if data.get("normal") is not None:
        data.normal = _apply(matrix, data.normal)
    if data.get("edge_attr") is not None:
        data.edge_attr = torch.cat(
            [_apply(matrix, data.edge_attr[:, :dim]), data.edge_attr[:, dim:]], dim=1
        )
    for array, described in fields.items():
        if data.get(array) is None:
            continue
        values = data[array].clone()
        for field, columns in zip(described, column_slices(described).values(), strict=True):
            if field.components:
                weights = _component_weights(field, matrix)
                values[:, columns] = _apply(weights, values[:, columns])
        data[array] = values
    return data


def _apply(matrix: Tensor, rows: Tensor) -> Tensor:
    return (rows.double() @ matrix.T).to(rows.dtype)


def _component_weights(field: Field, matrix: Tensor) -> Tensor:
    """``[K, K]``: how the components of a vector or tensor mix when space turns by ``matrix``."""
    words = field.components
    order = len(words[0])
    axes = AXES[: max(len(matrix), *(AXES.find(letter) + 1 for word in words for letter in word))]
    known = all(len(w) == order and set(w) <= set(AXES) for w in words)
    column = {word: number for number, word in enumerate(words)}
    # A symmetric tensor names each pair of axes once.
    column |= {w[::-1]: number for w, number in column.items() if w[::-1] not in column}
    full = ["".join(letters) for letters in product(axes, repeat=order)]
    if not known or any(word not in column for word in full):
        raise ValueError(
            f"field '{field.name}' has the components {words}: that is no vector (x, y, ...) and no"
            f" tensor (xx, xy, ...) with all components over {', '.join(axes)}, so it cannot turn"
        )
    space = torch.eye(len(axes), dtype=torch.float64)
    space[: len(matrix), : len(matrix)] = matrix
    weights = torch.zeros(len(words), len(words), dtype=torch.float64)
    for number, word in enumerate(words):
        for source in full:
            factors = [
                space[AXES.index(a), AXES.index(b)] for a, b in zip(word, source, strict=True)
            ]
            weights[number, column[source]] += torch.stack(factors).prod()
    return weights


def _rotation_of_space(quaternion: Tensor) -> Tensor:
    """The rotation of a quaternion; uniform over SO(3) if the four numbers are normal."""
    w, x, y, z = quaternion / quaternion.norm()
    return torch.stack(
        [
            torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]),
            torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]),
            torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]),
        ]
    )
