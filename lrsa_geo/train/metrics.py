"""Errors in physical units."""

from __future__ import annotations

import torch
from torch import Tensor

from lrsa_geo.mesh import Fields, column_slices


def relative_l2(
    prediction: Tensor, truth: Tensor, batch: Tensor, num_graphs: int, fields: Fields
) -> Tensor:
    r"""Relative L2 error of every field on every graph.

    .. math::
        e_{g,f} = \Big(\sum_{i \in g} |\hat y_{i,f} - y_{i,f}|^2 \Big/
                       \sum_{i \in g} |y_{i,f}|^2\Big)^{1/2}

    with :math:`|\cdot|` over the components of a vector field. Nodes whose truth is NaN have none
    and do not count. A field that is zero on a graph is measured against the smallest normal
    number: a prediction of exactly zero has the error zero.

    Args:
        prediction: ``[R, K]``.
        truth: ``[R, K]``.
        batch: ``[R]`` graph of each node.
        num_graphs: B.
        fields: what the columns are.

    Returns:
        ``[B, number of fields]``.
    """

    def squared_norm(values: Tensor) -> Tensor:
        per_field = [
            values[:, columns].square().sum(1) for columns in column_slices(fields).values()
        ]
        squares = torch.stack(per_field, dim=1)
        return squares.new_zeros(num_graphs, len(fields)).index_add(0, batch, squares)

    difference = torch.where(truth.isnan(), 0, prediction - truth)
    truth = truth.nan_to_num(0, torch.inf, -torch.inf)
    smallest = torch.finfo(truth.dtype).tiny
    return (
        (squared_norm(difference) / squared_norm(truth).clamp(min=smallest))
        .clamp(min=smallest)
        .sqrt()
    )
