"""One-screen summary of a MeshStore."""

from __future__ import annotations

import numpy as np

from lrsa_geo.data.store import NAMED_ARRAYS, MeshStore
from lrsa_geo.mesh.fields import column_slices


def describe(store: MeshStore) -> str:
    """One-screen summary of a MeshStore: size, fields with units and ranges, provenance.

    Its digest is checked first.

    Raises:
        StoreError: the contents are not those that were written.
    """
    store.verify()
    nodes = store.num_nodes
    lines = [
        f"{store.path}: {len(store)} graphs, {nodes.sum():,} nodes"
        f" ({nodes.min()} to {nodes.max()}, median {int(np.median(nodes))} a graph)",
        f"SHA-256 {store.sha256}",
        f"arrays: {', '.join(store.arrays)}",
    ]
    for array in NAMED_ARRAYS:
        if array not in store.arrays:
            continue
        values = store.read(array)
        for field in store.fields[array]:
            part = values[:, column_slices(store.fields[array])[field.name]]
            finite = part[np.isfinite(part)]
            lost = part.size - finite.size
            lines.append(
                f"  {array:5s} {' '.join(field.columns):32s} {field.unit:4s}"
                + (f" {finite.min():.4g} to {finite.max():.4g}" if finite.size else "")
                + (f"  ({lost} NaN or infinite)" if lost else "")
            )
    for key, value in store.provenance.items():
        text = str(value)
        is_long = isinstance(value, list | dict) and len(text) > 300
        lines.append(f"{key}: {len(value)} entries" if is_long else f"{key}: {text}")
    return "\n".join(lines)
