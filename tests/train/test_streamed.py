"""A surrogate on a large graph, chunk by chunk: the same fields."""

from __future__ import annotations

import errno
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from squares import FIELDS, square

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import with_edges
from lrsa_geo.train import ModelConfig, Surrogate, large, predict


@pytest.mark.parametrize("local", [None, "MeshConv"])
def test_a_streamed_surrogate_predicts_the_same(
    tmp_path: Path, local: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = [square(5), square(6)]
    store = MeshStore.write(tmp_path / "s.h5", graphs, FIELDS)
    config = ModelConfig(channels=16, depth=2, heads=2, num_latents=4, local=local)
    surrogate = Surrogate.for_training(config, store, [0, 1]).eval()
    large = with_edges(square(40))
    with torch.no_grad():
        expected = surrogate(large)
    torch.testing.assert_close(surrogate.streamed(large, chunk=77), expected, atol=1e-5, rtol=1e-5)
    monkeypatch.setattr(sys.modules["lrsa_geo.train.predict"], "STREAMED", 1000)
    called: list[int] = []
    streamed = surrogate.streamed
    monkeypatch.setattr(
        surrogate, "streamed", lambda *a, **k: called.append(1) or streamed(*a, **k)
    )
    torch.testing.assert_close(predict(surrogate, square(40)), expected, atol=1e-5, rtol=1e-5)
    predict(surrogate, square(6))
    assert called == [1]


def test_features_go_into_a_file_where_the_memory_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MeshStore.write(tmp_path / "s.h5", [square(5), square(6)], FIELDS)
    config = ModelConfig(channels=16, depth=2, heads=2, num_latents=4, local="MeshConv")
    surrogate = Surrogate.for_training(config, store, [0, 1]).eval()
    assert large.feature_buffer(surrogate, 1600) is None
    monkeypatch.setattr(large, "free_memory", lambda: 4 * 1600 * 16 * 4 - 1)  # two of them: half
    monkeypatch.setattr(sys.modules["lrsa_geo.train.predict"], "STREAMED", 1000)
    made: list[torch.Size] = []
    mapped = large.mapped_rows

    def counted(*arguments: Any) -> torch.Tensor:
        made.append(mapped(*arguments).shape)
        return mapped(*arguments)

    monkeypatch.setattr(large, "mapped_rows", counted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spill"))
    (tmp_path / "spill").mkdir()
    with torch.no_grad():
        expected = surrogate(with_edges(square(40)))
    torch.testing.assert_close(predict(surrogate, square(40)), expected, atol=1e-5, rtol=1e-5)
    assert made == [(1600, 16), (1600, 16)]
    assert list((tmp_path / "spill").iterdir()) == []  # the file has no name that could stay


def test_a_disk_without_room_for_the_features_is_named(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with pytest.raises(OSError, match=r"the features of 9,000 nodes take 1 MiB.* TMPDIR") as raised:
        large.mapped_rows(9000, 16, torch.float32)  # 576 kB
    assert raised.value.errno == errno.ENOSPC
    large.mapped_rows(100, 16, torch.float32)[:] = 1
