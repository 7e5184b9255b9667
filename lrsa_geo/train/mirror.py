"""More training graphs from the symmetry of a problem."""

from __future__ import annotations

from torch_geometric.data import Data

from lrsa_geo.data import Fields, column_slices
from lrsa_geo.train.config import Axis


def mirror(data: Data, axis: Axis, position: float, fields: dict[str, Fields]) -> Data:
    """The mirror image of a graph in the plane where coordinate ``axis`` equals ``position``.

    Coordinates are reflected, p -> 2 position - p, and the component ``axis`` of every vector in
    ``x``, ``y`` and ``cond`` changes its sign; scalars stay. Where domain and physics have this
    symmetry, the image is as good a solution as the original.

    Args:
        data: graph; it is not changed.
        axis: "x", "y" or "z".
        position: of the plane, in the units of ``pos``.
        fields: which columns belong to vectors.
    """
    image = data.clone()
    coordinate = "xyz".index(axis)
    image.pos[:, coordinate] = 2 * position - data.pos[:, coordinate]
    for array, described in fields.items():
        slices = column_slices(described)
        for field in described:
            if axis in field.components and image.get(array) is not None:
                column = slices[field.name].start + field.components.index(axis)
                image[array][:, column] = -data[array][:, column]
    return image
