"""One-screen summaries of a MeshStore, of how it was made, and of a mesh file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from torch import Tensor

from lrsa_geo.data.store import NAMED_ARRAYS, MeshStore, ShardedStore
from lrsa_geo.mesh.fields import column_slices, total_width
from lrsa_geo.mesh.formats import exodus
from lrsa_geo.mesh.read import read_mesh

_LISTED = 8  # times of a file, files of a store


def describe(store: MeshStore) -> str:
    """One-screen summary of a MeshStore: size, fields with units and ranges, provenance.

    Its digest is checked first. Arrays are read in pieces, whatever their size.

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
        steps, times = store.num_steps, _Columns(1, store.pieces("times"))
        lines.append(
            f"series of {steps.min()} to {steps.max()} steps, at times {times.low.min():.6g} to"
            f" {times.high.max():.6g}"
        )
    for array in NAMED_ARRAYS:
        if array in store.arrays:
            lines += _of_fields(store, array)
    if isinstance(store, ShardedStore):
        lines += _of_shards(store)
    for key, value in store.provenance.items():
        text = str(value)
        is_long = isinstance(value, list | dict) and len(text) > 300
        if key != "shards":
            lines.append(f"{key}: {len(value)} entries" if is_long else f"{key}: {text}")
    return "\n".join(lines)


class _Columns:
    """Lowest and highest finite value of each column, and how many are not finite."""

    def __init__(self, width: int = 1, pieces: Iterable[np.ndarray] = ()) -> None:
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self.lost = np.zeros(width, np.int64)
        for rows in pieces:
            self.add(rows)

    def add(self, rows: np.ndarray) -> None:
        """Take ``[R]`` or ``[R, K]`` more rows."""
        finite = np.isfinite(rows)
        low = np.min(rows, axis=0, where=finite, initial=np.inf)
        high = np.max(rows, axis=0, where=finite, initial=-np.inf)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.lost = self.lost + np.sum(~finite, axis=0)


def _of_fields(store: MeshStore, array: str) -> list[str]:
    """Ranges of the fields of an array."""
    width, lines = total_width(store.fields[array]), []
    columns = _Columns(width, store.pieces(array))
    moments = _at_some_steps(store, array) if array in ("states", "x_t") else {}
    for field in store.fields[array]:
        part = column_slices(store.fields[array])[field.name]
        low, high, lost = (
            columns.low[part].min(),
            columns.high[part].max(),
            columns.lost[part].sum(),
        )
        lines.append(
            f"  {array:5s} {' '.join(field.columns):32s} {field.unit:4s}"
            + (f" {low:.4g} to {high:.4g}" if low <= high else "")
            + (f"  ({lost} NaN or infinite)" if lost else "")
        )
        ranges = [
            f"{name} step {at.low[part].min():.4g} to {at.high[part].max():.4g}"
            for name, at in moments.items()
        ]
        lines += [f"        {', '.join(ranges)}"] if ranges else []
    return lines


def _at_some_steps(store: MeshStore, array: str) -> dict[str, _Columns]:
    """Values of ``states`` or ``x_t`` at the first, the middle and the last steps of all series."""
    width = total_width(store.fields[array])
    moments = {name: _Columns(width) for name in ("first", "middle", "last")}
    for number, count in enumerate(store.num_steps.tolist()):
        for about, step in zip(moments.values(), (0, count // 2, count - 1), strict=True):
            about.add(store.window(number, step, step + 1, [array])[array][:, 0].numpy())
    return moments


def _of_shards(store: ShardedStore) -> list[str]:
    """Which files a store has, and which it lacks."""
    shards = store.shards
    lines = [f"{len(shards)} files, read as one store:"]
    lines += [
        f"  {shard.path}: {len(shard)} graphs, SHA-256 {shard.sha256[:12]}"
        for shard in shards[:_LISTED]
    ]
    lines += [f"  and {len(shards) - _LISTED} more"] * (len(shards) > _LISTED)
    return lines + [f"missing: {', '.join(store.missing)}"] * bool(store.missing)


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
