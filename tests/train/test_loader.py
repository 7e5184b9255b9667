"""Batches carry their layout, so that no layer works one out in a step."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import h5py
import pytest
import torch

from lrsa_geo.data import MeshStore, SplitConfig, StoreError
from lrsa_geo.nn import EdgeLayout, NodeLayout
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    StoreDataModule,
    Surrogate,
    layout_of,
    prepare_store,
)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("local", [None, "MeshConv"])
def test_a_step_builds_no_layout(cells: MeshStore, monkeypatch, local, num_workers):
    sizes = {"channels": 16, "depth": 2, "heads": 2, "num_latents": 4, "local": local}
    model = ModelConfig(**sizes)
    surrogate = Surrogate.for_training(model, cells, range(4))
    config = DataConfig(batch_size=3, num_workers=num_workers, split=SplitConfig(val=2, test=4))
    markers = surrogate.signature.num_markers
    layout = partial(layout_of, config=model, num_markers=markers)
    loaders = StoreDataModule(cells, config, [*surrogate.arrays, "y"], 0, layout)
    batches = list(loaders.train_dataloader())
    expected = []
    for batch in batches:
        plain = batch.clone()
        del plain.layout
        expected.append(surrogate(plain))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a layout is worked out in a step")

    monkeypatch.setattr(NodeLayout, "__init__", refuse)
    monkeypatch.setattr(EdgeLayout, "__init__", refuse)
    for batch, answer in zip(batches, expected, strict=True):
        found = surrogate(batch)
        torch.testing.assert_close(found, answer)
        found.square().sum().backward()


def test_a_store_is_verified_unless_it_is_trusted(cells_file: Path, tmp_path: Path) -> None:
    path = shutil.copy(cells_file, tmp_path / "changed.h5")
    prepare_store(DataConfig(str(path)))
    with h5py.File(path, "r+") as file:
        file["node"]["y"][3] += 1
    with pytest.raises(StoreError, match=r"changed\.h5: contents have SHA-256"):
        prepare_store(DataConfig(str(path)))
    assert len(prepare_store(DataConfig(str(path), verify=False))) == 24
