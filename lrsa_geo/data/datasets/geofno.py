"""The four data sets of Geo-FNO (arXiv 2207.05209): elasticity, airfoil, pipe, plasticity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.data.datasets.arrays import (
    AtLeast,
    Shape,
    check_array,
    find_file,
    read_mat,
    read_npy,
)
from lrsa_geo.data.datasets.base import (
    Card,
    Cases,
    FirstAndLast,
    PublishedSet,
    floats,
)
from lrsa_geo.mesh.fields import Field, Fields
from lrsa_geo.mesh.grids import grid_positions, quad_cells

GEOFNO = (
    "the Google Drive folder of Geo-FNO (link in github.com/neuraloperator/Geo-FNO; mirror: Hugging"
    " Face data set vedantpuri/PDESurrogates, Geo-FNO.tar.gz)"
)


@dataclass(frozen=True)
class Elasticity(FirstAndLast):
    """Point clouds around a void; positions -> stress. There are no cells.

    Files: ``Random_UnitCell_XY_10.npy [nodes, 2, samples]``,
    ``Random_UnitCell_sigma_10.npy [nodes, samples]``.
    """

    nodes: int = 972
    samples: int = 2000
    train: int = 1000
    test: int = 200

    card: Card = Card(
        "elasticity_geofno",
        GEOFNO,
        ("the target is z-scored with one mean and deviation; the loss is of physical values",),
    )

    @property
    def fields(self) -> dict[str, Fields]:
        """``y``: stress."""
        return {"y": (Field("stress"),)}

    def open(self, folder: Path) -> Cases:
        """See :meth:`PublishedSet.open`."""
        folder_in_archive = "elasticity/Meshes"
        files = [
            find_file(
                folder, f"{folder_in_archive}/Random_UnitCell_{array}_10.npy", self.card.source
            )
            for array in ("XY", "sigma")
        ]
        positions = read_npy(files[0], (self.nodes, 2, self.samples))
        stress = read_npy(files[1], (self.nodes, self.samples))

        def graph(case: int) -> Data:
            return Data(pos=floats(positions[:, :, case]), y=floats(stress[:, case, None]))

        return Cases(*self.parts, graph, files)


@dataclass(frozen=True)
class CurvedGrid(PublishedSet):
    """Grids of one topology on different shapes; positions -> one channel of Q.

    Files: ``<stem>_X.npy`` and ``_Y.npy [S, rows, columns]``, ``_Q.npy [S, C, rows, columns]``.
    """

    rows: int
    columns: int
    channel: int
    channels: int
    train: int = 1000
    test: int = 200

    stem: ClassVar[str]
    target: ClassVar[Field]

    @property
    def fields(self) -> dict[str, Fields]:
        """``y``: the target."""
        return {"y": (self.target,)}

    @property
    def split_rule(self) -> str:
        """Neighbouring ranges."""
        last = self.train + self.test
        return f"samples 0:{self.train} train, {self.train}:{last} test, the rest is not used"

    def open(self, folder: Path) -> Cases:
        """See :meth:`PublishedSet.open`."""
        files = [find_file(folder, f"{self.stem}_{array}.npy", self.card.source) for array in "XYQ"]
        samples = AtLeast(self.train + self.test)
        grid: Shape = (samples, self.rows, self.columns)
        x, y = read_npy(files[0], grid), read_npy(files[1], grid)
        q = read_npy(files[2], (samples, AtLeast(self.channels), self.rows, self.columns))
        cells = quad_cells(self.rows, self.columns)

        def graph(case: int) -> Data:
            pos = np.stack([x[case], y[case]], -1).reshape(-1, 2)
            return Data(pos=floats(pos), y=floats(q[case, self.channel].reshape(-1, 1)), **cells)

        test = range(self.train, self.train + self.test)
        return Cases([*range(self.train)], [*test], graph, files)


@dataclass(frozen=True)
class Airfoil(CurvedGrid):
    """Transonic flow around deformed NACA 0012 profiles on a C-grid; Mach number."""

    rows: int = 221
    columns: int = 51
    channel: int = 4
    channels: int = 5

    card: Card = Card(
        "airfoil_geofno",
        GEOFNO,
        ("C-grid: nodes on the cut behind the profile are there twice; no cell joins the sides",),
    )
    stem: ClassVar[str] = "airfoil/naca/NACA_Cylinder"
    target: ClassVar[Field] = Field("mach")


@dataclass(frozen=True)
class Pipe(CurvedGrid):
    """Laminar flow through curved pipes; horizontal velocity."""

    rows: int = 129
    columns: int = 129
    channel: int = 0
    channels: int = 1

    card: Card = Card("pipe_geofno", GEOFNO)
    stem: ClassVar[str] = "pipe/Pipe"
    target: ClassVar[Field] = Field("velocity_x")


@dataclass(frozen=True)
class Plasticity(FirstAndLast):
    """A block that a die forges; profile of the die -> 4 channels at 20 times.

    File: ``plas_N987_T20.mat``, ``input [samples, rows]``,
    ``output [samples, rows, columns, times, 4]``.
    The times are numbered evenly from 0 to 1, as published scripts feed them: the file has none.
    """

    rows: int = 101
    columns: int = 31
    times: int = 20
    samples: int = 987
    train: int = 900
    test: int = 80

    card: Card = Card(
        "plasticity_geofno",
        GEOFNO,
        ("the fields are flattened 101x31; a widely copied script has the coordinates 31x101",),
    )

    @property
    def fields(self) -> dict[str, Fields]:
        """``x``: profile of the die above a node; ``states``: position and displacement."""
        moved = tuple(Field(name, "1", ("x", "y")) for name in ("position", "displacement"))
        return {"x": (Field("die"),), "states": moved}

    def open(self, folder: Path) -> Cases:
        """See :meth:`PublishedSet.open`."""
        path = find_file(folder, "plasticity/plas_N987_T20.mat", self.card.source)
        arrays = read_mat(path, ["input", "output"])
        die, output = arrays["input"], arrays["output"]
        check_array(path, "input", die, (self.samples, self.rows))
        shape = (self.samples, self.rows, self.columns, self.times, 4)
        check_array(path, "output", output, shape)
        pos, cells = grid_positions(self.rows, self.columns), quad_cells(self.rows, self.columns)

        times = torch.linspace(0, 1, self.times, dtype=torch.float64)

        def graph(case: int) -> Data:
            x = np.repeat(die[case], self.columns)[:, None]
            states = output[case].reshape(self.rows * self.columns, self.times, 4)
            return Data(pos=pos, x=floats(x), states=floats(states), times=times, **cells)

        return Cases(*self.parts, graph, [path])
