"""Splits: which graphs of a store are for training, validation and test."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from lrsa_geo.data.geometry import geometry_keys
from lrsa_geo.data.store import MeshStore, store_folder, store_name
from lrsa_geo.files import atomic_path

SplitRule = Literal["random", "geometry", "group", "nodes"]
"""What decides which graphs go together into a part."""


@dataclass
class SplitConfig:
    """How many graphs are for training, validation and test; no graph is for two of them.

    A whole number is a count, a number with a point a share of the store: 1 is one graph, 1.0 all
    of them. Training graphs are taken from the front, test graphs from the end, validation graphs
    from just before those.

    Args:
        train: graphs to train on; null for all that validation and test leave.
        val: graphs whose error is shown during training. Nothing is chosen by it.
        test: graphs for the figures of the finished model.
        by: "random"; "geometry": graphs on the same mesh stay together, so that a test mesh was
            never trained on; "group": graphs with the same number in the array ``group`` stay
            together, such as the airfoils of one family; "nodes": the meshes with the most nodes
            test, which shows how a model does on meshes larger than it knows. Where graphs stay
            together the counts hold about.
        shuffle: mix the graphs first; right unless their order is random.
        seed: of the mixing.
    """

    train: int | float | None = None
    val: int | float = 0.05
    test: int | float = 0.15
    by: SplitRule = "random"
    shuffle: bool = True
    seed: int = 0

    def counts(self, num_graphs: int) -> tuple[int, int, int]:
        """Graphs for training, validation and test, of a store of so many.

        Raises:
            ValueError: it asks for more graphs than there are, or a number is neither a count nor a
                share.
        """
        shares = 0.0
        for part in ("train", "val", "test"):
            wanted = getattr(self, part)
            if wanted is None and part == "train":
                continue
            if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not wanted >= 0:
                raise ValueError(f"split.{part} is {wanted}, expected a count or a share")
            if isinstance(wanted, float) and wanted > 1:
                raise ValueError(
                    f"split.{part} is {wanted}, expected a share of 0.0 to 1.0; counts are whole"
                    f" numbers, such as {round(wanted)}"
                )
            shares += wanted if isinstance(wanted, float) else 0
        # Rounding may ask for a graph more than there are; graphs that are named may not.
        test = _count(self.test, num_graphs)
        val = _count(self.val, num_graphs)
        train = 0 if self.train is None else _count(self.train, num_graphs)
        named = sum(n for n in (self.train, self.val, self.test) if isinstance(n, int))
        if shares > 1 + 1e-9 or named > num_graphs or (named and train + val + test > num_graphs):
            raise ValueError(
                f"split asks for {train} training, {val} validation and {test} test graphs, the"
                f" store has {num_graphs}; lower the numbers"
            )
        val = min(val, num_graphs - test)
        rest = num_graphs - test - val
        all_named = isinstance(self.train, float) and abs(shares - 1) < 1e-9
        return rest if self.train is None or all_named else min(train, rest), val, test


def _count(wanted: int | float, num_graphs: int) -> int:
    return wanted if isinstance(wanted, int) else round(wanted * num_graphs)


@dataclass(frozen=True)
class Split:
    """Graph numbers for training, validation and test; no graph is in two of them."""

    train: list[int]
    val: list[int]
    test: list[int]

    def __str__(self) -> str:
        parts = {"training": self.train, "validation": self.val, "test": self.test}
        return ", ".join(f"{len(part) or 'no'} {name}" for name, part in parts.items()) + " graphs"

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
            text = Path(path).read_text(encoding="utf-8")
            parts = json.loads(text, object_pairs_hook=_each_once)
            split = cls(**{name: _whole_numbers(name, graphs) for name, graphs in parts.items()})
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


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parts = dict(pairs)
    if len(parts) < len(pairs):
        raise ValueError("a part is there twice")
    return parts


def _whole_numbers(part: str, graphs: object) -> list[int]:
    if not isinstance(graphs, list) or any(type(graph) is not int for graph in graphs):
        raise ValueError(f"'{part}' is no list of whole numbers")
    return graphs


def split_path(store: str | Path) -> Path:
    """Where the split of a store is kept.

    Examples:
        >>> from lrsa_geo.data import split_path
        >>> split_path("mine.h5").name, split_path("shards/part-*.h5").name
        ('mine.split.json', 'part-all.split.json')
    """
    return store_folder(store) / f"{store_name(store)}.split.json"


def make_split(store: MeshStore, config: SplitConfig | None = None) -> Split:
    """Choose the parts of a store.

    Raises:
        ValueError: it asks for what the store does not have.
    """
    config = config or SplitConfig()
    counts = config.counts(len(store))
    if config.by == "nodes":
        descending = np.argsort(-store.num_nodes, kind="stable").tolist()
        return split_in_order(descending[::-1], counts)
    order = list(range(len(store)))
    if config.shuffle:
        generator = torch.Generator().manual_seed(config.seed)
        order = torch.randperm(len(store), generator=generator).tolist()
    if config.by == "random":
        return split_in_order(order, counts)
    keys: Sequence[Hashable]
    keys = geometry_keys(store) if config.by == "geometry" else group_numbers(store)
    groups = together(order, keys)
    num_groups = len(groups)
    test, val = fill_parts(groups, [counts[2], counts[1]])
    train = [graph for group in groups for graph in group]
    if counts[0] and not train:
        raise ValueError(
            f"{store.path}: {len(store)} graphs in {num_groups} groups are too few for a split by"
            f" {config.by} with val {config.val} and test {config.test}"
        )
    return Split(train if config.train is None else train[: counts[0]], val, test)


def split_in_order(order: list[int], counts: tuple[int, int, int]) -> Split:
    """So many graphs for training from the front, for test from the end, validation before."""
    train, val, test = counts
    first_test = len(order) - test
    return Split(order[:train], order[first_test - val : first_test], order[first_test:])


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
