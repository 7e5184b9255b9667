"""StoreDataset: PyG's habits, mirror images, and random numbers that a seed fixes."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.loader import DataLoader
from torch_geometric.transforms import Compose, RandomJitter

from lrsa_geo.data import MeshStore, Mirror, StoreDataset, transform_of
from lrsa_geo.mesh import CellsToEdges, RandomRotation


def test_it_is_a_data_set_of_pyg(cells: MeshStore):
    dataset = StoreDataset(cells)
    assert len(dataset) == len(cells)
    assert [data.graph for data in dataset] == list(range(len(cells)))
    for array in cells.arrays:
        assert torch.equal(dataset[3][array], cells[3][array])
    assert [data.graph for data in dataset[2:8:3]] == [2, 5]
    assert [data.graph for data in dataset[torch.tensor([4, 1])]] == [4, 1]
    assert [data.graph for data in dataset[5:][:2]] == [5, 6]
    assert dataset[-1].graph == len(cells) - 1
    assert len(dataset.shuffle()) == len(cells)
    assert dataset.num_node_features == cells[0].x.shape[1]


@pytest.mark.parametrize("in_memory", [False, True])
def test_only_the_arrays_asked_for_are_read(cells: MeshStore, in_memory, monkeypatch):
    asked = []
    read = MeshStore.arrays_of
    monkeypatch.setattr(
        MeshStore, "arrays_of", lambda s, i, a: asked.append((i, tuple(a))) or read(s, i, a)
    )
    dataset = StoreDataset(cells, [3, 5], ["pos", "y"], in_memory=in_memory)
    for _ in range(2):
        assert set(dataset[1].keys()) == {"pos", "y", "num_nodes", "graph"}
    assert asked == [(5, ("pos", "y"))] * (1 if in_memory else 2)
    with pytest.raises(ValueError, match=r"no \['velocity'\], which is asked for; they have"):
        StoreDataset(cells, arrays=["velocity"])


@pytest.mark.parametrize("in_memory", [False, True])
def test_edges_are_made_once_and_kept(cells: MeshStore, in_memory, monkeypatch):
    made = []
    forward = CellsToEdges.forward
    monkeypatch.setattr(CellsToEdges, "forward", lambda s, d: made.append(1) or forward(s, d))
    dataset = StoreDataset(cells, [3, 5], ["pos", "edge_index"], in_memory=in_memory)
    first = [data.edge_index for data in dataset]
    again = [data.edge_index for data in dataset]
    assert len(made) == 2
    for index, one, other in zip([3, 5], first, again, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, CellsToEdges()(cells[index]).edge_index)


@pytest.mark.parametrize("in_memory", [False, True])
def test_mirror_images_count_behind_the_graphs(cells: MeshStore, in_memory):
    mirror = Mirror({"x": 0.5, "y": 0.25}, cells.fields)
    dataset = StoreDataset(cells, [3, 5], ["pos", "cond", "y"], mirror, in_memory)
    assert len(dataset) == 8
    assert [dataset[i].graph for i in range(8)] == [3, 5] * 4
    pos = cells[5].pos
    torch.testing.assert_close(dataset[1].pos, pos)
    torch.testing.assert_close(dataset[3].pos, torch.stack([1 - pos[:, 0], pos[:, 1]], 1))
    torch.testing.assert_close(dataset[5].pos, torch.stack([pos[:, 0], 0.5 - pos[:, 1]], 1))
    torch.testing.assert_close(dataset[7].pos, torch.tensor([1, 0.5]) - pos)
    assert [data.graph for data in dataset[6:]] == [3, 5]


def test_mirror_on_its_own_draws_an_image(cells: MeshStore):
    mirror, data = Mirror({"x": 0.5}, cells.fields), cells[3]
    kinds = {bool(torch.equal(mirror(data).pos, data.pos)) for _ in range(20)}
    assert kinds == {True, False}
    with pytest.raises(ValueError, match="a graph in 2 dimensions has no axis z"):
        Mirror({"z": 0}, cells.fields).image(data, 1)


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 1000))
def test_random_transforms_depend_on_seed_epoch_and_number_alone(cells_file, seed, epoch):
    cells = MeshStore(cells_file)

    def positions(seed: int, epoch: int, order: list[int]) -> dict[int, torch.Tensor]:
        transform = Compose([RandomRotation(cells.fields), RandomJitter(0.01)])
        dataset = StoreDataset(cells, None, ["pos"], transform, True, seed)
        dataset.set_epoch(epoch)
        return {i: dataset[i].pos for i in order}

    state = torch.get_rng_state()
    one = positions(seed, epoch, [0, 1, 2])
    assert torch.equal(torch.get_rng_state(), state)  # initial weights do not depend on it
    other = positions(seed, epoch, [2, 0])
    assert torch.equal(one[2], other[2])
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[0], positions(seed, epoch + 1, [0])[0])
    assert not torch.equal(one[0], positions(seed + 1, epoch, [0])[0])


def test_workers_draw_the_same_random_numbers(cells: MeshStore):
    def epochs(num_workers: int) -> list[torch.Tensor]:
        transform = RandomRotation(cells.fields)
        dataset = StoreDataset(cells, range(6), ["pos", "edge_index"], transform, True, 3)
        loader = DataLoader(dataset, 2, num_workers=num_workers, persistent_workers=num_workers > 0)
        found = []
        for epoch in range(2):
            dataset.set_epoch(epoch)
            found += [batch.pos for batch in loader]
        return found

    one, other = epochs(0), epochs(2)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[0], one[3])


def test_it_can_be_pickled(cells: MeshStore):
    dataset = StoreDataset(cells, [3], ["pos"], Mirror({"x": 0.5}, cells.fields), True)
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[1].pos, dataset[1].pos)


def test_transforms_by_name(cells: MeshStore):
    entries = [
        {"name": "RandomRotation"},
        {"name": "RandomJitter", "translate": 0.1},
        {"name": "Mirror", "planes": {"x": 0.5}},
    ]
    transform = transform_of(entries, cells.fields)
    assert isinstance(transform, Compose)
    assert transform.transforms[0].fields == cells.fields
    assert len(StoreDataset(cells, [0, 1], ["pos"], transform)) == 4
    assert transform_of([], cells.fields) is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "RandomRotations"}, "did you mean 'RandomRotation'"),
        ({}, "there is no transform 'None'"),
        ({"name": "RandomScaling", "low": -1}, r"RandomScaling\(low, high, unit, dim\): `low`"),
        ({"name": "Mirror", "plane": 3}, r"Mirror\(planes\): .*plane"),
        ({"name": "Mirror", "planes": {"q": 3}}, "expected positions of x, y, z"),
    ],
)
def test_transforms_that_do_not_exist(cells: MeshStore, entry, message):
    with pytest.raises(ValueError, match=message):
        transform_of([entry], cells.fields)
