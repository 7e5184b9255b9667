"""Normalisation: invertible, isotropic, and blind to everything but the training split."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from lrsa_geo.data import MeshStore, Normalizer
from lrsa_geo.mesh import Field


def fitted(cells, indices) -> Normalizer:
    normalizer = Normalizer(2, cells.fields)
    normalizer.fit(cells, indices)
    return normalizer


def test_training_targets_get_mean_zero_and_order_one(cells):
    normalizer = fitted(cells, range(10))
    y = torch.cat([normalizer.y(cells[i].y) for i in range(10)])
    torch.testing.assert_close(y.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    assert y[:, 0].std(correction=0).item() == pytest.approx(1, rel=1e-3)
    # The two components of the displacement keep their proportion.
    assert normalizer.y.scale[1] == normalizer.y.scale[2]
    assert y[:, 1:].square().mean().sqrt().item() == pytest.approx(1, rel=1e-3)


def test_inverse_gives_physical_values_back(cells):
    normalizer, y = fitted(cells, range(10)), cells[20].y
    back = normalizer.y.inverse(normalizer.y(y))
    assert ((back - y).norm(dim=0) / y.norm(dim=0)).max() < 1e-6


def test_positions_fill_the_cube_and_keep_their_shape(cells):
    normalizer, pos = fitted(cells, range(10)), cells[0].pos
    new = normalizer.pos(pos)
    assert new.min() == -1
    assert new.max() == 1
    assert torch.pdist(new[:9]) / torch.pdist(pos[:9]) == pytest.approx(torch.full((36,), 2.0))


def test_only_the_given_graphs_are_read(cells):
    one, other = fitted(cells, range(10)), fitted(cells, range(10, 20))
    assert not torch.equal(one.y.shift, other.y.shift)


def test_a_constant_column_is_left_at_scale_one(cells):
    normalizer = fitted(cells, [0])  # one graph: its condition is constant
    assert normalizer.cond.scale.tolist() == [1]


def test_nodes_without_a_target_do_not_count(tmp_path):
    described = {"y": (Field("p"),)}
    y = torch.tensor([[1.0], [torch.nan], [3.0]])
    store = MeshStore.write(tmp_path / "s.h5", [Data(pos=torch.rand(3, 2), y=y)], described)
    normalizer = Normalizer(2, described)
    normalizer.fit(store, [0])
    assert normalizer.y.shift.tolist() == [2]
    assert normalizer.y.scale.tolist() == [1]
