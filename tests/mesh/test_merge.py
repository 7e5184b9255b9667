"""Meshes whose cells do not meet.

Kinds: nodes at one place, exactly and nearly; cells that own their nodes (discontinuous output);
cells that are there twice, the other way round, on both sides of a surface; nodes that hang on an
edge or inside a face, in the plane and in space; none in conforming meshes of order 1 and 2.
"""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mesh_files import measure
from own_places import BOTTOM_TOP_UP, CUBE, at_places
from scipy.spatial import Delaunay

from lrsa_geo.mesh import BoundaryNodes, MeshData, MeshError
from lrsa_geo.mesh.merge import groups_of_nodes, hanging_nodes, merge_nodes, repeated_cells


def mesh(pos, cells, kind, **fields):
    data = MeshData(pos=torch.as_tensor(np.asarray(pos, float)))
    data.cells = torch.as_tensor(np.asarray(cells), dtype=torch.int32)
    data.cell_types = torch.full((len(data.cells),), kind, dtype=torch.int8)
    data.point_data, data.cell_data = fields, {"c": torch.arange(len(data.cells))}
    return data


def discontinuous(seed=0, shake=0.0, dim=2):
    """A triangulated square or cube whose cells own their nodes, and the connected one."""
    rng = np.random.default_rng(seed)
    pos = np.array(list(product(np.linspace(0, 1, 4), repeat=dim)))
    cells = Delaunay(pos + 0.05 * rng.random(pos.shape)).simplices
    apart = pos[cells].reshape(-1, dim) + shake * rng.uniform(-1, 1, (cells.size, dim))
    kind = {2: 5, 3: 10}[dim]
    return (
        mesh(
            apart,
            np.arange(cells.size).reshape(cells.shape),
            kind,
            p=torch.from_numpy(apart[:, 0]),
            i=torch.from_numpy(cells.ravel()),
        ),
        mesh(pos, cells, kind),
    )


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("shake", "tolerance"), [(0.0, 0.0), (0.0, 1e-3), (1e-6, 1e-4)])
def test_merging_gives_the_connected_mesh_back(dim, shake, tolerance):
    apart, whole = discontinuous(shake=shake, dim=dim)
    merged = merge_nodes(apart, tolerance)
    number = merged.point_data["i"]  # in the connected mesh
    used = np.unique(whole.cells.numpy())
    assert sorted(number.tolist()) == used.tolist()
    assert torch.equal(number[merged.cells.long()].int(), torch.as_tensor(whole.cells.numpy()))
    torch.testing.assert_close(merged.point_data["p"], whole.pos[number, 0], atol=1e-5, rtol=0)
    assert measure(merged, dim) == pytest.approx(measure(whole, dim), rel=1e-4)
    assert torch.equal(BoundaryNodes()(merged).boundary, BoundaryNodes()(whole).boundary[number])
    assert merged.cell_data == apart.cell_data


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 2)), max_size=20), st.integers(0, 2))
def test_groups_are_chains_of_near_nodes_in_the_order_of_their_first(places, tolerance):
    pos = np.array(places, dtype=float).reshape(-1, 2)
    expected: list[int] = []
    for i in range(len(pos)):
        reach, ring = {i}, {i}
        while ring:
            away = np.linalg.norm(pos[:, None] - pos[sorted(ring)], axis=2).min(1)
            ring = set(np.flatnonzero(away <= tolerance).tolist()) - reach
            reach |= ring
        first = min(reach)
        expected.append(len(set(expected)) if first == i else expected[first])
    assert groups_of_nodes(pos, tolerance).tolist() == expected


def test_many_nodes_at_one_place_are_one_group():
    """Of their pairs there would be five thousand million."""
    assert (groups_of_nodes(np.zeros((100_000, 3)), 1e-6) == 0).all()


def test_fields_of_merged_nodes_are_means():
    data = mesh([[0, 0], [1, 0], [0, 1], [1, 0], [1, 1], [0, 1]], [[0, 1, 2], [3, 4, 5]], 5)
    data.point_data = {"p": torch.tensor([0.0, 1, 2, 3, 4, 6])}
    assert merge_nodes(data, 0).point_data["p"].tolist() == [0, 2, 4, 4]


@pytest.mark.parametrize(("tolerance", "message"), [(0.5, "cell 0"), (-1.0, "0 or more")])
def test_a_tolerance_that_joins_nodes_of_a_cell_is_refused(tolerance, message):
    _, whole = discontinuous()
    with pytest.raises(MeshError, match=f"a.vtu: .*{message}"):
        merge_nodes(whole, tolerance, "a.vtu")


def test_cells_that_are_there_twice():
    def repeated(pos, cells):
        cells = np.array(cells)
        return repeated_cells(np.array(pos, float), cells, np.full(len(cells), 5)).tolist()

    plane = [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert repeated(plane, [[0, 1, 2], [0, 2, 3]]) == []
    assert repeated(plane, [[0, 1, 2], [0, 2, 3], [1, 2, 0]]) == [2]
    assert repeated(plane, [[0, 1, 2], [0, 2, 1]]) == []  # inverted, which is another finding
    space = np.pad(plane, ((0, 0), (0, 1)))
    assert repeated(space, [[0, 1, 2], [0, 2, 1], [0, 1, 2]]) == [2]


def test_nodes_that_hang_on_an_edge():
    """A large square beside two small ones."""
    pos = [[0, 0], [2, 0], [2, 2], [0, 2], [3, 0], [3, 1], [2, 1], [3, 2]]
    cells = np.array([[0, 1, 2, 3], [1, 4, 5, 6], [6, 5, 7, 2]])
    assert hanging_nodes(np.array(pos, float), cells, np.full(3, 9)).tolist() == [6]


def test_nodes_that_hang_in_space():
    """A cube beside four of half its size."""
    pos = [list(map(float, corner)) for corner in CUBE]
    cells = [list(range(8))]
    for y, z in product((0, 0.5), repeat=2):
        small = np.array(CUBE) * 0.5 + [1, y, z]
        rows = []
        for corner in small.tolist():
            if corner not in pos:
                pos.append(corner)
            rows.append(pos.index(corner))
        cells.append(rows)
    found = hanging_nodes(np.array(pos), np.array(cells), np.full(5, 12))
    inside = [i for i, (x, y, z) in enumerate(pos) if x == 1 and 0.5 in (y, z)]
    assert len(inside) == 5
    assert found.tolist() == inside


@pytest.mark.parametrize("shift", [(0.2, 0.2), (0.5, 0.1)])
def test_nodes_that_hang_on_a_triangle(shift):
    """A small tetrahedron stands on the face of a large one, its corners inside that face."""
    large = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [1, 1, -3.0]])
    small = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    small[:, :2] += shift
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    pos = np.concatenate([large, small]) @ turned
    args = np.arange(8).reshape(2, 4), np.full(2, 10)
    assert hanging_nodes(pos, *args).tolist() == [4, 5, 6]
    apart = pos + np.repeat([[0.0], [1e-3]], 4, 0) * turned[2]  # a gap between them
    assert not len(hanging_nodes(apart, *args))


def test_conforming_meshes_have_none():
    _, whole = discontinuous()
    args = whole.pos.numpy(), whole.cells.numpy(), whole.cell_types.numpy()
    assert not len(hanging_nodes(*args))
    two = np.array([*CUBE, *(np.array(CUBE)[[1, 2, 5, 6]] + [1, 0, 0])], float)
    cells = np.array([list(range(8)), [1, 8, 9, 2, 5, 10, 11, 6]])
    assert not len(hanging_nodes(two, cells, np.full(2, 12)))
    pos = at_places(CUBE, *BOTTOM_TOP_UP["cube"])
    assert not len(hanging_nodes(pos, np.arange(20)[None], np.array([25])))
