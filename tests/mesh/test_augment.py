"""Turning, scaling and moving a graph: what is invariant stays, what points somewhere turns."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from lrsa_geo.mesh import (
    EdgeGeometry,
    Field,
    KNNEdges,
    NodeMeasure,
    NormalizePositions,
    RandomRotation,
    RandomScaling,
    turned,
)

COMPONENTS = {2: ("x", "y"), 3: ("x", "y", "z")}
TENSORS = {2: ("xx", "yy", "xy"), 3: ("xx", "yy", "zz", "xy", "yz", "xz")}


def fields(dim: int) -> dict[str, tuple[Field, ...]]:
    return {
        "x": (Field("temperature", "K"), Field("offset", "m", COMPONENTS[dim])),
        "y": (Field("stress", "Pa", TENSORS[dim]), Field("distance", "m")),
        "cond": (Field("force", "N", COMPONENTS[dim]),),
    }


def graph(dim: int, seed: int = 0, n: int = 12) -> Data:
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    width = len(TENSORS[dim]) + 1
    data = Data(pos=numbers(n, dim), x=numbers(n, 1 + dim), y=numbers(n, width))
    data.cond, data.measure = numbers(1, dim), numbers(n).abs()
    return EdgeGeometry()(KNNEdges(3)(data))


def stress_matrix(data: Data, dim: int) -> torch.Tensor:
    matrix = torch.empty(len(data.pos), dim, dim, dtype=torch.float64)
    for column, (a, b) in enumerate(TENSORS[dim]):
        i, j = "xyz".index(a), "xyz".index(b)
        matrix[:, i, j] = matrix[:, j, i] = data.y[:, column]
    return matrix


@settings(deadline=None, max_examples=30)
@given(dim=st.integers(2, 3), seed=st.integers(0, 99), axis=st.sampled_from([None, "x", "y", "z"]))
def test_a_rotation_keeps_all_that_does_not_depend_on_the_frame(dim, seed, axis):
    data = graph(dim, seed)
    before = data.clone()
    image = RandomRotation(fields(dim), axis, torch.Generator().manual_seed(seed))(data)
    assert not torch.allclose(image.pos, before.pos)
    torch.testing.assert_close(torch.cdist(image.pos, image.pos), torch.cdist(data.pos, data.pos))
    torch.testing.assert_close(image.x[:, 0], before.x[:, 0])
    torch.testing.assert_close(image.y[:, -1], before.y[:, -1])
    # Vectors against positions, and the quadratic form of the tensor, are scalars.
    along = (before.pos * before.x[:, 1:]).sum(1)
    torch.testing.assert_close((image.pos * image.x[:, 1:]).sum(1), along)
    force = (before.pos @ before.cond.T).squeeze(1)
    torch.testing.assert_close((image.pos @ image.cond.T).squeeze(1), force)

    def energy(g: Data) -> torch.Tensor:
        return torch.einsum("ni,nij,nj->n", g.pos, stress_matrix(g, dim), g.pos)

    torch.testing.assert_close(energy(image), energy(before))
    torch.testing.assert_close(EdgeGeometry()(image.clone()).edge_attr, image.edge_attr)
    for array in ("pos", "x", "y", "cond", "edge_attr"):
        assert torch.equal(data[array], before[array]), array


def test_rotations_of_space_are_rotations_and_cover_the_sphere():
    up = Data(pos=torch.eye(3, dtype=torch.float64))
    turn = RandomRotation({}, generator=torch.Generator().manual_seed(0))
    images = torch.stack([turn(up).pos for _ in range(2000)])
    determinant = torch.linalg.det(images)
    torch.testing.assert_close(determinant, torch.ones_like(determinant))
    # A uniform point of the sphere has mean 0 and covariance 1/3.
    points = images[:, 0]
    assert points.mean(0).abs().max() < 0.05
    torch.testing.assert_close(
        points.T @ points / len(points), torch.eye(3).double() / 3, atol=0.03, rtol=0
    )


def test_rotation_about_an_axis_leaves_it_alone():
    data = Data(pos=torch.tensor([[1.0, 2, 3]]))
    image = RandomRotation({}, "y", torch.Generator().manual_seed(1))(data)
    assert float(image.pos[0, 1]) == pytest.approx(2)
    assert float(image.pos.norm()) == pytest.approx(math.sqrt(14))


def test_a_quarter_turn_by_hand():
    quarter = torch.tensor([[0.0, -1], [1, 0]])
    described = {"y": (Field("stress", "Pa", ("xx", "xy", "yx", "yy")),)}
    data = Data(pos=torch.tensor([[1.0, 0]]), y=torch.tensor([[1.0, 2, 3, 4]]))
    image = turned(data, quarter, described)
    assert image.pos.tolist() == [[0, 1]]
    # R T R^T with T = [[1, 2], [3, 4]].
    torch.testing.assert_close(image.y, torch.tensor([[4.0, -3, -2, 1]]))


def test_plane_positions_with_vectors_in_space_turn_in_the_plane():
    quarter = torch.tensor([[0.0, -1], [1, 0]])
    described = {"y": (Field("velocity", "m/s", ("x", "y", "z")),)}
    data = Data(pos=torch.tensor([[1.0, 0]]), y=torch.tensor([[1.0, 2, 3]]))
    assert turned(data, quarter, described).y.tolist() == [[-2, 1, 3]]


@pytest.mark.parametrize("components", [("xx", "yy"), ("x",), ("real", "imag"), ("x", "yy")])
def test_components_that_cannot_turn_are_refused(components):
    described = {"y": (Field("odd", components=components),)}
    data = Data(pos=torch.rand(1, 2), y=torch.rand(1, len(components)))
    with pytest.raises(ValueError, match=r"field 'odd' has the components .* cannot turn"):
        turned(data, torch.eye(2), described)


def test_scaling_multiplies_lengths_areas_and_nothing_else():
    data = graph(2)
    image = RandomScaling(fields(2), 2, 2)(data.clone())
    torch.testing.assert_close(image.pos, 2 * data.pos)
    torch.testing.assert_close(image.measure, 4 * data.measure)
    torch.testing.assert_close(image.edge_attr, 2 * data.edge_attr)
    torch.testing.assert_close(image.x[:, 0], data.x[:, 0])
    torch.testing.assert_close(image.x[:, 1:], 2 * data.x[:, 1:])
    torch.testing.assert_close(image.y[:, -1], 2 * data.y[:, -1])
    torch.testing.assert_close(image.cond, data.cond)
    recomputed = NodeMeasure()(Data(pos=image.pos)).measure
    torch.testing.assert_close(recomputed, 4 * NodeMeasure()(Data(pos=data.pos)).measure)


def test_scaling_refuses_an_empty_range():
    with pytest.raises(ValueError, match="expected 0 < low <= high"):
        RandomScaling({}, 2, 1)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 20), dim=st.integers(2, 3), shift=st.floats(-1e3, 1e3))
def test_normalised_positions_fill_the_box_and_come_back(n, dim, shift):
    pos = torch.rand(n, dim, dtype=torch.float64) * torch.tensor([3.0, 1, 2])[:dim] + shift
    data = NormalizePositions()(Data(pos=pos))
    assert data.pos.abs().max() <= 1 + 1e-9
    if n > 1:
        assert float((data.pos.amax(0) - data.pos.amin(0)).max()) == pytest.approx(2)
    back = NormalizePositions.inverse(data)
    torch.testing.assert_close(back.pos, pos)
    assert "pos_shift" not in back
