"""Which graphs of a store train, are watched, and test: kept as JSON beside the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch_geometric.data import Data

from lrsa_geo.data.store import MeshStore
from lrsa_geo.files import atomic_path

SplitRule = Literal["random", "geometry", "group", "nodes"]


@dataclass(frozen=True)
class Split:
    """Graph numbers for training, validation and test; no graph is in two of them."""

    train: list[int]
    val: list[int]
    test: list[int]

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path, num_graphs: int) -> Split:
        """Read what :meth:`save` wrote, for a store of so many graphs.

        Raises:
            ValueError: it is no split of such a store.
        """
        try:
            parts = json.loads(Path(path).read_text(encoding="utf-8"))
            split = cls(**{name: [int(i) for i in graphs] for name, graphs in parts.items()})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}: not a readable split ({error}); expected JSON with the lists of graph"
                " numbers 'train', 'val' and 'test'"
            ) from error
        graphs = [*split.train, *split.val, *split.test]
        if len(set(graphs)) < len(graphs):
            raise ValueError(f"{path}: a graph is in two parts, or twice in one")
        if graphs and not 0 <= min(graphs) <= max(graphs) < num_graphs:
            raise ValueError(
                f"{path}: names the graphs {min(graphs)} to {max(graphs)}, the store has"
                f" {num_graphs}; split it again"
            )
        return split


def split_path(store: str | Path) -> Path:
    """Where the split of a store is kept: ``mine.h5`` -> ``mine.split.json``."""
    return Path(store).with_suffix(".split.json")


def make_split(
    store: MeshStore,
    by: SplitRule = "random",
    val: float = 0.05,
    test: float = 0.15,
    seed: int = 0,
) -> Split:
    """Choose the parts of a store.

    Args:
        store: the graphs.
        by: "random"; "geometry": graphs on the same mesh stay together, so that a test mesh was
            never trained on; "group": graphs with the same number in the array ``group`` stay
            together, such as the airfoils of one family; "nodes": the meshes with the most nodes
            test, the next validate, which shows how a model does on meshes larger than it knows.
        val: share of the graphs to watch.
        test: share of the graphs to test on.
        seed: of the random order.

    Raises:
        ValueError: the shares leave a part empty that should not be.
    """
    if val < 0 or test < 0 or val + test >= 1:
        raise ValueError(f"val is {val} and test is {test}, expected shares with a sum below 1")
    order = np.random.default_rng(seed).permutation(len(store))
    if by == "nodes":
        groups = [[int(i)] for i in np.argsort(-store.num_nodes, kind="stable")]
    elif by == "geometry":
        groups = together(order, list(geometry_keys(store)))
    elif by == "group":
        groups = together(order, group_numbers(store))
    else:
        groups = [[int(i)] for i in order]
    num_groups = len(groups)
    parts = fill_parts(groups, [round(share * len(store)) for share in (test, val)])
    train = sorted(i for group in groups for i in group)
    if not train or (test and not parts[0]):
        raise ValueError(
            f"{store.path}: {len(store)} graphs in {num_groups} groups are too few for a split by"
            f" {by} with val {val} and test {test}"
        )
    return Split(train, sorted(parts[1]), sorted(parts[0]))


def together(order: Iterable[int], keys: Sequence[Hashable]) -> list[list[int]]:
    """Graphs with the same key, in groups; groups and their graphs are in the given order."""
    same: dict[Hashable, list[int]] = {}
    for i in order:
        same.setdefault(keys[i], []).append(int(i))
    return list(same.values())


def fill_parts(groups: list[list[int]], wanted: list[int]) -> list[list[int]]:
    """Take whole groups off the list until each part has about so many graphs.

    A group that would overfill a part by more than it lacks is passed over, if a later one fits.
    """
    parts: list[list[int]] = []
    for count in wanted:
        part: list[int] = []
        while groups and len(part) < count:
            lacking = count - len(part)
            fits = [n for n, group in enumerate(groups) if len(group) <= 2 * lacking]
            part += groups.pop(fits[0] if fits else 0)
        parts.append(part)
    return parts


def group_numbers(store: MeshStore) -> list[int]:
    """The array ``group`` of each graph.

    Raises:
        ValueError: the store has no such array with one number for each graph.
    """
    if "group" not in store.arrays or len(numbers := store.read("group")) != len(store):
        raise ValueError(
            f"{store.path}: has no array 'group' with one number for each graph to split by"
        )
    return [int(number) for number in numbers]


def geometry_keys(store: MeshStore) -> Iterator[str]:
    """A digest of each graph's mesh: equal for the same nodes and cells, whatever the fields.

    The order of nodes does not matter, nor does rounding below a millionth of the mesh's size.
    """
    for data in store:
        yield _geometry_key(data)


def _geometry_key(data: Data) -> str:
    pos = data.pos.double().numpy()
    size = float(np.ptp(pos, axis=0).max()) if len(pos) else 0.0
    places = np.round(pos / (1e-6 * size or 1.0)).astype(np.int64)
    places = places[np.lexsort(places.T)]
    num_cells = len(data.cells) if "cells" in data else 0
    return hashlib.sha256(places.tobytes() + f"{pos.shape} {num_cells}".encode()).hexdigest()
