"""What all published data sets share: folder -> checked arrays -> MeshStore and split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data.datasets.arrays import PublishedFileError
from lrsa_geo.data.split import Split, split_path
from lrsa_geo.data.store import MeshStore
from lrsa_geo.jobs import progress_bar
from lrsa_geo.mesh.cells import Blocks, to_table
from lrsa_geo.mesh.fields import Fields

BEST_ON_TEST = "most authors choose the best epoch on the test set"
"""The trap of every published table."""
_MAX_LISTED_FILES = 20


@dataclass(frozen=True)
class Cases:
    """The opened files of a data set.

    Args:
        train: numbers of the published training cases, in the order of the store.
        test: numbers of the published test cases.
        graph: number of a case -> its graph.
        files: what was opened.
        tasks: further published splits of the same cases: name -> (train, test).
        notes: for the provenance.
    """

    train: list[int]
    test: list[int]
    graph: Callable[[int], Data]
    files: list[Path]
    tasks: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """What is known of a published data set beside its arrays.

    Args:
        name: under which ``PUBLISHED`` has it.
        source: where users download the files.
        traps: what makes published numbers of this set incomparable.
        partial: some nodes have no target, which is NaN there.
    """

    name: str
    source: str
    traps: tuple[str, ...] = ()
    partial: bool = False


@dataclass(frozen=True)
class PublishedSet(ABC):
    """One published data set; the sizes are fields, so that a test can make them small.

    Args:
        card: its name, source and traps.
    """

    card: Card

    @property
    @abstractmethod
    def fields(self) -> dict[str, Fields]:
        """Meaning of the columns of ``x``, ``y``, ``states`` and ``cond``."""

    @property
    @abstractmethod
    def split_rule(self) -> str:
        """Which published cases train and which test."""

    @abstractmethod
    def open(self, folder: Path) -> Cases:
        """Find and check the files.

        Raises:
            PublishedFileError: one is missing or is not the published one.
        """

    def convert(self, folder: str | Path, output: str | Path, val_share: float = 0.05) -> MeshStore:
        """Write the graphs (training, then test) to ``output`` and the split beside it.

        ``output`` with the suffix ``.split.json`` holds ``{"train", "val", "test"}``: numbers of
        graphs in the store. Cases that the benchmark leaves out are left out. ``sample`` of a graph
        is the number of its case. A further task's split goes to ``.<task>.split.json``.

        Args:
            folder: where the published files are.
            output: MeshStore (.h5).
            val_share: share of the published training graphs, taken from their end and at least
                one, that validates instead of training; 0 for the published split.

        Raises:
            PublishedFileError: a file is missing or is not the published one.
            MeshError: a mesh file is damaged.
            ValueError: ``val_share`` leaves nothing to train on.
        """
        folder, output = Path(folder), Path(output)
        if not folder.is_dir():
            raise PublishedFileError(
                f"{folder}: no such folder; {self.card.name} is at {self.card.source}"
            )
        cases = self.open(folder)
        order = [*cases.train, *cases.test]
        place = {case: number for number, case in enumerate(order)}
        splits = {
            task: _split([place[i] for i in train], [place[i] for i in test], val_share)
            for task, (train, test) in {"": (cases.train, cases.test), **cases.tasks}.items()
        }
        provenance = {
            "published": self.card.name,
            "source": self.card.source,
            "files": _sizes(cases.files, folder),
            "split": self.split_rule,
            "val_share": val_share,
            "settings": {key: value for key, value in vars(self).items() if isinstance(value, int)},
            "traps": [BEST_ON_TEST, *self.card.traps],
            **cases.notes,
        }
        store = MeshStore.write(output, self._graphs(cases, order), self.fields, provenance)
        for task, split in splits.items():
            split.save(split_path(output.with_suffix(f".{task}.h5") if task else output))
        return store

    def _graphs(self, cases: Cases, order: list[int]) -> Iterator[Data]:
        with progress_bar(len(order), self.card.name, quiet_in_files=True) as advance:
            for case in order:
                yield self._checked(cases.graph(case), case)
                advance(1, 0)

    def _checked(self, data: Data, case: int) -> Data:
        for array in ("pos", "x", "y", "states", "cond"):
            values = data.get(array)
            if values is None:
                continue
            allowed = values.isnan() if self.card.partial and array == "y" else False
            if not (values.isfinite() | allowed).all():
                raise PublishedFileError(
                    f"{self.card.name}: case {case} has NaN or infinity in its '{array}';"
                    " download the files again"
                )
        data.sample = torch.tensor([case])
        return data


class FirstAndLast(PublishedSet):
    """A set whose first cases train and whose last ones test.

    Attributes:
        samples: number of cases.
        train, test: how many of them.
    """

    samples: int
    train: int
    test: int

    @property
    def split_rule(self) -> str:
        """First and last samples."""
        return f"first {self.train} of {self.samples} train, last {self.test} test"

    @property
    def parts(self) -> tuple[list[int], list[int]]:
        """Numbers of the cases that train and that test."""
        return [*range(self.train)], [*range(self.samples - self.test, self.samples)]


def _split(train: list[int], test: list[int], val_share: float) -> Split:
    num_val = max(1, round(val_share * len(train))) if val_share else 0
    if not 0 <= val_share < 1 or num_val >= len(train):
        raise ValueError(
            f"val_share is {val_share}: of {len(train)} training graphs it leaves none to train on"
            " or is no share; expected 0 to below 1"
        )
    first_val = len(train) - num_val
    return Split(train[:first_val], train[first_val:], test)


def _sizes(files: list[Path], folder: Path) -> dict[str, int]:
    sizes = {str(file.relative_to(folder)): file.stat().st_size for file in files}
    if len(sizes) > _MAX_LISTED_FILES:
        return {"count": len(sizes), "bytes": sum(sizes.values())}
    return sizes


# --- parts of graphs -----------------------------------------------------------------------------


def floats(values: np.ndarray) -> Tensor:
    """A float32 tensor of its own memory."""
    return torch.from_numpy(np.array(values, dtype=np.float32))


def cell_tensors(blocks: Blocks) -> dict[str, Tensor]:
    """``cells`` and ``cell_types`` of a graph from blocks of (VTK type, nodes)."""
    cells, cell_types = to_table(blocks)
    return {"cells": torch.from_numpy(cells), "cell_types": torch.from_numpy(cell_types)}
