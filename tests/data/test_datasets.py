"""Published data sets: each value of the published files lands at its place in the store.

The files are written here with the published names, layouts and MATLAB versions, but small.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import meshio
import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrsa_geo.data import MeshStore
from lrsa_geo.data.datasets import (
    PUBLISHED,
    PublishedFileError,
    PublishedSet,
    convert_published,
    read_mat,
)
from lrsa_geo.data.datasets.airfrans import AirfRANS
from lrsa_geo.data.datasets.base import grid_positions, quad_cells
from lrsa_geo.data.datasets.fno import Darcy, NavierStokes
from lrsa_geo.data.datasets.geofno import Airfoil, Elasticity, Pipe, Plasticity
from lrsa_geo.data.datasets.norm import Composite, HeatTransfer, IrregularDarcy, Turbulence
from lrsa_geo.data.datasets.shapenet_car import BROKEN, ShapeNetCar, outward_normals
from lrsa_geo.mesh.cells import cell_measures

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
    return NavierStokes(size=4, frames=5, seen=3, train=5, test=2)


SQUARE = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
TRIANGLES = np.array([[1, 2, 3], [1, 3, 4]])  # numbered from 1


def irregular_darcy(folder: Path) -> PublishedSet:
    arrays = {"c_field": numbers(9, 4), "u_field": -numbers(9, 4)}
    mesh = {"MeshNodes": SQUARE.T, "MeshElements": TRIANGLES.T.astype(float)}
    save_mat5(folder / "datasets/Darcy.mat", arrays | mesh)
    return IrregularDarcy(nodes=4, samples=9, train=5, test=2)


def turbulence(folder: Path) -> PublishedSet:
    arrays = {"Input": numbers(9, 4), "Output": -numbers(9, 4)}
    mesh = {"nodes": SQUARE, "elements": TRIANGLES.T.astype(np.uint16)}
    save_mat5(folder / "datasets/Turbulence.mat", arrays | mesh)
    return Turbulence(nodes=4, samples=9, train=5, test=2)


def composite(folder: Path) -> PublishedSet:
    arrays = {"T_field": numbers(9, 4), "D_field": -numbers(9, 4)}
    save_mat5(folder / "datasets/Composites.mat", arrays)
    mesh = {"Points": np.c_[SQUARE, [5, 6, 7, 8]], "Faces": TRIANGLES - 1}
    basis = folder / "datasets/Composites_LBO_basis/Composites_LBO_basis.mat"
    save_mat5(basis, mesh | {"Eigenvectors": numbers(4, 2)})
    return Composite(nodes=4, samples=9, train=5, test=2)


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


@pytest.fixture(params=list(WRITERS))
def any_set(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[PublishedSet, Path]:
    return WRITERS[request.param](tmp_path / "in"), tmp_path / "in"


def converted(write: Callable[[Path], PublishedSet], tmp_path: Path) -> MeshStore:
    return write(tmp_path / "in").convert(tmp_path / "in", tmp_path / "out.h5")


# --- what every set promises ---------------------------------------------------------------------


def test_every_set_is_tested_here():
    assert list(PUBLISHED) == list(WRITERS)


def test_order_split_and_provenance(any_set, tmp_path):
    published, folder = any_set
    store = published.convert(folder, tmp_path / "out.h5", val_share=0.4)
    split = json.loads((tmp_path / "out.split.json").read_text())
    assert split == {"train": [0, 1, 2], "val": [3, 4], "test": [5, 6]}
    cases = published.open(folder)
    assert store.read("sample").tolist() == [*cases.train, *cases.test]
    assert set(store.fields) == {"x", "y", "cond"} & set(store.arrays)
    assert store.provenance["published"] == published.name
    assert store.provenance["source"] == published.source
    sizes = store.provenance["files"]
    total = sum(path.stat().st_size for path in cases.files)
    assert sizes.get("bytes", sum(sizes.values())) == total
    store.verify()


@pytest.mark.parametrize(("share", "val"), [(0, []), (0.05, [4]), (0.79, [1, 2, 3, 4])])
def test_val_share_is_of_the_training_graphs(tmp_path, share, val):
    elasticity(tmp_path).convert(tmp_path, tmp_path / "out.h5", val_share=share)
    split = json.loads((tmp_path / "out.split.json").read_text())
    assert split["val"] == val
    assert split["train"] + split["val"] == [0, 1, 2, 3, 4]
    assert split["test"] == [5, 6]


@pytest.mark.parametrize("share", [-0.1, 0.95, 1.0])
def test_val_share_must_leave_something_to_train_on(tmp_path, share):
    with pytest.raises(ValueError, match="val_share"):
        elasticity(tmp_path).convert(tmp_path, tmp_path / "out.h5", val_share=share)


def test_published_sizes_refuse_other_files(any_set, tmp_path):
    published, folder = any_set
    with pytest.raises(PublishedFileError, match=r"expected .*(it is not the published|unpack)"):
        convert_published(published.name, folder, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_a_missing_file_is_named_with_its_source(any_set, tmp_path):
    published, folder = any_set
    for path in published.open(folder).files[:4]:
        kept = path.read_bytes()
        path.unlink()
        with pytest.raises(PublishedFileError, match=re.escape(path.name)) as caught:
            published.convert(folder, tmp_path / "out.h5")
        assert published.source in str(caught.value)
        assert str(folder) in str(caught.value)
        path.write_bytes(kept)


def test_a_missing_folder_and_an_unknown_name(tmp_path):
    with pytest.raises(PublishedFileError, match=r"no such folder; pipe_geofno is at the Google"):
        convert_published("pipe_geofno", tmp_path / "nowhere", tmp_path / "out.h5")
    with pytest.raises(ValueError, match="no published data set 'pipes', expected one of"):
        convert_published("pipes", tmp_path, tmp_path / "out.h5")


def test_files_may_lie_flat(tmp_path):
    published = airfoil(tmp_path)
    flat = tmp_path / "airfoil/naca"
    assert len(published.convert(flat, tmp_path / "out.h5")) == 7


def test_a_wrong_shape_is_named(tmp_path):
    published = airfoil(tmp_path)
    save_npy(tmp_path / "airfoil/naca/NACA_Cylinder_Q.npy", numbers(8, 4, 3, 4))
    message = r"NACA_Cylinder_Q.npy: array .* shape \[8, 4, 3, 4\], expected \[>=7, >=5, 3, 4\]"
    with pytest.raises(PublishedFileError, match=message):
        published.convert(tmp_path, tmp_path / "out.h5")
    published = irregular_darcy(tmp_path)
    save_mat5(tmp_path / "datasets/Darcy.mat", {"c_field": numbers(9, 3), "u_field": numbers(9, 4)})
    message = r"Darcy.mat: array 'c_field' has shape \[9, 3\], expected \[9, 4\]"
    with pytest.raises(PublishedFileError, match=message):
        published.convert(tmp_path, tmp_path / "out.h5")


@pytest.mark.parametrize("values", [numbers(4, 9) * 1j, np.full((4, 9), "a"), numbers(4, 9) > 3])
def test_a_wrong_dtype_is_named(tmp_path, values):
    published = elasticity(tmp_path)
    save_npy(tmp_path / "elasticity/Meshes/Random_UnitCell_sigma_10.npy", values)
    with pytest.raises(PublishedFileError, match=rf"has dtype {values.dtype}, expected real num"):
        published.convert(tmp_path, tmp_path / "out.h5")


class Fires:
    def __reduce__(self):
        return pytest.fail, ("a file was executed",)


def test_pickles_and_damaged_files_are_refused(tmp_path):
    published = elasticity(tmp_path)
    path = tmp_path / "elasticity/Meshes/Random_UnitCell_XY_10.npy"
    array = path.read_bytes()
    np.save(path, np.array([Fires()], dtype=object))
    pickled = path.read_bytes()
    for content in (pickled, pickle.dumps(Fires()), array[:200], b""):
        path.write_bytes(content)
        with pytest.raises(PublishedFileError, match=r"XY_10\.npy: not a readable array"):
            published.convert(tmp_path, tmp_path / "out.h5")


def test_nan_is_refused_and_the_old_store_stays(tmp_path):
    published = elasticity(tmp_path)
    published.convert(tmp_path, tmp_path / "out.h5")
    before = (tmp_path / "out.h5").read_bytes()
    stress = numbers(4, 9)
    stress[2, 3] = np.nan
    save_npy(tmp_path / "elasticity/Meshes/Random_UnitCell_sigma_10.npy", stress)
    with pytest.raises(PublishedFileError, match="case 3 has NaN or infinity in its 'y'"):
        published.convert(tmp_path, tmp_path / "out.h5")
    assert (tmp_path / "out.h5").read_bytes() == before


# --- MATLAB files --------------------------------------------------------------------------------


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=5),
    dtype=st.sampled_from([np.float64, np.float32, np.int32, np.uint8]),
)
def test_both_matlab_versions_give_the_same_array(tmp_path, shape, dtype):
    array = numbers(*shape).astype(dtype)
    save_mat5(tmp_path / "5.mat", {"a": array, "b": array})
    save_mat73(tmp_path / "73.mat", {"a": array, "b": array})
    for name in ("5.mat", "73.mat"):
        found = read_mat(tmp_path / name, ["a"])
        assert list(found) == ["a"]
        np.testing.assert_array_equal(found["a"], array)
        assert found["a"].dtype == dtype


@pytest.mark.parametrize("save", [save_mat5, save_mat73])
def test_bad_matlab_files_are_named(tmp_path, save):
    path = tmp_path / "a.mat"
    with pytest.raises(PublishedFileError, match=r"a\.mat: no such file"):
        read_mat(path, ["u"])
    save(path, {"v": numbers(2, 2)})
    with pytest.raises(PublishedFileError, match=r"has the arrays \['v'\], expected \['u'\] too"):
        read_mat(path, ["v", "u"])
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(PublishedFileError, match=r"a\.mat: (not a readable MATLAB|has the arrays)"):
        read_mat(path, ["v"])
    save_mat5(path, {"v": "text"})
    with pytest.raises(PublishedFileError, match="'v' has dtype <U4, expected real numbers"):
        read_mat(path, ["v"])
    save_mat5(path, {"v": {"a": 1}})
    with pytest.raises(PublishedFileError, match=r"'v' has dtype .*, expected real numbers"):
        read_mat(path, ["v"])


# --- grids ---------------------------------------------------------------------------------------


@given(rows=st.integers(2, 9), columns=st.integers(2, 9))
def test_cells_of_a_grid_tile_the_unit_square(rows, columns):
    pos, grid = grid_positions(rows, columns), quad_cells(rows, columns)
    cells = grid["cells"].numpy()
    assert len(cells) == (rows - 1) * (columns - 1)
    assert set(grid["cell_types"].tolist()) == {9}
    areas = cell_measures(pos.numpy(), cells, grid["cell_types"].numpy())
    np.testing.assert_allclose(areas, 1 / len(cells), rtol=1e-4)
    sides = np.diff(pos.numpy()[cells[:, :3]], axis=1)
    assert (np.linalg.det(sides) > 0).all()  # counter-clockwise


# --- each set ------------------------------------------------------------------------------------


def test_elasticity(tmp_path):
    store = converted(elasticity, tmp_path)
    positions, stress = numbers(4, 2, 9), -numbers(4, 9)
    for graph, sample in enumerate([0, 1, 2, 3, 4, 7, 8]):
        assert store[graph].pos.tolist() == positions[:, :, sample].tolist()
        assert store[graph].y[:, 0].tolist() == stress[:, sample].tolist()


@pytest.mark.parametrize(("write", "channels", "channel"), [(airfoil, 6, 4), (pipe, 3, 0)])
def test_curved_grids(tmp_path, write, channels, channel):
    store = converted(write, tmp_path)
    x, q = numbers(8, 3, 4), numbers(8, channels, 3, 4)
    for graph, sample in enumerate(range(7)):
        for i, j in np.ndindex(3, 4):
            assert store[graph].pos[4 * i + j].tolist() == [x[sample, i, j], 1000 + x[sample, i, j]]
            assert store[graph].y[4 * i + j, 0] == q[sample, channel, i, j]
    assert store[6].cells.tolist()[:2] == [[0, 4, 5, 1], [1, 5, 6, 2]]
    assert set(store[6].cell_types.tolist()) == {9}


@pytest.mark.parametrize("save", [save_mat5, save_mat73])
def test_plasticity_has_its_fields_where_its_coordinates_are(tmp_path, save):
    store = converted(lambda folder: plasticity(folder, save), tmp_path)
    die, output = numbers(9, 5), numbers(9, 5, 3, 2, 4)
    for graph, sample in enumerate([0, 1, 2, 3, 4, 7, 8]):
        data = store[graph]
        for i, j in np.ndindex(5, 3):
            node = 3 * i + j
            assert data.pos[node].tolist() == pytest.approx([i / 4, j / 2])
            assert data.x[node, 0] == die[sample, i]
            assert data.y[node].tolist() == output[sample, i, j].ravel().tolist()
    columns = [column for field in store.fields["y"] for column in field.columns]
    assert columns[:5] == [
        *("position_t01_x", "position_t01_y", "displacement_t01_x", "displacement_t01_y"),
        "position_t02_x",
    ]


@pytest.mark.parametrize("save", [save_mat5, save_mat73])
def test_darcy_takes_every_fifth_node_and_the_test_from_the_second_file(tmp_path, save):
    store = converted(lambda folder: darcy(folder, save), tmp_path)
    values = numbers(7, 11, 11)
    for graph, (number, sample) in enumerate([*((1, i) for i in range(5)), (2, 0), (2, 1)]):
        data = store[graph]
        assert len(data.pos) == 9
        for i, j in np.ndindex(3, 3):
            wanted = number * 10_000 + values[sample, 5 * i, 5 * j]
            assert data.pos[3 * i + j].tolist() == [i / 2, j / 2]
            assert data.x[3 * i + j, 0] == wanted
            assert data.y[3 * i + j, 0] == -wanted


def test_darcy_of_the_published_size_has_85_nodes_a_side():
    published = Darcy()
    assert len(range(0, published.resolution, published.every)) == 85
    assert (published.resolution - 1) % published.every == 0


@pytest.mark.parametrize("save", [save_mat5, save_mat73])
def test_navier_stokes_keeps_whole_histories(tmp_path, save):
    store = converted(lambda folder: navier_stokes(folder, save), tmp_path)
    u = numbers(8, 4, 4, 5)
    for graph, sample in enumerate([0, 1, 2, 3, 4, 6, 7]):
        data = store[graph]
        for i, j in np.ndindex(4, 4):
            assert data.pos[4 * i + j].tolist() == [i / 4, j / 4]
            assert data.x[4 * i + j].tolist() == u[sample, i, j, :3].tolist()
            assert data.y[4 * i + j].tolist() == u[sample, i, j, 3:].tolist()
    assert [field.name for field in store.fields["y"]] == ["vorticity_t04", "vorticity_t05"]


@pytest.mark.parametrize("write", [irregular_darcy, turbulence, composite])
def test_norm_on_one_mesh(tmp_path, write):
    store = converted(write, tmp_path)
    for graph, sample in enumerate([0, 1, 2, 3, 4, 7, 8]):
        data = store[graph]
        assert data.x[:, 0].tolist() == numbers(9, 4)[sample].tolist()
        assert torch.equal(data.y, -data.x)
        assert data.pos[:, :2].tolist() == SQUARE.tolist()
        assert data.cells.tolist() == [[0, 1, 2], [0, 2, 3]]
        assert data.cell_types.tolist() == [5, 5]
    if write is composite:
        assert data.pos[:, 2].tolist() == [5, 6, 7, 8]


@pytest.mark.parametrize("shift", [-1, 1])
def test_node_numbers_must_start_where_they_are_said_to(tmp_path, shift):
    published = turbulence(tmp_path)
    path = tmp_path / "datasets/Turbulence.mat"
    arrays = read_mat(path, ["Input", "Output", "nodes", "elements"])
    save_mat5(path, arrays | {"elements": arrays["elements"].astype(int) + shift})
    with pytest.raises(PublishedFileError, match="'elements' does not hold the numbers of 4 nodes"):
        published.convert(tmp_path, tmp_path / "out.h5")


@pytest.mark.parametrize("first", [0, 1])
def test_composite_finds_its_cells_under_either_name(tmp_path, first):
    published = composite(tmp_path)
    path = tmp_path / "datasets/Composites_LBO_basis/Composites_LBO_basis.mat"
    points = np.c_[SQUARE, np.zeros(4)]
    count = {"Points": points, "Elements": 2}
    save_mat5(path, count | {"Faces": (TRIANGLES - 1 + first).T})
    assert published.convert(tmp_path, tmp_path / "out.h5")[0].cells.tolist() == [
        [0, 1, 2],
        [0, 2, 3],
    ]
    save_mat5(path, {"Points": points, "Elements": [[first, 1 + first, 2 + first, 3 + first]]})
    graph = published.convert(tmp_path, tmp_path / "out.h5")[0]
    assert (graph.cells.tolist(), graph.cell_types.tolist()) == ([[0, 1, 2, 3]], [10])
    save_mat5(path, count)
    message = (
        r"expected cells \[K, 3\] or \[K, 4\] in Faces or Elements, found {'Elements': \(1, 1\)}"
    )
    with pytest.raises(PublishedFileError, match=message):
        published.convert(tmp_path, tmp_path / "out.h5")


def test_heat_transfer_is_two_meshes_of_which_one_is_passive(tmp_path):
    store = converted(heat_transfer, tmp_path)
    for graph, sample in enumerate([0, 1, 2, 3, 4, 7, 8]):
        data = store[graph]
        assert data.measure.tolist() == [1] * 4 + [0] * 5
        assert data.boundary.tolist() == [1] * 4 + [0] * 5
        assert data.x[:, 0].tolist() == [*numbers(9, 4)[sample], *[0] * 5]
        assert data.y[:4].isnan().all()
        assert data.y[4:, 0].tolist() == [*-numbers(9, 5)[sample]]
        assert data.pos[:4, :2].tolist() == SQUARE.tolist()
        assert data.pos[4:, :2].tolist() == numbers(5, 2).tolist()
        assert data.cell_types.tolist() == [5, 5, 10, 10]
        assert data.cells.tolist() == [
            *([0, 1, 2, -1], [0, 2, 3, -1]),
            *([4, 5, 6, 7], [5, 6, 7, 8]),
        ]


def test_airfrans(tmp_path):
    store = converted(airfrans, tmp_path)
    for graph, i in enumerate([2, 3, 4, 5, 6, 0, 1]):
        data, node = store[graph], torch.arange(9.0) + 100 * i
        angle = np.deg2rad(float(f"{i - 5}.25"))
        speed = 30.5 + i
        assert data.cond[0].tolist() == pytest.approx(
            [speed * np.cos(angle), speed * np.sin(angle)], rel=1e-6
        )
        assert data.pos.tolist() == [[x, y] for x in (0, 1, 2) for y in (0, 1, 2)]
        assert torch.equal(data.y, torch.stack([node + 1, node + 2, node + 3, node + 4], 1))
        assert data.x[:, 0].tolist() == list(range(9))
        assert data.boundary.tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0]
        assert data.x[3, 1:].tolist() == pytest.approx([-0.6, 0.8])
        assert data.x[4, 1:].tolist() == [0, 1]
        assert not data.x[data.boundary == 0, 1:].any()
        assert data.cells.tolist() == SQUARES.tolist()


def test_airfrans_tasks_have_splits_of_their_own(tmp_path):
    converted(airfrans, tmp_path)
    splits = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert splits == {  # case i of full_train is names[i + 2]
        "out.split.json": {"train": [0, 1, 2, 3], "val": [4], "test": [5, 6]},
        "out.scarce.split.json": {"train": [1, 2], "val": [3], "test": [5, 6]},
        "out.reynolds.split.json": {"train": [5, 4], "val": [6], "test": [3, 0]},
    }


@pytest.mark.parametrize("name", ["../up", "airFoil2D_SST_fast_0_1", 3, "a_b_1_2/../../x"])
def test_airfrans_manifest_lists_plain_names(tmp_path, name):
    published = airfrans(tmp_path)
    path = tmp_path / "Dataset/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["full_test"][0] = name
    path.write_text(json.dumps(manifest))
    with pytest.raises(PublishedFileError, match=r"manifest\.json: 'full_test' is no list of nam"):
        published.convert(tmp_path, tmp_path / "out.h5")


def test_airfrans_profile_must_be_part_of_the_mesh(tmp_path):
    published = airfrans(tmp_path)
    path = next(tmp_path.glob("Dataset/*/*.vtp"))
    path.write_text(VTP.replace("1 1 0.5 1 0 0.5", "1 1.1 0.5 1 0 0.5"))
    with pytest.raises(PublishedFileError, match=r"aerofoil\.vtp: has a node 0\.1 m away"):
        published.convert(tmp_path, tmp_path / "out.h5")


def test_shapenet_car(tmp_path):
    store = converted(shapenet_car, tmp_path)
    names = store.provenance["cases"]
    assert names == ["param0/a", "param0/b", *(f"param1/{c}" for c in "cdefg")]
    assert store.read("sample").tolist() == [2, 3, 4, 5, 6, 0, 1]
    above = CUBE[4:] + np.array([0, 0, 2])
    written = {"b": 0, "a": 1, "d": 2, "c": 3, "e": 4, "f": 5, "g": 6}
    for data in store:
        car = written[names[int(data.sample)][-1]]
        # 4 points above the cube, then its 8 corners; the top ones have a velocity.
        assert data.pos.tolist() == [*above.tolist(), *CUBE.tolist()]
        assert data.boundary.tolist() == [0] * 4 + [1] * 8
        velocity = np.array([[100 * car + i, i, -i] for i in range(8)])
        assert data.y[:4, :3].tolist() == velocity[4:].tolist()
        assert data.y[4:8, :3].isnan().all()
        assert data.y[8:, :3].tolist() == velocity[:4].tolist()
        assert data.y[:4, 3].isnan().all()
        assert data.y[4:, 3].tolist() == [50, 51, 54, 55, 56, 57, 58, 59]
        assert data.x[:4].tolist() == [[2, 0, 0, 1]] * 4
        assert not data.x[4:, 0].any()
        torch.testing.assert_close(data.x[4:, 1:], (data.pos[4:] * 2 - 1) / 3**0.5)
        assert data.cell_types.tolist() == [9] * 6 + [12]
        assert data.cells[-1].tolist() == [8, 9, 11, 10, 0, 1, 3, 2]
        assert data.cells[:6, :4].tolist() == (SIDES + 4).tolist()
    assert store.provenance["left_out"] == list(BROKEN)


def test_normals_point_outwards_however_the_quads_turn():
    outward = (CUBE * 2 - 1) / 3**0.5
    np.testing.assert_allclose(outward_normals(CUBE, SIDES), outward)
    np.testing.assert_allclose(outward_normals(CUBE + 7, SIDES[:, ::-1]), outward)


def test_shapenet_car_counts_cars_and_checks_the_pressure(tmp_path):
    published = shapenet_car(tmp_path)
    assert isinstance(published, ShapeNetCar)
    with pytest.raises(PublishedFileError, match=r"param1: has 5 usable cars, expected 6; unpack"):
        replace(published, cars=(2, 6)).convert(tmp_path, tmp_path / "out.h5")
    save_npy(tmp_path / "mlcfd_data/training_data/param0/a/press.npy", numbers(9))
    with pytest.raises(PublishedFileError, match=r"'press' has shape \[9\], expected \[10\]"):
        published.convert(tmp_path, tmp_path / "out.h5")
