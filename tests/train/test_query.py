"""Query points: they read the field of the nodes, and nobody hears them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay
from torch_geometric.data import Data

from lrsa_geo.mesh import Field, with_edges, with_query_points
from lrsa_geo.train import ModelConfig, Signature, Surrogate

FIELDS = {"x": (Field("f"),), "y": (Field("p"), Field("u", "m", ("x", "y"))), "cond": (Field("c"),)}


def surrogate(mixer: str = "lrsa", local: str | None = "MeshConv", **more: bool) -> Surrogate:
    torch.manual_seed(0)
    config = ModelConfig(16, 2, 2, 4, local=local, mixer=mixer, fourier_octaves=5, **more)
    model = Surrogate(config, Signature(2, FIELDS, num_markers=2)).double().eval()
    torch.nn.init.normal_(model.operator.condition.to_modulations.weight, std=0.3)
    return model


def mesh(nodes: int = 60, seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    pos = torch.rand(nodes, 2, generator=generator, dtype=torch.float64)
    cells = torch.from_numpy(Delaunay(pos.numpy()).simplices)
    return Data(
        pos=pos,
        x=torch.rand(nodes, 1, generator=generator, dtype=torch.float64),
        cond=torch.ones(1, 1, dtype=torch.float64),
        cells=cells,
        cell_types=torch.full((len(cells),), 5, dtype=torch.int8),
        measure=torch.rand(nodes, generator=generator, dtype=torch.float64) + 0.1,
        boundary=torch.randint(2, (nodes,), generator=generator),
    )


models = [
    ("lrsa", "MeshConv", {}),
    ("lrsa", None, {"use_measure": False}),
    ("transolver", "MeshConv", {"relative_positions": True}),
    ("none", "SAGEConv", {}),
]


@pytest.mark.parametrize(("mixer", "local", "more"), models)
@settings(deadline=None, max_examples=8)
@given(points=st.integers(0, 30), seed=st.integers(0, 99))
def test_points_do_not_move_the_nodes_and_at_a_node_they_agree(mixer, local, more, points, seed):
    model, data = surrogate(mixer, local, **more), with_edges(mesh(seed=seed))
    at_nodes = model(data)
    generator = torch.Generator().manual_seed(seed)
    pos = torch.rand(points, 2, generator=generator, dtype=torch.float64)
    x = torch.rand(points, 1, generator=generator, dtype=torch.float64)
    together = model(with_query_points(data, pos, x))
    torch.testing.assert_close(together[: len(data.pos)], at_nodes)
    nodes = torch.randperm(len(data.pos), generator=generator)[:5]
    found = model.query(data, data.pos[nodes], data.x[nodes], data.boundary[nodes])
    torch.testing.assert_close(found, at_nodes[nodes])
    # Points do not hear each other either.
    one_by_one = [model.query(data, pos[[i]], x[[i]]) for i in range(min(points, 3))]
    if one_by_one:
        torch.testing.assert_close(torch.cat(one_by_one), model.query(data, pos, x)[:3])


def test_another_mesh_reads_the_field_and_its_slope():
    model, data, other = surrogate(), mesh(), mesh(200, seed=1)
    pos = other.pos.clone().requires_grad_()
    found = model.query(data, pos, other.x, other.boundary)
    assert found.shape == (200, 3)
    found.sum().backward()
    assert pos.grad.isfinite().all()
    assert (pos.grad != 0).any()


def test_a_model_without_features_asks_for_none():
    torch.manual_seed(0)
    fields = {"y": (Field("p"),)}
    model = (
        Surrogate(ModelConfig(16, 2, 2, 4, fourier_octaves=5), Signature(2, fields)).double().eval()
    )
    data = mesh()
    torch.testing.assert_close(model.query(data, data.pos), model(data))
    with pytest.raises(ValueError, match="the graph's nodes have none"):
        model.query(data, data.pos, data.x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos": torch.zeros(4, 3)}, r"shape \[4, 3\], expected finite numbers \[Q, 2\]"),
        ({"pos": torch.full((4, 2), torch.nan)}, "finite"),
        ({"x": None}, "the model reads f: give them at the points"),
        ({"x": torch.zeros(3, 1)}, r"of shape \[3, 1\], expected \[4, 1\]"),
        ({"boundary": torch.zeros(3)}, r"`boundary` has shape \[3\], expected \[4\]"),
        ({"boundary": torch.full((4,), 7)}, "the model knows the markers 0 to 1"),
    ],
)
def test_bad_points_are_named(change, message):
    given = {"pos": torch.zeros(4, 2), "x": torch.zeros(4, 1), "boundary": None} | change
    with pytest.raises(ValueError, match=message):
        surrogate().query(mesh(), **given)


def test_nan_in_the_measure_is_named():
    data = mesh()
    data.measure[3] = torch.nan
    with pytest.raises(ValueError, match="`measure` holds nan at node 3"):
        surrogate().query(data, torch.zeros(1, 2), torch.zeros(1, 1))
