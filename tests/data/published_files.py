"""Small copies of the published files, written as their authors did."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import meshio
import numpy as np
import scipy.io

from lrsa_geo.data import MeshStore
from lrsa_geo.data.datasets import PublishedSet
from lrsa_geo.data.datasets.airfrans import AirfRANS
from lrsa_geo.data.datasets.fno import Darcy, NavierStokes
from lrsa_geo.data.datasets.geofno import Airfoil, Elasticity, Pipe, Plasticity
from lrsa_geo.data.datasets.norm import COMPOSITE, IRREGULAR_DARCY, TURBULENCE, HeatTransfer
from lrsa_geo.data.datasets.shapenet_car import BROKEN, ShapeNetCar

Writer = Callable[[Path, dict[str, np.ndarray]], None]


def save_mat5(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, arrays, do_compression=True)


def save_mat73(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """As MATLAB does: HDF5 behind a header of 512 bytes, the axes in reverse."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")


def save_npy(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def numbers(*shape: int) -> np.ndarray:
    """All different, exact in float32."""
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape) + 1


# --- small copies of the published files ---------------------------------------------------------


def elasticity(folder: Path) -> PublishedSet:
    meshes = folder / "elasticity/Meshes"
    save_npy(meshes / "Random_UnitCell_XY_10.npy", numbers(4, 2, 9))
    save_npy(meshes / "Random_UnitCell_sigma_10.npy", -numbers(4, 9))
    return Elasticity(nodes=4, samples=9, train=5, test=2)


def curved(folder: Path, stem: str, channels: int) -> None:
    save_npy(folder / f"{stem}_X.npy", numbers(8, 3, 4))
    save_npy(folder / f"{stem}_Y.npy", 1000 + numbers(8, 3, 4))
    save_npy(folder / f"{stem}_Q.npy", numbers(8, channels, 3, 4))


def airfoil(folder: Path) -> PublishedSet:
    curved(folder, "airfoil/naca/NACA_Cylinder", 6)
    return Airfoil(rows=3, columns=4, train=5, test=2)


def pipe(folder: Path) -> PublishedSet:
    curved(folder, "pipe/Pipe", 3)
    return Pipe(rows=3, columns=4, train=5, test=2)


def plasticity(folder: Path, save: Writer = save_mat5) -> PublishedSet:
    arrays = {"input": numbers(9, 5), "output": numbers(9, 5, 3, 2, 4)}
    save(folder / "plasticity/plas_N987_T20.mat", arrays)
    return Plasticity(rows=5, columns=3, times=2, samples=9, train=5, test=2)


def darcy(folder: Path, save: Writer = save_mat5) -> PublishedSet:
    for number in (1, 2):
        arrays = {
            "coeff": number * 10_000 + numbers(7, 11, 11),
            "sol": -number * 10_000 - numbers(7, 11, 11),
            "Kcoeff": numbers(2, 2),
        }
        save(folder / f"piececonst_r421_N1024_smooth{number}.mat", arrays)
    return Darcy(resolution=11, every=5, samples=7, train=5, test=2)


def navier_stokes(folder: Path, save: Writer = save_mat73) -> PublishedSet:
    arrays = {"u": numbers(8, 4, 4, 5), "t": numbers(1, 5)}
    save(folder / "NavierStokes_V1e-5_N1200_T20.mat", arrays)
    return NavierStokes(size=4, frames=5, train=5, test=2)


SQUARE = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
TRIANGLES = np.array([[1, 2, 3], [1, 3, 4]])  # numbered from 1


def irregular_darcy(folder: Path) -> PublishedSet:
    arrays = {"c_field": numbers(9, 4), "u_field": -numbers(9, 4)}
    mesh = {"MeshNodes": SQUARE.T, "MeshElements": TRIANGLES.T.astype(float)}
    save_mat5(folder / "datasets/Darcy.mat", arrays | mesh)
    return replace(IRREGULAR_DARCY, nodes=4, samples=9, train=5, test=2)


def turbulence(folder: Path) -> PublishedSet:
    arrays = {"Input": numbers(9, 4), "Output": -numbers(9, 4)}
    mesh = {"nodes": SQUARE, "elements": TRIANGLES.T.astype(np.uint16)}
    save_mat5(folder / "datasets/Turbulence.mat", arrays | mesh)
    return replace(TURBULENCE, nodes=4, samples=9, train=5, test=2)


def composite(folder: Path) -> PublishedSet:
    arrays = {"T_field": numbers(9, 4), "D_field": -numbers(9, 4)}
    save_mat5(folder / "datasets/Composites.mat", arrays)
    mesh = {"Points": np.c_[SQUARE, [5, 6, 7, 8]], "Faces": TRIANGLES - 1}
    basis = folder / "datasets/Composites_LBO_basis/Composites_LBO_basis.mat"
    save_mat5(basis, mesh | {"Eigenvectors": numbers(4, 2)})
    return replace(COMPOSITE, nodes=4, samples=9, train=5, test=2)


def heat_transfer(folder: Path) -> PublishedSet:
    datasets, basis = folder / "datasets", folder / "datasets/HeatTransfer_LBO_basis"
    save_mat5(datasets / "HeatTransfer.mat", {"input": numbers(9, 4), "output": -numbers(9, 5)})
    save_mat5(
        basis / "lbe_ev_input.mat",
        {"Points": np.c_[SQUARE, np.zeros(4)].astype(np.float32), "Faces": TRIANGLES - 1},
    )
    solid = {
        "points": np.c_[numbers(5, 2), [2, 2, 2, 3, 4]],
        "elements": [[1.0, 2, 3, 4], [2, 3, 4, 5]],
    }
    save_mat5(basis / "Part_Mesh.mat", solid)
    return HeatTransfer(inputs=4, outputs=5, samples=9, train=5, test=2)


VTP = """<?xml version="1.0"?>
<VTKFile type="PolyData" version="0.1" byte_order="LittleEndian"><PolyData>
<Piece NumberOfPoints="2" NumberOfVerts="0" NumberOfLines="1" NumberOfStrips="0" NumberOfPolys="0">
<PointData Normals="Normals"><DataArray type="Float32" Name="Normals" NumberOfComponents="3"
 format="ascii">0 -1 0 0.6 -0.8 0</DataArray></PointData>
<Points><DataArray type="Float32" NumberOfComponents="3" format="ascii">1 1 0.5 1 0 0.5
</DataArray></Points>
<Lines><DataArray type="Int64" Name="connectivity" format="ascii">0 1</DataArray>
<DataArray type="Int64" Name="offsets" format="ascii">2</DataArray></Lines>
</Piece></PolyData></VTKFile>"""
SQUARES = np.array([[0, 3, 4, 1], [1, 4, 5, 2], [3, 6, 7, 4], [4, 7, 8, 5]])


def airfrans(folder: Path) -> PublishedSet:
    names = [f"airFoil2D_SST_{30 + i}.5_{-5 + i}.25_1.2_3.4_0.0_9.1" for i in range(7)]
    root = folder / "Dataset"
    for i, name in enumerate(names):
        (root / name).mkdir(parents=True)
        grid = np.stack(np.meshgrid([0.0, 1, 2], [0.0, 1, 2], indexing="ij"), -1).reshape(-1, 2)
        node = np.arange(9.0) + 100 * i
        point_data = {
            "U": np.stack([node + 1, node + 2, 0 * node], -1).astype(np.float32),
            "p": (node + 3).astype(np.float32),
            "nut": (node + 4).astype(np.float32),
            "implicit_distance": -np.arange(9.0),
        }
        mesh = meshio.Mesh(np.c_[grid, np.full(9, 0.5)], [("quad", SQUARES)], point_data)
        meshio.write(root / name / f"{name}_internal.vtu", mesh)
        (root / name / f"{name}_aerofoil.vtp").write_text(VTP)
    manifest = {
        "full_train": names[2:],
        "full_test": names[:2],
        "scarce_train": names[3:6],
        "reynolds_train": [names[0], names[6], names[1]],
        "reynolds_test": [names[5], names[2]],
    }
    (root / "manifest.json").write_text(json.dumps(manifest))
    return AirfRANS(train=5, test=2)


CUBE = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float)
HEXAHEDRON = np.array([[0, 1, 3, 2, 4, 5, 7, 6]])
SIDES = np.array(
    [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]
)


def legacy_vtk(path: Path, points: np.ndarray, cells: np.ndarray, number: int, data: str) -> None:
    rows = [" ".join(map(str, [len(cell), *cell])) for cell in cells]
    lines = [
        "# vtk DataFile Version 2.0\nmesh\nASCII\nDATASET UNSTRUCTURED_GRID",
        f"POINTS {len(points)} float",
        *(" ".join(map(str, point)) for point in points),
        f"CELLS {len(cells)} {cells.size + len(cells)}",
        *rows,
        f"CELL_TYPES {len(cells)}",
        *[str(number)] * len(cells),
        f"POINT_DATA {len(points)}",
        data,
    ]
    path.write_text("\n".join(lines) + "\n")


def shapenet_car(folder: Path) -> PublishedSet:
    """A cube with two points of no quad, and one hexahedron on its top side."""
    root = folder / "mlcfd_data/training_data"
    for number, car in enumerate(["param0/b", "param0/a", *(f"param1/{c}" for c in "dcefg")]):
        (root / car).mkdir(parents=True)
        surface = np.concatenate([CUBE[:2], [[9, 9, 9], [8, 8, 8]], CUBE[2:]])
        quads = np.where(SIDES > 1, SIDES + 2, SIDES)
        scalars = "SCALARS p float\nLOOKUP_TABLE default\n" + "\n".join(map(str, range(10)))
        legacy_vtk(root / car / "quadpress_smpl.vtk", surface, quads, 9, scalars)
        around = CUBE * [1, 1, 2] + [0, 0, 1]
        vectors = "\n".join(f"{100 * number + i} {i} {-i}" for i in range(8))
        legacy_vtk(
            root / car / "hexvelo_smpl.vtk", around, HEXAHEDRON, 12, "VECTORS v float\n" + vectors
        )
        np.save(root / car / "press.npy", np.arange(10.0) + 50)
    (root / BROKEN[0]).mkdir(parents=True)
    return ShapeNetCar(cars=(2, 5, 0))


WRITERS: dict[str, Callable[[Path], PublishedSet]] = {
    "elasticity_geofno": elasticity,
    "airfoil_geofno": airfoil,
    "pipe_geofno": pipe,
    "plasticity_geofno": plasticity,
    "darcy_fno": darcy,
    "navier_stokes_fno": navier_stokes,
    "darcy_norm": irregular_darcy,
    "turbulence_norm": turbulence,
    "heat_transfer_norm": heat_transfer,
    "composite_norm": composite,
    "airfrans": airfrans,
    "shapenet_car": shapenet_car,
}


def converted(write: Callable[[Path], PublishedSet], tmp_path: Path) -> MeshStore:
    return write(tmp_path / "in").convert(tmp_path / "in", tmp_path / "out.h5")
