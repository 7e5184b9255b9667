"""`trainer.compile`: the same training, by compiled steps."""

import os
import re
import subprocess
import sys
from pathlib import Path

import lightning
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import Field, MeshData
from lrsa_geo.study.compare import Variant, seconds_per_step
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    SplitConfig,
    TrainConfig,
    assemble,
    compiled,
    load_config,
    train,
)
from lrsa_geo.train.compiled import Compiled


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    draw = torch.Generator().manual_seed(0)

    def graph(number):
        pos = torch.rand(20 + 3 * number, 2, generator=draw)
        return MeshData(pos=pos, y=pos.sin().sum(1, keepdim=True))

    path = tmp_path_factory.mktemp("store") / "s.h5"
    return MeshStore.write(path, map(graph, range(10)), {"y": (Field("u", "1"),)})


def config_of(store, *, compiled):
    split = SplitConfig(6, 2, 2, shuffle=False)
    config = TrainConfig(
        data=DataConfig(str(store.path), split=split, batch_size=3),
        model=ModelConfig(
            channels=8, depth=1, heads=2, num_latents=4, use_measure=False, use_boundary=False
        ),
    )
    config.trainer.compile = compiled
    return config


def trained(store, *, compiled):
    """Weights after four steps and their validation, and how many graphs were compiled."""
    torch._dynamo.reset()
    config = config_of(store, compiled=compiled)
    torch.manual_seed(0)
    parts = assemble(config, store, compiled=compiled)
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


def elsewhere(program: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run it where there is no compiler, in a process that has not looked for one yet."""
    environment = os.environ | {
        "CXX": str(tmp_path / "none"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


TRUE = """
import torch
from lrsa_geo.train import TrainConfig, compiles
config = TrainConfig()
config.trainer.compile = True
compiles(config, torch.device("cpu"))
"""


def test_a_machine_without_compiler_is_named(tmp_path):
    done = elsewhere(TRUE, tmp_path)
    assert done.returncode == 1
    assert "trainer.compile is true, and PyTorch cannot compile here" in done.stderr
    assert "install a C++ compiler, and on a GPU Triton, or set it to false" in done.stderr


AUTO = """
import torch
from lrsa_geo.train.compiled import why_not_compiled
from lrsa_geo.train import TrainConfig
config = TrainConfig()
config.data.nodes_per_graph = 512
print(why_not_compiled(config, torch.device("cpu")))
"""


def test_auto_goes_on_without_a_compiler(tmp_path):
    done = elsewhere(AUTO, tmp_path)
    assert done.stdout.startswith("PyTorch cannot compile here"), done.stderr


def test_auto_can_be_written_in_a_file(tmp_path):
    for value, expected in (("auto", "auto"), ("true", True), ("false", False)):
        (tmp_path / "c.yaml").write_text(f"trainer: {{compile: {value}}}")
        assert load_config(tmp_path / "c.yaml").trainer.compile == expected
    (tmp_path / "c.yaml").write_text("trainer: {compile: always}")
    with pytest.raises(ValueError, match="compile"):
        load_config(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "is compiled first"),
        ({"data.nodes_per_graph": None}, "not compiled .*without data.nodes_per_graph"),
        ({"model.local": "MeshConv"}, "not compiled .*messages pass"),
        ({"model.chunk": 9}, "not compiled .*chunk by chunk"),
        ({"trainer.max_time": "1m"}, "not compiled .*max_time"),
    ],
)
def test_auto_compiles_steps_of_drawn_nodes_and_says_what_it_does(
    store, tmp_path, capsys, change, said
):
    torch._dynamo.reset()
    counted = torch._dynamo.utils.counters["stats"]
    before = counted["unique_graphs"]
    config = config_of(store, compiled="auto")
    config.data.nodes_per_graph = 16
    config.trainer.max_steps, config.trainer.enable_progress_bar = 1, False
    report = train(Variant("v", change).of(config), tmp_path / "run")
    assert re.search(said, capsys.readouterr().out)
    assert report["compiled"] is (not change)
    assert (counted["unique_graphs"] > before) is (not change)


def test_steps_are_timed_as_they_are_trained(store):
    """What `compare` measures is the compiled step, without the time of compiling."""
    torch._dynamo.reset()
    counted = torch._dynamo.utils.counters["stats"]
    before = counted["unique_graphs"]
    (seconds,) = seconds_per_step([config_of(store, compiled=True)], rounds=2, seconds=0)
    assert counted["unique_graphs"] > before
    assert seconds < 1


def test_the_ninth_architecture_of_a_process_is_compiled_too(store):
    """By itself PyTorch goes on without compiling."""
    torch._dynamo.reset()
    config = config_of(store, compiled=True)
    graphs = CompileCounterWithBackend("eager")
    for number in range(1, 11):
        config.model.num_latents = 3 + number
        parts = assemble(config, store, compiled=True)
        with compiled(parts.module, graphs):
            parts.module.loss(next(iter(parts.loaders.train_dataloader()))).backward()
        assert graphs.frame_count == number
