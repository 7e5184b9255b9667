"""`model.chunk`: the same training, chunk by chunk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from squares import FIELDS, square
from torch_geometric.data import Batch

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import MeshData, with_edges
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    SplitConfig,
    Surrogate,
    TrainConfig,
    assemble,
    load_surrogate,
    train,
)
from lrsa_geo.train.config import check_config

SMALL = {"channels": 16, "depth": 2, "heads": 2, "num_latents": 4}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MeshStore:
    path = tmp_path_factory.mktemp("store") / "s.h5"
    return MeshStore.write(path, (square(side, 0.1 * side) for side in range(4, 12)), FIELDS)


@pytest.mark.parametrize("local", [None, "MeshConv"])
def test_fields_and_gradients_of_a_batch_are_the_same(store: MeshStore, local: str | None) -> None:
    found = []
    batch = Batch.from_data_list([with_edges(store[i]) for i in range(4)])
    for chunk in (None, 13):
        torch.manual_seed(0)
        config = ModelConfig(**SMALL, local=local, chunk=chunk)
        surrogate = Surrogate.for_training(config, store, [0, 1, 2])
        loss = surrogate.objective().loss(surrogate(batch), batch)
        loss.backward()
        with torch.no_grad():
            predicted = surrogate(batch)
        grads = torch.cat([p.grad.flatten() for p in surrogate.operator.parameters()])
        found.append((predicted, grads))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5 * float(one.abs().max()))


def test_a_training_is_the_same(store: MeshStore, tmp_path: Path) -> None:
    weights = []
    for chunk in (None, 20):
        config = TrainConfig(
            data=DataConfig(str(store.path), split=SplitConfig(4, 2, 2), batch_size=2),
            model=ModelConfig(**SMALL, chunk=chunk),
        )
        config.trainer.max_epochs, config.trainer.enable_progress_bar = 3, False
        folder = tmp_path / str(chunk)
        train(config, folder)
        weights.append(dict(load_surrogate(folder).named_parameters()))
    for name, expected in weights[0].items():
        torch.testing.assert_close(weights[1][name], expected, rtol=1e-2, atol=1e-3)


def test_what_cannot_go_chunk_by_chunk_is_refused(store: MeshStore) -> None:
    with pytest.raises(ValueError, match="`chunk` is 0"):
        ModelConfig(chunk=0)
    config = TrainConfig(data=DataConfig(str(store.path)), model=ModelConfig(mixer="full", chunk=9))
    with pytest.raises(ValueError, match="`chunk` is 9, and block 0 mixes by FullAttention"):
        assemble(config, store)
    config = TrainConfig(model=ModelConfig(chunk=9))
    config.trainer.compile = True
    with pytest.raises(ValueError, match=r"trainer\.compile is true and model\.chunk is 9"):
        check_config(config)
    surrogate = Surrogate.for_training(ModelConfig(**SMALL, chunk=9), store, [0, 1])
    batch = Batch.from_data_list([store[0], store[1]])
    batch = MeshData(**{key: batch[key] for key in ("pos", "x", "cond", "measure", "boundary")})
    batch.batch = torch.tensor([0] * store.num_nodes[0] + [1] * store.num_nodes[1])
    with pytest.raises(ValueError, match=r"Batch\.from_data_list"):
        surrogate(batch)
