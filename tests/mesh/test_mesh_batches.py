"""A transform of a batch is the batch of the transformed graphs."""

import copy

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import Compose

from lrsa_geo.mesh import (
    BoundaryNodes,
    CellsToEdges,
    DistanceToBoundary,
    EdgeGeometry,
    Field,
    KNNEdges,
    MeshData,
    NodeMeasure,
    NormalizePositions,
    RadiusEdges,
    RandomRotation,
    RandomScaling,
    SurfaceNormals,
    mirrored,
    pressure_force,
    with_edges,
    with_query_points,
)

FIELDS = {"x": (Field("v", "m", ("x", "y")),), "cond": (Field("load", "m"),)}


def mesh(seed, cloud=False):
    """A triangulated square at the same place as all others: neighbours across graphs are near."""
    rng = np.random.default_rng(seed)
    pos = rng.random((12 + 3 * seed, 2))
    data = MeshData(pos=torch.from_numpy(pos), x=torch.from_numpy(rng.random((len(pos), 2))))
    data.cond = torch.from_numpy(rng.random((1, 1)))
    if not cloud:
        data.cells = torch.from_numpy(Delaunay(pos).simplices).int()
        data.cell_types = torch.full((len(data.cells),), 5, dtype=torch.int8)
    return data


def meshes(**options):
    return [mesh(seed, **options) for seed in range(4)]


def seeded(make):
    return lambda: make(torch.Generator().manual_seed(3))


TRANSFORMS = {
    "cells": CellsToEdges,
    "neighbours": lambda: KNNEdges(3),
    "radius": lambda: RadiusEdges(0.3),
    "edge geometry": lambda: Compose([KNNEdges(4), EdgeGeometry()]),
    "measure": NodeMeasure,
    "boundary": BoundaryNodes,
    "normals": SurfaceNormals,
    "distance": DistanceToBoundary,
    "marked distance": lambda: Compose([BoundaryNodes(), DistanceToBoundary(1)]),
    "normalise": NormalizePositions,
    "rotate": seeded(lambda g: RandomRotation(FIELDS, generator=g)),
    "scale": seeded(lambda g: RandomScaling(FIELDS, generator=g)),
    "with edges": lambda: with_edges,
    "mirror": lambda: lambda data: mirrored(data, "x", 0.5, FIELDS),
    "there and back": lambda: lambda data: NormalizePositions.inverse(NormalizePositions()(data)),
}


def assert_same(found, wanted):
    assert set(found.keys()) == set(wanted.keys())
    for key, values in wanted:
        assert torch.equal(torch.as_tensor(found[key]), torch.as_tensor(values)), key


@pytest.mark.parametrize("name", TRANSFORMS)
def test_batch_of_results_is_result_of_batch(name):
    graphs = meshes()
    one = TRANSFORMS[name]()
    wanted = [one(copy.copy(graph)) for graph in graphs]
    batch = Batch.from_data_list(graphs)
    before = copy.copy(batch)
    found = TRANSFORMS[name]()(batch)
    assert_same(found, Batch.from_data_list(wanted))
    assert_same(batch, before)
    for graph, other in zip(found.to_data_list(), wanted, strict=True):
        assert_same(graph, other)


@pytest.mark.parametrize("name", ["neighbours", "radius", "measure", "with edges", "normalise"])
@pytest.mark.parametrize("kind", [Data, MeshData])
def test_point_clouds_keep_to_themselves(name, kind):
    graphs = [kind.from_dict(graph.to_dict()) for graph in meshes(cloud=True)]
    wanted = Batch.from_data_list([TRANSFORMS[name]()(graph) for graph in graphs])
    found = TRANSFORMS[name]()(Batch.from_data_list(graphs))
    assert_same(found, wanted)
    if "edge_index" in found:
        assert torch.equal(*found.batch[found.edge_index])


def test_what_is_set_on_the_batch_goes_along_or_is_refused():
    batch = Batch.from_data_list(meshes(), follow_batch=["x"])
    batch.boundary = BoundaryNodes()(batch).boundary
    found = DistanceToBoundary(1)(batch)
    wanted = Batch.from_data_list([DistanceToBoundary()(graph) for graph in meshes()])
    assert torch.equal(found.boundary_distance, wanted.boundary_distance)
    assert torch.equal(found.boundary, batch.boundary)
    assert torch.equal(found.x_batch, batch.x_batch)
    batch.edge_index = torch.zeros(2, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="'edge_index' was set after the graphs were joined"):
        EdgeGeometry()(batch)
    bare = Batch(pos=torch.rand(4, 2), batch=torch.tensor([0, 0, 1, 1]))
    with pytest.raises(ValueError, match=r"Batch\.from_data_list"):
        KNNEdges()(bare)


def test_what_belongs_to_one_graph_refuses_a_batch():
    batch = Batch.from_data_list([BoundaryNodes()(graph) for graph in meshes()])
    with pytest.raises(ValueError, match=r"one graph, got a batch of 4.*to_data_list"):
        with_query_points(batch, torch.rand(2, 2))
    with pytest.raises(ValueError, match="no one force"):
        pressure_force(batch, torch.ones(batch.num_nodes), 1)


def test_graphs_with_query_points_make_a_batch():
    graphs = [
        with_query_points(with_edges(mesh(s)), torch.rand(2, 2), torch.rand(2, 2)) for s in (0, 1)
    ]
    batch = Batch.from_data_list(graphs)
    assert isinstance(graphs[0], MeshData)
    assert int(batch.is_passive.sum()) == 4
