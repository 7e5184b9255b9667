"""`trainer.compile`: the same training, by compiled steps."""

import os
import subprocess
import sys

import lightning
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import Field, MeshData
from lrsa_geo.train import DataConfig, ModelConfig, SplitConfig, TrainConfig, assemble
from lrsa_geo.train.compiled import Compiled


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    draw = torch.Generator().manual_seed(0)

    def graph(number):
        pos = torch.rand(20 + 3 * number, 2, generator=draw)
        return MeshData(pos=pos, y=pos.sin().sum(1, keepdim=True))

    path = tmp_path_factory.mktemp("store") / "s.h5"
    return MeshStore.write(path, map(graph, range(10)), {"y": (Field("u", "1"),)})


def trained(store, *, compiled):
    """Weights after four steps and their validation, and how many graphs were compiled."""
    torch._dynamo.reset()
    split = SplitConfig(6, 2, 2, shuffle=False)
    config = TrainConfig(
        data=DataConfig(str(store.path), split=split, batch_size=3),
        model=ModelConfig(
            channels=8, depth=1, heads=2, num_latents=4, use_measure=False, use_boundary=False
        ),
    )
    config.trainer.compile = compiled
    torch.manual_seed(0)
    parts = assemble(config, store)
    graphs = CompileCounterWithBackend("aot_eager")
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[Compiled(graphs)] if compiled else [],
    )
    trainer.fit(parts.module, datamodule=parts.loaders)
    assert parts.surrogate.operator._compiled_call_impl is None
    errors = {n: float(v) for n, v in trainer.callback_metrics.items() if n.startswith("val_")}
    return dict(parts.surrogate.named_parameters()), errors, graphs.frame_count


def test_training_is_the_same_and_leaves_the_plain_operator(store):
    """Validation meshes are not compiled, nor is the training compiled anew for each batch."""
    weights, errors, graphs = trained(store, compiled=True)
    plain, plain_errors, _ = trained(store, compiled=False)
    assert 1 <= graphs <= 2
    assert errors == pytest.approx(plain_errors, rel=1e-3)
    for name, expected in plain.items():
        torch.testing.assert_close(weights[name], expected, rtol=1e-3, atol=1e-4)


def test_a_machine_without_compiler_is_named(tmp_path):
    """In a process of its own: PyTorch looks for the compiler once, and keeps what it made."""
    program = (
        "import torch\n"
        "from lrsa_geo.train.compiled import check_compiler\n"
        "check_compiler(torch.device('cpu'))\n"
    )
    environment = os.environ | {
        "CXX": str(tmp_path / "none"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "trainer.compile is true, and PyTorch cannot compile here" in done.stderr
