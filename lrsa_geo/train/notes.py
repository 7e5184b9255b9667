"""What a reader of test errors must know of the fields: zero, constant, unlike in size, offset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from lrsa_geo.data import LARGE_OFFSET, UNLIKE_SIZES, MeshStore
from lrsa_geo.mesh import column_slices
from lrsa_geo.train.losses import NEGLIGIBLE
from lrsa_geo.train.objective import Objective
from lrsa_geo.train.quantities import over_variation


def notes_on(
    store: MeshStore, graphs: Sequence[int], predictions: Sequence[np.ndarray], objective: Objective
) -> list[str]:
    """A sentence for each thing that changes what the errors of a field mean.

    Args:
        store: the graphs, with the columns of the objective.
        graphs: those that were predicted.
        predictions: ``[N, K]`` of each.
        objective: the fields and their size in training.
    """
    notes: list[str] = []
    for i, (name, columns) in enumerate(column_slices(objective.fields).items()):
        rms = float(objective.normalizer.y_rms[i])
        sizes, offsets = [], []
        unknown = zero = constant = broken = 0
        for graph, prediction in zip(graphs, predictions, strict=True):
            y = store.arrays_of(graph, ["y"])["y"][:, columns].double()
            broken += not np.isfinite(prediction[:, columns]).all()
            y = y[~y.isnan().any(1)]
            size, offset = _size(y), over_variation(y * 0, y)
            unknown += not len(y)
            zero += len(y) > 0 and size <= NEGLIGIBLE * rms
            constant += len(y) > 0 and size > NEGLIGIBLE * rms and np.isnan(offset)
            if len(y) and size > NEGLIGIBLE * rms:
                sizes.append(size)
                offsets.append(offset)
        of = f"of {len(graphs)} test graphs"
        if broken:
            notes.append(
                f"{name}: the prediction is not finite on {broken} {of}; look for NaN in their"
                " inputs with `lrsa-geo data check`"
            )
        if unknown:
            notes.append(f"{name}: unknown on {unknown} {of}, which do not count")
        if zero:
            notes.append(
                f"{name}: zero on {zero} {of}; its error there is over its size in training,"
                f" {rms:.3g}"
            )
        if constant:
            notes.append(
                f"{name}: constant on {constant} {of}; there is no variation to compare its error"
                " with"
            )
        if sizes and max(sizes) > UNLIKE_SIZES * min(sizes):
            notes.append(
                f"{name}: {min(sizes):.1e} to {max(sizes):.1e} in size; relative errors count"
                " small ones as much as large ones, the loss mse does not"
            )
        known = [offset for offset in offsets if np.isfinite(offset)]
        if known and np.median(known) > LARGE_OFFSET:
            notes.append(
                f"{name}: its size is {np.median(known):,.0f} times its variation on a graph, so"
                " the relative L2 says little; read error / variation, or subtract the offset"
                " before `data make`"
            )
    return notes


def _size(y: Tensor) -> float:
    """Root mean square length; 0 without nodes."""
    largest = float(y.abs().max()) if y.numel() else 0.0
    if not largest:
        return 0.0
    return largest * float((y / largest).square().sum(1).mean().sqrt())
