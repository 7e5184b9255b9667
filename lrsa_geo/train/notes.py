"""What a reader is told beside figures.

Of test errors: fields that are zero, constant, unlike in size, offset. Of a training: what would
make it shorter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from lrsa_geo.data import LARGE_OFFSET, UNLIKE_SIZES, MeshStore
from lrsa_geo.mesh import column_slices
from lrsa_geo.train.config import TrainConfig
from lrsa_geo.train.losses import LOSSES, NEGLIGIBLE
from lrsa_geo.train.objective import Objective
from lrsa_geo.train.quantities import over_variation

DRAWN = 512
"""Nodes of a graph in a step that do well on all of the data sets that come with the library."""


def hint_on(config: TrainConfig, num_nodes: np.ndarray) -> str:
    """What would make a training shorter: nothing, or to draw nodes where meshes are large.

    Args:
        config: of the training.
        num_nodes: of the training graphs.
    """
    model, data = config.model, config.data
    whole = data.nodes_per_graph is None and model.chunk is None
    arrays = LOSSES[config.objective.loss].arrays
    if not whole or model.needs_edges or model.mixer == "spectral" or model.local or arrays:
        return ""  # it is done, or the rest of the mesh is needed
    median = int(np.median(num_nodes)) if len(num_nodes) else 0
    if median < 3 * DRAWN:
        return ""
    return (
        f"hint: the meshes have {median:,} nodes (median), and every step sees all of them; with"
        f" --data.nodes_per_graph {DRAWN} it sees so many, drawn anew, and more steps fit into the"
        " same time: mostly a far smaller error (GUIDE.md, 'How many nodes')"
    )


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
                f"{name}: the prediction is not finite on {broken} {of}, which do not count; look"
                " for NaN in their inputs with `lrsa-geo data check`, or lower optim.lr"
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
