"""ShapeNet-Car (Umetani and Bickel, SIGGRAPH 2018): air flow around 889 cars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch_geometric.data import Data

from lrsa_geo.data.datasets.arrays import PublishedFileError, find_file, read_npy
from lrsa_geo.data.datasets.base import Card, Cases, PublishedSet, cell_tensors, floats
from lrsa_geo.mesh.cells import QUAD
from lrsa_geo.mesh.fields import Field, Fields
from lrsa_geo.mesh.read import read_mesh

HEXAHEDRON = 12
_FILES = ("quadpress_smpl.vtk", "hexvelo_smpl.vtk", "press.npy")
# Published without a surface.
BROKEN = (
    "param2/854bb96a96a4d1b338acbabdc1252e2f",
    "param2/85bb9748c3836e566f81b21e2305c824",
    "param5/9ec13da6190ab1a3dd141480e2c154d3",
    "param8/c5079a5b8d59220bc3fb0d224baae2a",
)


@dataclass(frozen=True)
class ShapeNetCar(PublishedSet):
    """Position, distance, normal -> velocity around the car and pressure on it.

    Files: ``mlcfd_data/training_data/param<k>/<id>/`` with ``quadpress_smpl.vtk`` (quads of the
    surface), ``hexvelo_smpl.vtk`` (hexahedra around it, one vector field on the nodes) and
    ``press.npy``, the pressure at the points of the surface. Folder param0 is the test.

    Nodes of a graph: the points around the car that are not on its surface, then the points of the
    surface that belong to a quad (boundary 1). Targets are NaN where there are none.
    """

    cars: tuple[int, ...] = (100, 99, 97, 100, 100, 96, 100, 98, 99)

    card: Card = Card(
        "shapenet_car",
        "http://www.nobuyuki-umetani.com/publication/mlcfd_data.zip",
        (
            "some split 700/189 at random instead",
            "only the pressure on the surface (boundary 1) has a meaning",
            "others keep the surface's points of no quad (96 of 3,682): they are left out here",
        ),
        partial=True,
    )

    @property
    def fields(self) -> dict[str, Fields]:
        """``x``: distance and direction from the car, or its normal; ``y``: the flow."""
        axes = ("x", "y", "z")
        return {
            "x": (Field("distance"), Field("normal", "1", axes)),
            "y": (Field("velocity", "1", axes), Field("pressure")),
        }

    @property
    def split_rule(self) -> str:
        """By folder."""
        return f"param1 to param{len(self.cars) - 1} train, param0 test"

    def open(self, folder: Path) -> Cases:
        """See :meth:`PublishedSet.open`."""
        root = _root(folder, self.card.source)
        folders: list[Path] = []
        for part, expected in enumerate(self.cars):
            found = sorted(
                car
                for car in (root / f"param{part}").glob("*")
                if car.is_dir() and f"{car.parent.name}/{car.name}" not in BROKEN
            )
            if len(found) != expected:
                raise PublishedFileError(
                    f"{root / f'param{part}'}: has {len(found)} usable cars, expected {expected};"
                    f" unpack param{part}.tar.gz of {self.card.source} again"
                )
            folders += found
        files = [find_file(car, name, self.card.source) for car in folders for name in _FILES]
        first_train = self.cars[0]
        names = [f"{car.parent.name}/{car.name}" for car in folders]
        return Cases(
            [*range(first_train, len(folders))],
            [*range(first_train)],
            lambda case: _graph(folders[case]),
            files,
            notes={"cases": names, "left_out": list(BROKEN)},
        )


def _root(folder: Path, source: str) -> Path:
    for root in (folder / "mlcfd_data" / "training_data", folder / "training_data", folder):
        if (root / "param0").is_dir():
            return root
    raise PublishedFileError(
        f"{folder}: folder 'mlcfd_data/training_data/param0' is missing; it comes from {source},"
        " with param0.tar.gz to param8.tar.gz unpacked"
    )


def _graph(car: Path) -> Data:
    surface, around = (read_mesh(car / name) for name in _FILES[:2])
    _check_cells(car / _FILES[0], surface, QUAD)
    _check_cells(car / _FILES[1], around, HEXAHEDRON)
    pressure = read_npy(car / _FILES[2], (len(surface.pos),))
    velocity = _velocity(car / _FILES[1], around)

    used, quads = np.unique(surface.cells.numpy(), return_inverse=True)
    quads = quads.reshape(-1, 4)
    skin, points = surface.pos.numpy()[used], around.pos.numpy()
    distance, nearest = cKDTree(skin).query(points)
    on_skin = distance == 0
    outside = np.flatnonzero(~on_skin)
    first = len(outside)  # of the surface's nodes
    node = np.empty(len(points), dtype=np.int64)
    node[outside] = np.arange(first)
    node[on_skin] = first + nearest[on_skin]

    x = np.zeros((first + len(skin), 4))
    x[:first, 0] = distance[outside]
    x[:first, 1:] = (points - skin[nearest])[outside] / distance[outside, None]
    x[first:, 1:] = outward_normals(skin, quads)
    y = np.full((first + len(skin), 4), np.nan)
    y[node, :3] = velocity
    y[first:, 3] = pressure[used]
    return Data(
        pos=floats(np.concatenate([points[outside], skin])),
        x=floats(x),
        y=floats(y),
        boundary=(torch.arange(len(x)) >= first).to(torch.int8),
        **cell_tensors([(QUAD, quads + first), (HEXAHEDRON, node[around.cells.numpy()])]),
    )


def outward_normals(pos: np.ndarray, quads: np.ndarray) -> np.ndarray:
    r"""Unit normals at the nodes of a closed surface, ``[N, 3]``: mean over quads by area.

    The sign is such that the enclosed volume, :math:`\frac13 \sum_q a_q \cdot c_q` with vector
    areas a and centres c, is positive.
    """
    corners = (pos - pos.mean(0))[quads].astype(np.float64)
    area = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]) / 2
    volume = (area * corners.mean(1)).sum() / 3
    normals = np.zeros(pos.shape)
    np.add.at(normals, quads, area[:, None])
    normals *= np.sign(volume)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.where(length > 0, length, 1)


def _check_cells(path: Path, mesh: Data, cell_type: int) -> None:
    if mesh.get("cells") is None or (mesh.cell_types != cell_type).any():
        raise PublishedFileError(
            f"{path}: has other cells than VTK type {cell_type}; it is not the published file"
        )


def _velocity(path: Path, mesh: Data) -> np.ndarray:
    vectors = [v for v in mesh.point_data.values() if tuple(v.shape) == (len(mesh.pos), 3)]
    if len(vectors) != 1:
        shapes = {name: list(values.shape) for name, values in mesh.point_data.items()}
        raise PublishedFileError(
            f"{path}: has the node fields {shapes}, expected one of shape [{len(mesh.pos)}, 3];"
            " it is not the published file"
        )
    return vectors[0].numpy()
