"""Normalisation: invertible, isotropic, and blind to everything but the training split."""

from __future__ import annotations

import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from lrsa_geo.data import MeshStore, Normalizer
from lrsa_geo.data.statistics import Moments
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


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    offset=st.floats(-1e6, 1e6),
    seed=st.integers(0, 99),
)
def test_portions_add_up_to_the_formula(sizes, offset, seed):
    """Mean and variance of all rows, in float64 to 1e-12, with NaN left out."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(sum(sizes), 3, generator=generator, dtype=torch.float64) + offset
    rows[torch.rand(rows.shape, generator=generator) < 0.2] = torch.nan
    moments = Moments()
    for portion in rows.split(sizes):
        moments.add(portion)
    for column in range(3):
        known = rows[:, column][~rows[:, column].isnan()]
        if not len(known):
            assert moments.mean[column] == moments.variance[column] == 0
            continue
        mean = known.mean()
        variance = (known - mean).square().mean()
        rounding = {"rtol": 1e-12, "atol": 1e-12 * max(1, abs(offset))}
        torch.testing.assert_close(moments.mean[column], mean, **rounding)
        torch.testing.assert_close(moments.variance[column], variance, **rounding)


@pytest.mark.parametrize("relative_positions", [False, True])
def test_positions_far_from_the_origin_keep_their_digits(tmp_path, relative_positions):
    """A mesh 10 m wide at map coordinates: float32 would move its nodes by half a metre."""
    generator = torch.Generator().manual_seed(0)
    local = torch.rand(50, 2, generator=generator, dtype=torch.float64) * 10
    far = local + torch.tensor([4.5e6, 5.2e6], dtype=torch.float64)
    described = {"y": (Field("p"),)}
    y = torch.rand(50, 1, generator=generator)
    results = []
    for pos in (local, far):
        normalizer = Normalizer(2, described)
        store = MeshStore.write(tmp_path / "s.h5", [Data(pos=pos, y=y)], described)
        normalizer.fit(store, [0], relative_positions=relative_positions)
        results.append(normalizer.pos(pos - pos.mean(0) if relative_positions else pos))
    assert results[0].dtype == torch.float32
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=0)


def test_the_precision_of_the_model_is_that_of_its_positions(cells):
    normalizer = fitted(cells, [0])
    assert normalizer.pos.shift.dtype == torch.float64
    assert normalizer.double().pos(cells[0].pos).dtype == torch.float64
    assert normalizer.half().pos(cells[0].pos).dtype == torch.float16
    assert normalizer.pos.shift.dtype == torch.float64


def test_the_size_of_a_field(cells):
    normalizer = fitted(cells, range(10))
    y = torch.cat([cells[i].y for i in range(10)]).double()
    expected = torch.stack([y[:, :1].square().sum(1), y[:, 1:].square().sum(1)]).mean(1).sqrt()
    torch.testing.assert_close(normalizer.y_rms.double(), expected, rtol=1e-6, atol=0)
    # Files of lrsa_geo 0.1 lack it, and have positions in single precision.
    old = normalizer.state_dict()
    del old["y_rms"]
    old["pos.shift"] = old["pos.shift"].float()
    loaded = Normalizer(2, cells.fields)
    loaded.load_state_dict(old)
    torch.testing.assert_close(loaded.y_rms, normalizer.y_rms)
    assert loaded.pos.shift.dtype == torch.float64


def test_one_graph_at_a_time_is_in_memory(cells, monkeypatch):
    alive: list[weakref.ref] = []
    read = MeshStore.arrays_of

    def watched(self, index, arrays):
        assert not any(ref() is not None for ref in alive[:-1])
        graph = read(self, index, arrays)
        alive.append(weakref.ref(graph["pos"]))
        return graph

    monkeypatch.setattr(MeshStore, "arrays_of", watched)
    fitted(cells, range(10))
    assert len(alive) == 10
