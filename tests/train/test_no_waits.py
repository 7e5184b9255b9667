"""Nothing in a training step waits for the device: no value of a tensor is looked at on the way.

On a GPU such a look holds back the calls that follow, and the device idles until they arrive. What
depends on values is in the layout of a batch, and in what a loss keeps there; the loader makes both
on the CPU. Without a GPU the operations are watched whose result, or its shape, the host would have
to know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from decay import store_of_decays
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lrsa_geo.data import MeshStore, SeriesConfig, SplitConfig
from lrsa_geo.mesh import Field, MeshData, grid_positions
from lrsa_geo.train import DataConfig, ModelConfig, ObjectiveConfig, TrainConfig
from lrsa_geo.train.assembly import assemble
from lrsa_geo.train.averaging import MovingAverage
from lrsa_geo.train.config import OptimConfig

aten = torch.ops.aten
LOOKS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.is_nonzero}
LOOKS |= {aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.bincount}
COPIES = {torch.tensor, torch.as_tensor, Tensor.new_tensor, Tensor.cpu, Tensor.tolist}
STEPS = {
    "LRSA": {},
    "message passing": {"local": "MeshConv"},
    "layer of PyG": {"local": "SAGEConv"},
    "Transolver": {"mixer": "transolver"},
    "FLARE": {"mixer": "flare"},
    "linear": {"mixer": "linear"},
    "relative": {"relative_positions": True},
    "checkpoint": {"checkpoint": True},
}
DATA = {
    "drawn nodes": {"nodes_per_graph": 50},
    "drawn patches": {"nodes_per_graph": 48, "patch": 16},
    "batches by nodes": {"max_nodes": 700},
}


class Looks(TorchDispatchMode):
    """Notes the operations whose result, or its shape, depends on values."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        kwargs = kwargs or {}
        name = function.overloadpacket
        by_mask = name in (aten.index, aten.index_put, aten.index_put_) and any(
            isinstance(leaf, Tensor) and leaf.dtype == torch.bool for leaf in tree_leaves(args[1])
        )
        repeats = name is aten.repeat_interleave and kwargs.get("output_size") is None
        if name in LOOKS or by_mask or repeats:
            self.found.append(str(function))
        return function(*args, **kwargs)


class Copies(TorchFunctionMode):
    """Notes the calls that bring numbers of Python to the device, or a tensor back."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        by_list = function in (Tensor.__getitem__, Tensor.__setitem__) and any(
            isinstance(index, list) for index in (args[1] if type(args[1]) is tuple else args[1:2])
        )
        if function in COPIES or by_list:
            self.found.append(function.__qualname__)
        return function(*args, **(kwargs or {}))


class WatchSteps(lightning.Callback):
    """Watches all steps but the first, in which the optimiser makes its state."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.steps = 0
        self.modes: list[Any] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if batch_idx:
            self.steps += 1
            self.modes = [Looks(self.found), Copies(self.found)]
            for mode in self.modes:
                mode.__enter__()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if batch_idx:
            for mode in reversed(self.modes):
                mode.__exit__(None, None, None)

    def on_exception(self, trainer, pl_module, exception) -> None:
        for mode in reversed(self.modes):
            mode.__exit__(None, None, None)


class RefuseWaits(lightning.Callback):
    """PyTorch's own watch, on a GPU."""

    def __init__(self) -> None:
        self.steps = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if batch_idx:
            self.steps += 1
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        torch.cuda.set_sync_debug_mode("default")

    def on_exception(self, trainer, pl_module, exception) -> None:
        torch.cuda.set_sync_debug_mode("default")


def fit(store: MeshStore, watch: Any, tmp_path: Path, accelerator: str, **config: Any) -> None:
    """A short training, watched."""
    sizes = {"channels": 16, "depth": 2, "heads": 2, "num_latents": 4}
    data = {"batch_size": 4, "split": SplitConfig(16, 2, 6, shuffle=False)}
    settings = TrainConfig(
        data=DataConfig(str(store.path), **(data | config.pop("data", {}))),
        model=ModelConfig(**(sizes | config.pop("model", {}))),
        **config,
    )
    parts = assemble(settings, store)
    callbacks = [watch]  # what comes before it is watched
    if settings.optim.average is not None:
        callbacks = [MovingAverage(settings.optim.average), watch]
    lightning.Trainer(
        max_epochs=1,
        accelerator=accelerator,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        gradient_clip_val=1.0,
        default_root_dir=tmp_path,
    ).fit(parts.module, datamodule=parts.loaders)
    assert watch.steps >= 3


SERIES = [
    pytest.param(SeriesConfig(), id="one step"),
    pytest.param(SeriesConfig(unroll=2, history=2, noise=0.01), id="two steps"),
    pytest.param(SeriesConfig(pushforward=1, prescribed={"u": [1]}), id="pushforward"),
    pytest.param(SeriesConfig(mode="time"), id="time"),
]
CASES = [
    *(pytest.param({"model": model}, id=name) for name, model in STEPS.items()),
    *(
        pytest.param({"data": data, "model": {"local": "MeshConv"}}, id=name)
        for name, data in DATA.items()
    ),
    pytest.param({"objective": ObjectiveConfig(loss="mse", by_measure=True)}, id="by measure"),
    pytest.param({"objective": ObjectiveConfig(loss="relative_l2_edges")}, id="slopes"),
    pytest.param({"optim": OptimConfig("adamw")}, id="AdamW"),
    pytest.param({"optim": OptimConfig(average=0.9)}, id="moving average"),
]


@pytest.mark.parametrize("config", CASES)
def test_no_step_looks_at_values(cells, tmp_path, config) -> None:
    watch = WatchSteps()
    fit(cells, watch, tmp_path, "cpu", **config)
    assert watch.found == []


@pytest.fixture(scope="module")
def grids(tmp_path_factory: pytest.TempPathFactory) -> MeshStore:
    """Regular grids of unlike size."""
    graphs = [
        MeshData(pos=(pos := grid_positions(4 + n % 3, 5)), x=pos + n, y=pos.sin().sum(1)[:, None])
        for n in range(24)
    ]
    fields = {"x": (Field("a", components=("x", "y")),), "y": (Field("u"),)}
    path = tmp_path_factory.mktemp("grids") / "grids.h5"
    return MeshStore(MeshStore.write(path, graphs, fields).path)


GRADIENT = {
    "model": {"use_measure": False},
    "objective": ObjectiveConfig(loss="relative_l2_gradient"),
}


def test_no_step_of_the_gradient_loss_looks_at_values(grids, tmp_path) -> None:
    watch = WatchSteps()
    fit(grids, watch, tmp_path, "cpu", **GRADIENT)
    assert watch.found == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_no_step_of_the_gradient_loss_waits_for_a_gpu(grids, tmp_path) -> None:
    fit(grids, RefuseWaits(), tmp_path, "gpu", **GRADIENT)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> MeshStore:
    return store_of_decays(tmp_path_factory.mktemp("series"))


@pytest.mark.parametrize("config", SERIES)
def test_no_step_of_series_looks_at_values(series, tmp_path, config) -> None:
    watch = WatchSteps()
    fit(series, watch, tmp_path, "cpu", series=config)
    assert watch.found == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("config", SERIES)
def test_no_step_of_series_waits_for_a_gpu(series, tmp_path, config) -> None:
    fit(series, RefuseWaits(), tmp_path, "gpu", series=config)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("config", CASES)
def test_no_step_waits_for_a_gpu(cells, tmp_path, config) -> None:
    fit(cells, RefuseWaits(), tmp_path, "gpu", **config)


def test_the_watch_sees_what_waits() -> None:
    found: list[str] = []
    values = torch.arange(4.0)
    with Looks(found), Copies(found):
        bool(values.sum() > 1)
        values[values > 1]
        values.new_tensor([1.0])
        torch.repeat_interleave(torch.tensor([1, 2]))
        values[[0, 2]]
    assert len(found) == 6
