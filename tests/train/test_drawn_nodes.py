"""Drawn nodes in training (`data.nodes_per_graph`), and octaves by the training meshes."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from lrsa_geo.data import (
    MeshStore,
    SplitConfig,
    StoreDataset,
    match_store,
    node_spacing,
    octaves_for,
)
from lrsa_geo.files import shipped_datasets
from lrsa_geo.mesh import RandomNodes
from lrsa_geo.nn import GeometryOperator, OperatorConfig
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    StoreDataModule,
    Surrogate,
    TrainConfig,
    load_surrogate,
    predict,
    train,
)
from lrsa_geo.train.config import TrainerConfig, check_config
from lrsa_geo.train.notes import hint_on

SPLIT = SplitConfig(16, 2, 6, shuffle=False)


def loaders(cells: MeshStore, arrays: list[str], **more: object) -> StoreDataModule:
    config = DataConfig(cells.path, batch_size=4, split=SPLIT, nodes_per_graph=50, **more)
    return StoreDataModule(cells, config, arrays, seed=3)


def test_training_sees_drawn_nodes_and_validation_and_test_whole_meshes(cells):
    data = loaders(cells, ["pos", "y", "measure", "edge_index"])
    for batch in data.train_dataloader():
        assert batch.ptr.diff().tolist() == [50] * 4
        source, target = batch.edge_index
        assert torch.equal(batch.batch[source], batch.batch[target])
        for graph in batch.to_data_list():
            whole = cells[int(graph.graph)]
            same = (graph.pos[:, None] == whole.pos).all(-1)
            assert (same.sum(1) == 1).all()
            number = same.float().argmax(1)
            torch.testing.assert_close(graph.y, whole.y[number])
            scale = whole.num_nodes / 50  # the sum over drawn nodes stands for that over all
            torch.testing.assert_close(graph.measure, whole.measure[number] * scale)
    for loader, part in ((data.val_dataloader(), "val"), (data.test_dataloader(), "test")):
        sizes = [size for batch in loader for size in batch.ptr.diff().tolist()]
        assert sizes == cells.num_nodes[getattr(data.split, part)].tolist()


def test_nodes_that_are_drawn_while_reading_are_those_drawn_from_memory(cells):
    """The same batches; of the file no row of another node is read."""
    arrays = ["pos", "y", "measure"]
    read, kept = (loaders(cells, arrays, in_memory=keep) for keep in (False, True))
    assert read.dataset("train").draw is not None
    assert kept.dataset("train").draw is None
    for one, other in zip(read.train_dataloader(), kept.train_dataloader(), strict=True):
        assert one.num_nodes == other.num_nodes == 200
        assert set(one.keys()) == set(other.keys())
        for array in (*arrays, "ptr", "graph"):
            torch.testing.assert_close(one[array], other[array], atol=0, rtol=0)


@pytest.mark.parametrize(
    ("changes", "hints"),
    [
        ({}, True),
        ({"data": {"nodes_per_graph": 512}}, False),
        ({"model": {"local": "MeshConv"}}, False),
        ({"model": {"chunk": 100}}, False),
        ({"model": {"mixer": "spectral"}}, False),
        ({"objective": {"loss": "relative_l2_edges"}}, False),
    ],
)
def test_large_meshes_are_told_of_drawn_nodes(changes, hints):
    """Where single nodes may be drawn, and are not."""
    config = TrainConfig()
    for part, values in changes.items():
        for name, value in values.items():
            setattr(getattr(config, part), name, value)
    assert ("nodes_per_graph 512" in hint_on(config, np.array([100, 1536, 9000]))) == hints
    assert hint_on(config, np.array([1535])) == ""
    assert hint_on(config, np.array([], dtype=int)) == ""


def test_drawn_rows_are_those_of_a_matched_store(cells):
    wanted = {"y": tuple(reversed(cells.fields["y"]))}
    store = match_store(cells, wanted)
    nodes = torch.tensor([3, 5, 8])
    rows, whole = store.rows_of(2, ["pos", "y"], nodes), store[2]
    for array, values in rows.items():
        assert torch.equal(values, whole[array][nodes])
    assert not torch.equal(rows["y"], cells[2].y[nodes])


@pytest.mark.parametrize("more", [{"arrays": ["pos", "edge_index"]}, {"in_memory": True}])
def test_what_needs_whole_graphs_does_not_draw_while_reading(cells, more):
    with pytest.raises(ValueError, match=r"`draw` is RandomNodes\(5\).* as the transform"):
        StoreDataset(cells, **{"arrays": ["pos"], **more}, draw=RandomNodes(5))


def test_every_epoch_draws_anew_and_a_seed_draws_the_same(cells):
    def epoch(number: int) -> torch.Tensor:
        data = loaders(cells, ["pos"]).dataset("train")
        data.set_epoch(number)
        return torch.stack([graph.pos for graph in data])

    assert torch.equal(epoch(1), epoch(1))
    assert not torch.equal(epoch(1), epoch(2))


def test_mirror_images_are_drawn_from_too(cells):
    data = loaders(cells, ["pos"], augment=[{"name": "Mirror", "planes": {"x": 0.5}}])
    graphs = data.dataset("train")
    assert len(graphs) == 2 * len(data.split.train)
    assert all(len(graph.pos) == 50 for graph in graphs)


def test_a_training_takes_the_octaves_of_its_meshes(cells_file: Path, cells, tmp_path, capsys):
    config = TrainConfig(
        data=DataConfig(str(cells_file), split=SPLIT, nodes_per_graph=64),
        model=ModelConfig(16, 1, 2, 4, use_measure=False),
        trainer=TrainerConfig(max_epochs=1, enable_progress_bar=False),
    )
    train(config, tmp_path / "run")
    model = load_surrogate(tmp_path / "run")
    spacing = sorted(node_spacing(cells[number].pos) for number in range(16))[7]
    expected = octaves_for(spacing / float(model.normalizer.pos.scale[0]))
    assert model.config.fourier_octaves == expected
    assert f"position encoding: {expected} octaves" in capsys.readouterr().out


def test_without_meshes_the_octaves_are_those_of_the_operator(cells):
    config = ModelConfig(16, 1, 2, 4)
    trained = Surrogate.for_training(config, cells, [0])
    assert trained.config.fourier_octaves < OperatorConfig.fourier_octaves  # meshes of 250 nodes
    made = Surrogate(config, trained.signature)
    assert made.config.fourier_octaves == OperatorConfig.fourier_octaves
    with pytest.raises(ValueError, match="fourier_octaves"):
        GeometryOperator(1, 1, 2, config=config)


def test_no_node_is_refused(cells_file: Path):
    config = TrainConfig(data=DataConfig(str(cells_file), nodes_per_graph=0))
    with pytest.raises(ValueError, match="nodes_per_graph is 0"):
        check_config(config)


def test_the_distance_of_drawn_nodes_is_that_of_the_same_nodes(cells):
    """The script's: none from all nodes, and none of a model that looks at each node alone."""
    distance = runpy.run_path(str(shipped_datasets() / "drawn_nodes.py"))["distance"]
    sizes = {"channels": 16, "depth": 1, "heads": 2, "num_latents": 4, "use_measure": False}
    graph = cells[20]
    for mixes, nodes, none in ((True, 10**4, True), (True, 20, False), (False, 20, True)):
        surrogate = Surrogate.for_training(ModelConfig(**sizes), cells, range(16)).eval()
        if not mixes:
            for block in surrogate.operator.blocks:
                block.mixer.scale_output(0.0)
        whole = predict(surrogate, graph)
        far = distance(surrogate, graph, whole, RandomNodes(nodes))
        assert (far < 1e-5).all() == none
