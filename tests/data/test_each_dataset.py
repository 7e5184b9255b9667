"""Each published data set by itself: its values land at their places in the store.

The files are written here with the published names, layouts and MATLAB versions, but small.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from published_files import (
    CUBE,
    SIDES,
    SQUARE,
    SQUARES,
    TRIANGLES,
    VTP,
    airfoil,
    airfrans,
    composite,
    converted,
    darcy,
    elasticity,
    heat_transfer,
    irregular_darcy,
    navier_stokes,
    numbers,
    pipe,
    plasticity,
    save_mat5,
    save_mat73,
    save_npy,
    shapenet_car,
    turbulence,
)

from lrsa_geo.data.datasets import (
    PublishedFileError,
    read_mat,
)
from lrsa_geo.data.datasets.fno import Darcy
from lrsa_geo.data.datasets.shapenet_car import BROKEN, ShapeNetCar, outward_normals

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
            assert data.states[node].tolist() == output[sample, i, j].tolist()
        assert data.times.tolist() == [0, 1]
    columns = [column for field in store.fields["states"] for column in field.columns]
    assert columns == ["position_x", "position_y", "displacement_x", "displacement_y"]


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
def test_navier_stokes_is_a_series(tmp_path, save):
    store = converted(lambda folder: navier_stokes(folder, save), tmp_path)
    u = numbers(8, 4, 4, 5)
    for graph, sample in enumerate([0, 1, 2, 3, 4, 6, 7]):
        data = store[graph]
        for i, j in np.ndindex(4, 4):
            assert data.pos[4 * i + j].tolist() == [i / 4, j / 4]
            assert data.states[4 * i + j, :, 0].tolist() == u[sample, i, j].tolist()
        assert data.times.tolist() == [1, 2, 3, 4, 5]
    assert [field.name for field in store.fields["states"]] == ["vorticity"]


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
