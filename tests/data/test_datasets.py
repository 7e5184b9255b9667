"""What every published data set promises, and its readers of arrays.

The files are written here with the published names, layouts and MATLAB versions, but small.
"""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published_files import (
    WRITERS,
    airfoil,
    elasticity,
    irregular_darcy,
    numbers,
    save_mat5,
    save_mat73,
    save_npy,
)

from lrsa_geo.data.datasets import (
    PUBLISHED,
    PublishedFileError,
    PublishedSet,
    convert_published,
    read_mat,
)
from lrsa_geo.mesh import grid_positions, quad_cells
from lrsa_geo.mesh.cells import cell_measures


@pytest.fixture(params=list(WRITERS))
def any_set(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[PublishedSet, Path]:
    return WRITERS[request.param](tmp_path / "in"), tmp_path / "in"


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
    assert set(store.fields) == {"x", "y", "states", "cond"} & set(store.arrays)
    assert store.provenance["published"] == published.card.name
    assert store.provenance["source"] == published.card.source
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
        convert_published(published.card.name, folder, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_a_missing_file_is_named_with_its_source(any_set, tmp_path):
    published, folder = any_set
    for path in published.open(folder).files[:4]:
        kept = path.read_bytes()
        path.unlink()
        with pytest.raises(PublishedFileError, match=re.escape(path.name)) as caught:
            published.convert(folder, tmp_path / "out.h5")
        assert published.card.source in str(caught.value)
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
