"""The command as a user types it."""

from __future__ import annotations

import shutil
from pathlib import Path

import meshio
import numpy as np
import pytest
import yaml

from lrsa_geo.cli import main
from lrsa_geo.data import MeshStore


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells_file: Path) -> Path:
    """An empty working directory with a data set and a small configuration."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(cells_file, tmp_path / "cells.h5")
    config = {
        "name": "small",
        "data": {"path": "cells.h5", "split": {"train": 16, "val": 2, "test": 6, "shuffle": False}},
        "model": {"channels": 16, "depth": 1, "heads": 2, "num_latents": 4},
        "trainer": {"max_epochs": 1, "enable_progress_bar": False},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def test_train_evaluate_predict(here, capsys):
    assert main(["train", "small.yaml", "--trainer.max_epochs", "2", "--model.depth=2"]) == 0
    printed = capsys.readouterr().out
    assert "von_mises" in printed
    assert "run folder: runs/small" in printed
    saved = yaml.safe_load((here / "runs/small/config.yaml").read_text())
    assert saved["trainer"]["max_epochs"] == 2
    assert saved["model"]["depth"] == 2
    assert saved["model"]["channels"] == 16

    assert main(["evaluate", "runs/small"]) == 0
    assert "relative L2 on 6 test meshes" in capsys.readouterr().out

    assert main(["predict", "runs/small", "cells.h5:20", "-o", "cell.vtu"]) == 0
    mesh, data = meshio.read("cell.vtu"), MeshStore("cells.h5")[20]
    np.testing.assert_array_equal(mesh.points[:, :2], data.pos)
    np.testing.assert_array_equal(mesh.cells_dict["triangle"], data.cells)
    for name, column in (("von_mises", 0), ("displacement", slice(1, 3))):
        truth = mesh.point_data[name]
        np.testing.assert_array_equal(truth if truth.ndim == 1 else truth[:, :2], data.y[:, column])
        np.testing.assert_allclose(
            mesh.point_data[f"{name}_predicted"] - truth,
            mesh.point_data[f"{name}_error"],
            atol=1e-6 * np.abs(truth).max(),
        )

    assert main(["predict", "runs/small", "cells.h5:24", "-o", "cell.vtu"]) == 1
    assert "cells.h5 has the graphs 0 to 23" in capsys.readouterr().err


def test_a_second_run_gets_a_folder_of_its_own(here, capsys):
    assert main(["train", "small.yaml"]) == 0
    assert main(["train", "small.yaml"]) == 0
    assert "run folder: runs/small-2" in capsys.readouterr().out
    assert main(["train", "small.yaml", "--run", "runs/small"]) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert main(["train", "small.yaml", "--resume"]) == 1
    assert "no unfinished run of 'small'" in capsys.readouterr().err
    assert main(["train", "small.yaml", "--resume", "--run", "runs/none"]) == 1
    assert "runs/none holds no run to resume" in capsys.readouterr().err


def test_data_make_and_info(here, capsys):
    arguments = ["--recipe.samples", "3", "--recipe.min_nodes", "150", "--recipe.max_nodes", "160"]
    assert (
        main(["data", "make", "elasticity", "-o", "three.h5", "--processes", "0", *arguments]) == 0
    )
    assert main(["data", "info", "three.h5"]) == 0
    printed = capsys.readouterr().out
    assert "three.h5: 3 graphs" in printed
    assert "displacement_x displacement_y    m" in printed
    assert "felupe" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "small.yaml", "--model.chanels", "3"], "did you mean --model.channels?"),
        (["train", "small.yaml", "--model.channels", "many"], "model.channels"),
        (["data", "make", "elastic"], "did you mean 'elasticity'?"),
        (["data", "make", "--from", "*.vtu"], "give --from and --targets, or the name"),
        (["data", "make", "elasticity", "--recipe.sampels", "3"], "--recipe.samples"),
        (["predict", "runs/none"], "input"),
        (["tarin"], "train"),
        ([], "command"),
    ],
)
def test_wrong_calls_are_refused_with_the_nearest_name(here, capsys, arguments, message):
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
    assert message in capsys.readouterr().err
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "elasticty"], "did you mean 'elasticity'?"),
        (["train", "small.yaml", "--quick"], "there is no quick variant"),
        (["train", "small.yaml", "--data.path", "no.h5"], "no.h5: no such file"),
        (["evaluate", "runs/none"], "runs/none/model.safetensors does not exist: not a run"),
        (["predict", "runs/none", "cells.h5", "-o", "a.vtu"], "expected FILE.h5:NUMBER"),
        (["predict", "runs/none", "no/*.vtu", "-o", "a"], "runs/none/model.safetensors does not"),
        (["data", "make", "pipe_geofno", "--from", "."], "file 'pipe/Pipe_X.npy' is missing"),
        (["data", "make", "--from", "*.vtu", "--targets", "p"], "'*.vtu' matches no mesh file"),
        (["data", "check", "b[1]/*.vtu"], "no mesh file; a bracket in a name is written [[]"),
        (["data", "info", "small.yaml"], "small.yaml: not a readable HDF5 MeshStore"),
    ],
)
def test_errors_are_one_line_and_name_the_culprit(here, capsys, arguments, message):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["data"],
        ["data", "make"],
        ["data", "info"],
        ["data", "check"],
        ["data", "split"],
        ["data", "make", "elasticity"],
        ["data", "make", "airfrans"],
        ["train"],
        ["evaluate"],
        ["predict"],
    ],
)
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([*arguments, "--help"])
    assert leaving.value.code == 0
    assert "usage: lrsa-geo" in capsys.readouterr().out


def test_train_help_lists_every_value_with_its_meaning(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    printed = capsys.readouterr().out
    for flag in ("--model.channels", "--optim.lr", "--trainer.precision", "--data.split.test"):
        assert flag in printed
    assert "M, latents per block" in printed
