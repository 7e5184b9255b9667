"""Check a MeshStore, and its split, for what spoils training."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from torch_geometric.data import Data

from lrsa_geo.data.check.fields import NO_TARGET, NOT_FINITE, FieldStatistics
from lrsa_geo.data.check.findings import Finding, Findings, Kind
from lrsa_geo.data.check.meshes import faults_of_mesh
from lrsa_geo.data.check.steps import StepStatistics
from lrsa_geo.data.geometry import geometry_keys
from lrsa_geo.data.split import Split
from lrsa_geo.data.store import NAMED_ARRAYS, MeshStore, ShardedStore
from lrsa_geo.mesh.fields import column_slices

LEAK = Kind(
    "meshes that are trained and tested on",
    "error",
    "the error of the test graphs says nothing about new meshes: `data split --by geometry` keeps"
    " graphs on one mesh together; on one fixed mesh with other conditions it is as it should be",
)
MISSING = Kind(
    "shards that are missing",
    "warning",
    "the graphs of the files that are there are read as one store without them: make or copy them,"
    " or leave it so if they are not meant to be there",
)
_NUMBERS = (
    *("pos", "x", "y", "cond", "measure", "edge_attr"),
    *("states", "x_t", "pos_t", "cond_t"),
)


def check_store(store: MeshStore, split: Split | None = None) -> list[Finding]:
    """Check all graphs of a MeshStore, and its split, for what spoils training.

    Each kind of fault is one finding, with a count, examples and advice. Errors: values that
    are NaN or infinite, cells without area or volume, a graph without nodes, cells that are
    there twice, the same mesh in two parts of the split. Warnings: shards that are missing;
    nodes without a target (NaN in ``y``), nodes of no cell, duplicate nodes, hanging nodes,
    cells that own their nodes or repeat one, cells turned the other way than most; fields that
    are constant or zero, whose offset dwarfs their variation, or that are far larger on some
    graphs than on others; meshes far larger or smaller than most; states of a series that jump
    between two steps.

    Args:
        store: what to check; its digest is checked too.
        split: for leakage between training, validation and test.

    Returns:
        Findings, errors first.

    Raises:
        StoreError: the contents are not those that were written.
    """
    store.verify()
    findings = Findings()
    statistics = FieldStatistics(findings)
    for name in store.missing if isinstance(store, ShardedStore) else ():
        findings.add(MISSING, f"{store.path}", f"{name} is not there")
    for number, data in enumerate(store):
        where = f"graph {number}"
        statistics.add_extent(where, data.pos.numpy())
        for kind, what in _numbers(data):
            findings.add(kind, where, what)
        for kind, what, value in faults_of_mesh(data):
            findings.add(kind, where, what, value)
        for array in NAMED_ARRAYS:
            if array in store.arrays:
                values = data[array].numpy()
                rows, judged = values.reshape(-1, values.shape[-1]), array in ("y", "states")
                for name, columns in column_slices(store.fields[array]).items():
                    statistics.add(where, name, rows[:, columns], judged)
        if store.is_series:
            _steps(store, data, StepStatistics(findings, where))
    statistics.judge()
    if split is not None:
        _leaks(store, split, findings)
    return findings.listed()


def _steps(store: MeshStore, data: Data, about: StepStatistics) -> None:
    """How the states of a series change from step to step."""
    slices = column_slices(store.fields["states"])
    for step, time in enumerate(data.times.tolist()):
        about.begin(time)
        for name, columns in slices.items():
            about.add(name, data.states[:, step, columns].numpy())
    about.judge()


def _numbers(data: Data) -> Iterator[tuple[Kind, str]]:
    """Values that are not finite; of targets NaN stands for a value that is not known."""
    for array in _NUMBERS:
        if data.get(array) is None:
            continue
        values = data[array].numpy()
        bad = ~np.isfinite(values)
        if array == "y" and np.isnan(values).any():
            bad &= ~np.isnan(values)
            nodes = np.isnan(values).any(1)
            yield NO_TARGET, f"{nodes.sum():,} nodes lack a target, first node {nodes.argmax()}"
        if bad.any():
            row = int(np.nonzero(bad)[0][0])
            what = f"'{array}' is NaN or infinite at {bad.sum():,} places, first in row {row}"
            yield NOT_FINITE, what


def _leaks(store: MeshStore, split: Split, findings: Findings) -> None:
    keys = geometry_keys(store)
    parts = {"train": split.train, "val": split.val, "test": split.test}
    for (one, first), (other, second) in combinations(parts.items(), 2):
        seen = {keys[i]: i for i in first}
        shared = [i for i in second if keys[i] in seen]
        if shared:
            findings.add(
                LEAK,
                f"'{one}' and '{other}'",
                f"{len(shared)} graphs of '{other}' are on meshes of '{one}', such as graph"
                f" {shared[0]} on the mesh of graph {seen[keys[shared[0]]]}",
            )
