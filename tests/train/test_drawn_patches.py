"""Drawn patches in training (`data.patch`): message passing is that of the whole mesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from squares import FIELDS, square
from torch_geometric.data import Batch

from lrsa_geo.data import MeshStore, StoreDataset
from lrsa_geo.mesh import RandomPatches, with_edges
from lrsa_geo.nn import GeometryOperator, GraphLayout
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    SeriesConfig,
    SplitConfig,
    StoreDataModule,
    Surrogate,
    TrainConfig,
    assemble,
    layout_of,
    train,
)
from lrsa_geo.train.config import TrainerConfig, check_config

SMALL = {"channels": 16, "heads": 2, "num_latents": 4}


def drawing(store: MeshStore, parts: tuple[int, int, int], nodes: int, patch: int, **more: Any):
    """The configuration of loaders of so many nodes in patches."""
    split = SplitConfig(*parts, shuffle=False)
    return DataConfig(str(store.path), split=split, nodes_per_graph=nodes, patch=patch, **more)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MeshStore:
    path = tmp_path_factory.mktemp("store") / "s.h5"
    return MeshStore.write(path, (square(side, 0.1 * side) for side in (3, 12, 14, 16)), FIELDS)


@pytest.mark.parametrize(
    ("local", "options", "hops"),
    [
        ("MeshConv", {}, 2),
        ("SAGEConv", {}, 3),
        ("GATv2Conv", {}, 3),
        ("GCNConv", {}, 3),  # which looks at the degrees of the senders
        ("TAGConv", {"K": 2}, 5),
        ("GatedGraphConv", {"num_layers": 3}, 7),
    ],
)
@pytest.mark.parametrize("mixer", ["none", "lrsa"])
@pytest.mark.parametrize("use_measure", [False, True])
def test_drawn_nodes_have_the_values_of_the_whole_mesh(
    mixer: str, use_measure: bool, local: str, options: dict, hops: int
) -> None:
    """Where the latents hear the drawn nodes alone, and messages come from all nodes."""
    torch.manual_seed(0)
    layers = {"local": local, "local_options": options, "mixer": mixer}
    model = GeometryOperator(1, 1, 2, depth=2, **layers, **SMALL).double()
    assert model.hops == hops
    whole = with_edges(square(15))
    whole.number = torch.arange(len(whole.pos))
    whole.x, whole.pos, whole.measure = (a.double() for a in (whole.x, whole.pos, whole.measure))
    whole.boundary = whole.number  # an array of nodes, by which they are known again
    part = RandomPatches(40, 10, hops)(whole)
    number, drawn = part.boundary, ~part.halo
    unheard = torch.ones(len(whole.pos), dtype=torch.bool)
    unheard[number[drawn]] = False
    values = []
    for data, halo in ((whole, unheard), (part, part.halo)):
        layout = GraphLayout.of(
            data.pos,
            edge_index=data.edge_index,
            measure=data.measure if use_measure else None,
            halo=halo,
        )
        values.append(model(data.x, data.pos, layout))
    expected, found = values[0][number[drawn]], values[1][drawn]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_a_halo_has_no_loss(store: MeshStore) -> None:
    config = ModelConfig(depth=1, local="MeshConv", **SMALL)
    surrogate = Surrogate.for_training(config, store, [1, 2])
    objective = surrogate.objective()
    draw = RandomPatches(30, 10, hops=1)
    batch = Batch.from_data_list([draw(with_edges(store[number])) for number in (1, 2)])
    prediction = surrogate(batch).detach().requires_grad_()
    loss = objective.loss(prediction, batch)
    (gradient,) = torch.autograd.grad(loss, prediction)
    assert (gradient[batch.halo] == 0).all()
    assert (gradient[~batch.halo] != 0).all()
    batch.y = torch.where(batch.halo[:, None], 1e9, batch.y)
    assert torch.equal(objective.loss(prediction, batch), loss)


def test_patches_that_are_drawn_while_reading_are_those_drawn_from_memory(store) -> None:
    arrays = ["pos", "x", "y", "measure", "edge_index"]

    def loaders(keep: bool) -> StoreDataModule:
        config = drawing(store, (4, 0, 0), 30, 10, in_memory=keep, batch_size=4)
        return StoreDataModule(store, config, arrays, seed=3, hops=2)

    read, kept = (loaders(keep).dataset("train") for keep in (False, True))
    assert isinstance(read.draw, RandomPatches)
    assert kept.draw is None
    for epoch in range(2):
        read.set_epoch(epoch)
        kept.set_epoch(epoch)
        for one, other in zip(read, kept, strict=True):
            assert set(one.keys()) - {"num_nodes"} == set(other.keys()) - {"num_nodes"}
            for array in (*arrays, "halo", "graph"):
                order = [e.edge_index[1].argsort(stable=True) for e in (one, other)]
                if array == "edge_index":
                    assert torch.equal(one[array][:, order[0]], other[array][:, order[1]])
                else:
                    torch.testing.assert_close(one[array], other[array], atol=0, rtol=0)
    (batch,) = loaders(False).train_dataloader()
    assert batch.ptr.diff().min() == 9  # the smallest mesh is whole
    assert not batch.halo[batch.batch == int(batch.ptr.diff().argmin())].any()


def test_layouts_of_patches_are_those_of_surrogates(store: MeshStore) -> None:
    config = ModelConfig(depth=1, local="MeshConv", **SMALL)
    part = RandomPatches(30, 10, hops=1)(with_edges(store[3]))
    layout = layout_of(Batch.from_data_list([part]), config, num_markers=0)
    assert torch.equal(layout.nodes.measure == 0, part.halo)
    assert layout.edges is not None
    assert layout.edges.edge_index.shape == part.edge_index.shape  # the halo sends, too


@pytest.mark.parametrize(("in_memory", "compile"), [(False, False), (True, False), (True, True)])
def test_a_model_is_trained_on_patches(store, tmp_path: Path, in_memory: bool, compile: bool):
    config = TrainConfig(
        data=drawing(store, (2, 1, 1), 40, 20, in_memory=in_memory),
        model=ModelConfig(depth=2, local="MeshConv", **SMALL),
        trainer=TrainerConfig(max_epochs=2, enable_progress_bar=False, compile=compile),
    )
    train(config, tmp_path / "run")
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_several_steps_of_a_series_need_a_halo_for_each(tmp_path: Path) -> None:
    graphs = []
    for side in (12, 13):
        data = square(side)
        del data.y
        data.states = torch.rand(len(data.pos), 6, 2)
        data.times = torch.arange(6.0, dtype=torch.float64)
        graphs.append(data)
    fields = {"x": FIELDS["x"], "cond": FIELDS["cond"], "states": FIELDS["y"]}
    series = MeshStore.write(tmp_path / "series.h5", graphs, fields)
    config = TrainConfig(
        data=drawing(series, (1, 0, 1), 20, 10),
        model=ModelConfig(depth=1, local="MeshConv", **SMALL),
        series=SeriesConfig(unroll=2),
    )
    parts = assemble(config, series)
    assert parts.loaders.hops == 2
    batch = next(iter(parts.loaders.train_dataloader()))
    loss = parts.module.loss(batch)
    loss.backward()
    batch.later = torch.where(batch.halo[:, None], 1e6, batch.later)
    batch.y = torch.where(batch.halo[:, None], 1e6, batch.y)
    torch.testing.assert_close(parts.module.loss(batch), loss)


def test_wrong_patches_are_refused(store: MeshStore) -> None:
    config = TrainConfig(data=DataConfig(str(store.path), patch=5))
    with pytest.raises(ValueError, match=r"data\.patch is 5 and data.nodes_per_graph None"):
        check_config(config)
    config.data.nodes_per_graph = 4
    with pytest.raises(ValueError, match="nodes_per_graph 4, expected at least as many"):
        check_config(config)
    config.data.nodes_per_graph, config.model.chunk = 50, 100
    with pytest.raises(ValueError, match=r"model\.chunk 100: patches are small"):
        check_config(config)
    with pytest.raises(ValueError, match="without edges if it is no RandomPatches"):
        StoreDataset(store, arrays=["pos"], in_memory=True, draw=RandomPatches(5, 5, 1))
    with pytest.raises(ValueError, match=r"`halo` has shape \[3\]"):
        GraphLayout.of(torch.rand(4, 2), halo=torch.zeros(3, dtype=torch.bool))
