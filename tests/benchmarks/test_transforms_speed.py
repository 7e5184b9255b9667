"""Transforms of a million nodes, on one core: each should take less than ten seconds.

taskset -c 0 pytest tests/benchmarks/test_transforms_speed.py --benchmark-only -s
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from lrsa_geo.mesh import (
    BoundaryNodes,
    CellsToEdges,
    DistanceToBoundary,
    EdgeGeometry,
    KNNEdges,
    NodeMeasure,
    NormalizePositions,
    RadiusEdges,
    RandomRotation,
    RandomScaling,
    SurfaceNormals,
)

SIDE = 100  # nodes along each side of a cube: SIDE^3 nodes, six tetrahedra in every small cube


def cube_of_tetrahedra() -> Data:
    """Kuhn's subdivision, its nodes displaced a little and in random order."""
    rng = np.random.default_rng(0)
    number = rng.permutation(SIDE**3).reshape(SIDE, SIDE, SIDE)
    pos = np.empty((SIDE**3, 3))
    pos[number.reshape(-1)] = np.stack(np.indices(number.shape), -1).reshape(-1, 3)
    pos += rng.uniform(-0.2, 0.2, pos.shape)
    corner = {
        (i, j, k): number[i : i + SIDE - 1, j : j + SIDE - 1, k : k + SIDE - 1].reshape(-1)
        for i in (0, 1)
        for j in (0, 1)
        for k in (0, 1)
    }
    tetrahedra = []
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2)):
        path, place = [corner[0, 0, 0]], [0, 0, 0]
        for axis in order:
            place[axis] = 1
            path.append(corner[tuple(place)])
        tetrahedra.append(np.stack(path, 1))
    cells = torch.from_numpy(np.concatenate(tetrahedra).astype(np.int32))
    cell_types = torch.full((len(cells),), 10, dtype=torch.int8)
    return Data(pos=torch.from_numpy(pos / SIDE).float(), cells=cells, cell_types=cell_types)


@pytest.fixture(scope="module")
def mesh() -> Data:
    return cube_of_tetrahedra()


def on_cloud(transform: BaseTransform):
    """The transform of the nodes alone."""
    return lambda data: transform(Data(pos=data.pos))


CASES = {
    "CellsToEdges": CellsToEdges(),
    "NodeMeasure": NodeMeasure(),
    "NodeMeasure of a point cloud": on_cloud(NodeMeasure()),
    "KNNEdges(6)": KNNEdges(6),
    "RadiusEdges, 13 neighbours": RadiusEdges(1.45 / SIDE),
    "EdgeGeometry": EdgeGeometry(),
    "BoundaryNodes": BoundaryNodes(),
    "SurfaceNormals": SurfaceNormals(),
    "DistanceToBoundary": DistanceToBoundary(),
    "NormalizePositions": NormalizePositions(),
    "RandomRotation": RandomRotation({}),
    "RandomScaling": RandomScaling({}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_million_nodes(benchmark, mesh, name):
    torch.set_num_threads(1)
    data = CellsToEdges()(mesh) if name == "EdgeGeometry" else mesh
    benchmark.pedantic(CASES[name], args=(data,), rounds=1)
    seconds = benchmark.stats.stats.min
    print(f"\n{name}: {seconds:.2f} s for {data.num_nodes:,} nodes, {len(data.cells):,} tetrahedra")
