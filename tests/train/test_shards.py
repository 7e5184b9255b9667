"""The road on several files that are one store: a run on them is that on the whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lrsa_geo.cli import main
from lrsa_geo.data import MeshStore
from lrsa_geo.train import find_config

FLAGS = ["--quick", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
FLAGS += ["--model.channels", "8", "--model.depth", "1", "--model.heads", "2"]
FLAGS += ["--model.num_latents", "2", "--trainer.enable_progress_bar", "false"]


@pytest.fixture
def here(cells: MeshStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the unit cells in one file, and in three."""
    monkeypatch.chdir(tmp_path)
    graphs = [*cells]
    MeshStore.write("whole.h5", graphs, cells.fields)
    for number, first in enumerate((0, 5, 14)):
        last = (5, 14, 24)[number]
        MeshStore.write(f"shards/{number}.h5", graphs[first:last], cells.fields)
    return tmp_path


def test_a_run_on_shards_is_that_on_the_whole(here, capsys):
    for what in ("shards/*.h5", "whole.h5"):
        assert main(["data", "info", what]) == 0
        assert main(["data", "check", what]) == 0
        assert main(["data", "split", what, "--by", "geometry", "--test", "0.2"]) == 0
        assert main(["train", what, *FLAGS]) == 0
    found, expected = (
        json.loads((here / f"runs/{name}-quick/metrics.json").read_text())
        for name in ("all", "whole")
    )
    assert found["test_graphs"] == expected["test_graphs"]
    assert found["fields"] == expected["fields"]
    assert "split_file: shards/all.split.json" in (here / "runs/all-quick/config.yaml").read_text()
    assert main(["evaluate", "runs/all-quick"]) == 0
    assert main(["predict", "runs/all-quick", "shards/*.h5:20", "-o", "out"]) == 0
    assert main(["predict", "runs/whole-quick", "whole.h5:20", "-o", "out"]) == 0
    assert sorted(path.name for path in (here / "out").glob("*.vtu")) == [
        "all-20.vtu",
        "whole-20.vtu",
    ]
    texts = [path.read_bytes() for path in sorted((here / "out").glob("*.vtu"))]
    assert texts[0] == texts[1]
    assert main(["data", "info", "shards"]) == 0
    assert "3 files, read as one store" in capsys.readouterr().out


def test_a_folder_is_a_store_and_its_name_that_of_the_run(here):
    arguments = find_config("shards")
    assert arguments[-4:] == ["--name", "shards", "--data.path", "shards"]
    assert arguments[1].endswith("store.yaml")
