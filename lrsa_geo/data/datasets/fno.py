"""The two data sets of FNO (arXiv 2010.08895) on regular grids: Darcy and Navier-Stokes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.data.datasets.arrays import AtLeast, check_array, find_file, read_mat
from lrsa_geo.data.datasets.base import (
    Card,
    Cases,
    PublishedSet,
    floats,
)
from lrsa_geo.mesh.fields import Field, Fields
from lrsa_geo.mesh.grids import grid_positions, quad_cells

FNO = (
    "the Google Drive folder of FNO (link in github.com/neuraloperator/neuraloperator; mirror:"
    " Hugging Face data set vedantpuri/PDESurrogates, FNO.tar.gz)"
)


@dataclass(frozen=True)
class Darcy(PublishedSet):
    """Darcy flow on the unit square; coefficient -> solution, on every ``every``-th grid point.

    Files: ``piececonst_r421_N1024_smooth1.mat`` (train) and ``_smooth2.mat`` (test), with
    ``coeff`` and ``sol [samples, resolution, resolution]``. Test case i has the number
    ``samples + i``.
    """

    resolution: int = 421
    every: int = 5
    samples: int = 1024
    train: int = 1000
    test: int = 200

    card: Card = Card(
        "darcy_fno",
        FNO,
        ("often trained with 0.1 x the relative L2 of the gradient added to the loss",),
    )

    @property
    def fields(self) -> dict[str, Fields]:
        """``x``: coefficient; ``y``: solution."""
        return {"x": (Field("coefficient"),), "y": (Field("solution"),)}

    @property
    def split_rule(self) -> str:
        """First samples of one file each."""
        return f"first {self.train} of smooth1 train, first {self.test} of smooth2 test"

    def open(self, folder: Path) -> Cases:
        """See :meth:`PublishedSet.open`."""
        files = [
            find_file(folder, f"piececonst_r421_N1024_smooth{number}.mat", self.card.source)
            for number in (1, 2)
        ]
        coefficient = np.concatenate([self._read(file, "coeff") for file in files])
        solution = np.concatenate([self._read(file, "sol") for file in files])
        size = coefficient.shape[1]
        pos, cells = grid_positions(size, size), quad_cells(size, size)

        def graph(case: int) -> Data:
            x, y = coefficient[case].reshape(-1, 1), solution[case].reshape(-1, 1)
            return Data(pos=pos, x=floats(x), y=floats(y), **cells)

        test = range(self.samples, self.samples + self.test)
        return Cases([*range(self.train)], [*test], graph, files, notes={"grid": [size, size]})

    def _read(self, path: Path, name: str) -> np.ndarray:
        array = read_mat(path, [name])[name]  # one at a time: each is 1.5 GB
        check_array(path, name, array, (self.samples, self.resolution, self.resolution))
        return array[:, :: self.every, :: self.every].astype(np.float32)


@dataclass(frozen=True)
class NavierStokes(PublishedSet):
    """Vorticity on a periodic grid, a series of frames.

    File: ``NavierStokes_V1e-5_N1200_T20.mat``, ``u [samples, size, size, frames]``; frame i is of
    time i + 1. Published are errors of a rollout from the first ten frames.
    """

    size: int = 64
    frames: int = 20
    train: int = 1000
    test: int = 200

    card: Card = Card(
        "navier_stokes_fno",
        FNO,
        (
            "trained with true frames as input, tested by a rollout of 10 frames",
            "the domain is periodic: the cells do not join its opposite sides",
        ),
    )

    @property
    def fields(self) -> dict[str, Fields]:
        """``states``: vorticity."""
        return {"states": (Field("vorticity"),)}

    @property
    def split_rule(self) -> str:
        """First and last samples."""
        return f"first {self.train} train, last {self.test} test"

    def open(self, folder: Path) -> Cases:
        """See :meth:`PublishedSet.open`."""
        path = find_file(folder, "NavierStokes_V1e-5_N1200_T20.mat", self.card.source)
        u = read_mat(path, ["u"])["u"]
        samples = AtLeast(self.train + self.test)
        check_array(path, "u", u, (samples, self.size, self.size, self.frames))
        pos = grid_positions(self.size, self.size, endpoint=False)
        cells = quad_cells(self.size, self.size)

        times = torch.arange(1, self.frames + 1, dtype=torch.float64)

        def graph(case: int) -> Data:
            states = floats(u[case].reshape(self.size**2, self.frames, 1))
            return Data(pos=pos, states=states, times=times, **cells)

        test = range(len(u) - self.test, len(u))
        return Cases([*range(self.train)], [*test], graph, [path])
