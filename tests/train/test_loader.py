"""Batches carry their layout, so that no layer works one out in a step."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from lrsa_geo.data import MeshStore, SplitConfig
from lrsa_geo.nn import EdgeLayout, NodeLayout
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    StoreDataModule,
    Surrogate,
    layout_of,
)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("local", [None, "MeshConv"])
def test_a_step_builds_no_layout(cells: MeshStore, monkeypatch, local, num_workers):
    sizes = {"channels": 16, "depth": 2, "heads": 2, "num_latents": 4, "local": local}
    model = ModelConfig(**sizes)
    surrogate = Surrogate.for_training(model, cells, range(4))
    config = DataConfig(batch_size=3, num_workers=num_workers, split=SplitConfig(val=2, test=4))
    layout = partial(layout_of, config=model)
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
