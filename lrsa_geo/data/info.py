"""One-screen summaries of a MeshStore, of how it was made, and of a mesh file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from torch import Tensor

from lrsa_geo.data.store import NAMED_ARRAYS, MeshStore
from lrsa_geo.mesh.fields import column_slices
from lrsa_geo.mesh.formats import exodus
from lrsa_geo.mesh.read import read_mesh

_LISTED = 8  # times of a file


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
    if store.is_series:
        steps, times = store.num_steps, store.read("times")
        lines.append(
            f"series of {steps.min()} to {steps.max()} steps, at times {times.min():.6g} to"
            f" {times.max():.6g}"
        )
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
            if array in ("states", "x_t"):
                lines.append(f"        {_ranges_of_steps(store, part)}")
    for key, value in store.provenance.items():
        text = str(value)
        is_long = isinstance(value, list | dict) and len(text) > 300
        lines.append(f"{key}: {len(value)} entries" if is_long else f"{key}: {text}")
    return "\n".join(lines)


def _ranges_of_steps(store: MeshStore, values: np.ndarray) -> str:
    """Ranges of a field of time ``[sum T N, C]`` at the first, the middle and the last steps."""
    nodes, steps = store.num_nodes, store.num_steps
    begins = np.concatenate([[0], np.cumsum(nodes * steps)])
    texts = []
    for name, step_of in (
        ("first", lambda count: 0),
        ("middle", lambda count: count // 2),
        ("last", lambda count: count - 1),
    ):
        firsts = [b + n * step_of(t) for b, n, t in zip(begins, nodes, steps, strict=False)]
        parts = [values[first : first + n] for first, n in zip(firsts, nodes, strict=True)]
        low = min(float(np.nanmin(part, initial=np.inf)) for part in parts)
        high = max(float(np.nanmax(part, initial=-np.inf)) for part in parts)
        texts.append(f"{name} step {low:.4g} to {high:.4g}")
    return ", ".join(texts)


def describe_collection(store: MeshStore) -> str:
    """What a store took of the mesh files that it was made of: fields, units, sources, step.

    Args:
        store: from :func:`lrsa_geo.data.collect`.
    """
    reader, made = store.reader, store.provenance
    nodes = store.num_nodes
    lines = [
        f"{store.path}: {len(store):,} graphs of {nodes.min():,} to {nodes.max():,} nodes in"
        f" {store[0].pos.shape[1]} dimensions"
    ]
    if reader is None:
        return lines[0]
    words = {"cells": "averaged from cells to nodes", "geometry": "worked out from the cells"}
    for kind, fields in (("target", reader.targets), ("input", reader.inputs)):
        for described in fields:
            source = made.get("sources", {}).get(described.name, "nodes")
            unit = "no unit" if described.unit == "1" else described.unit
            columns = " ".join(described.columns)
            when = ", of each time" * (described in reader.fields.get("x_t", ()))
            origin = words.get(source, "of the nodes")
            lines.append(f"  {kind:9s} {columns} [{unit}], {origin}{when}")
    for described in reader.cond:
        unit = "no unit" if described.unit == "1" else described.unit
        when = ", of each time" * (described in reader.fields.get("cond_t", ()))
        lines.append(f"  parameter {described.name} [{unit}], from {made.get('table')}{when}")
    if "boundary" in store.arrays:
        source = f"field '{reader.boundary}'" if reader.boundary else "worked out from the cells"
        lines.append(f"  boundary  {source}")
    if reader.series is not None:
        steps, how = store.num_steps, reader.series
        lines.append(
            f"  steps     {steps.min()} to {steps.max()} of each file"
            + f", every {how.every}." * (how.every > 1)
            + ("" if how.from_time is None else f", from time {how.from_time:g} on")
            + ", whose nodes move" * bool(how.moves)
        )
    else:
        step = "the last" if reader.step == -1 else f"{reader.step}"
        lines.append(f"  step      {step} of each file")
    if reader.merge_nodes is not None:
        lines.append(f"  nodes     up to {reader.merge_nodes:g} apart are made one")
    return "\n".join(lines)


def describe_mesh(path: str | Path, step: int = 0) -> str:
    """One-screen summary of a mesh file: size, kinds of cells, blocks, steps, fields with ranges.

    Args:
        path: mesh file.
        step: which step the fields are of.

    Raises:
        MeshError: it cannot be read.
    """
    mesh = read_mesh(path, step)
    pos = mesh.pos.double().numpy()
    ranges = " x ".join(f"[{a:.6g}, {b:.6g}]" for a, b in zip(pos.min(0), pos.max(0), strict=True))
    lines = [f"{path}: {len(pos):,} nodes in {ranges}"]
    if "cells" in mesh:
        kinds = Counter(mesh.cell_types.tolist())
        listed = ", ".join(f"{count:,} of VTK type {kind}" for kind, count in sorted(kinds.items()))
        lines.append(f"cells: {listed}")
    elif "edge_index" in mesh:
        lines.append(
            f"no cells, but {mesh.num_edges // 2:,} edges, volumes and boundary of polyhedra"
        )
    if Path(path).suffix.lower() in exodus.SUFFIXES:
        lines += exodus.contents(Path(path))
    times = mesh.get("times", np.empty(0))
    if len(times):
        lines.append(f"{len(times)} steps, at times {times[0]:.6g} to {times[-1]:.6g}")
        if len(times) > 2:
            some = [f"{time:.6g}" for time in times[:_LISTED].tolist()]
            lines[-1] += f": {', '.join(some)}" + ", ..." * (len(times) > _LISTED)
    if len(times) > 1:
        lines.append(f"fields at step {step % len(times)}, time {times[step]:.6g}:")
    for kind, fields in (("node", mesh.point_data), ("cell", mesh.cell_data)):
        lines += [f"  {kind}  {_field(name, values)}" for name, values in fields.items()]
    if not mesh.point_data and not mesh.cell_data:
        lines.append("no fields")
    return "\n".join(lines)


def _field(name: str, values: Tensor) -> str:
    array = values.numpy()
    shape = " x ".join(map(str, array.shape[1:]))
    finite = array[np.isfinite(array)]
    lost = array.size - finite.size
    return (
        f"{name:32s} {array.dtype!s:8s} {shape:6s}"
        + (f" {finite.min():.4g} to {finite.max():.4g}" if finite.size else "")
        + (f"  ({lost:,} NaN or infinite)" if lost else "")
    )
