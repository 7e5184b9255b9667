"""From the files of another program to a rollout that plays, by three commands."""

from __future__ import annotations

from pathlib import Path

import meshio
import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

from lrsa_geo.cli import main
from lrsa_geo.data import CondTable, collect
from lrsa_geo.mesh import MeshError, open_series
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    SplitConfig,
    TrainConfig,
    assemble,
    predict_series,
)

STEPS = 9


def heat(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A plate that cools: points, triangles, times, and u = sum a_k exp(-k^2 t) sin(k pi x) ..."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.random((40, 2)), [[0, 0], [0, 1], [1, 0], [1, 1]]])
    cells = Delaunay(points).simplices
    amplitude = rng.normal(size=2)
    times = np.linspace(0, 0.8, STEPS)
    waves = [np.prod(np.sin(np.pi * k * points), axis=1) for k in (1, 2)]
    decay = [np.exp(-(k**2) * times[:, None]) for k in (1, 2)]
    u = sum(a * d * w for a, d, w in zip(amplitude, decay, waves, strict=True))
    return points, cells, times, np.asarray(u)


def write_case(folder: Path, seed: int) -> None:
    """A PVD of VTU files, as solvers write it."""
    points, cells, times, u = heat(seed)
    folder.mkdir(parents=True)
    lines = []
    for step, time in enumerate(times):
        fields = {"T": u[step], "far": 300 + u[step]}
        plane = np.pad(points, ((0, 0), (0, 1)))
        mesh = meshio.Mesh(plane, [("triangle", cells)], point_data=fields)
        mesh.write(folder / f"t{step:03d}.vtu")
        lines.append(f'<DataSet timestep="{time}" part="0" file="t{step:03d}.vtu"/>')
    text = f'<VTKFile type="Collection"><Collection>{"".join(lines)}</Collection></VTKFile>'
    (folder / "case.pvd").write_text(text)


def run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("road")
    for seed in range(12):
        write_case(folder / "cases" / f"c{seed}", seed)
    store = folder / "heat.h5"
    run(
        *("data", "make", "--from", folder / "cases" / "*" / "case.pvd", "--series"),
        *("--targets", "T [K]", "-o", store, "--processes", 1),
    )
    run(
        *("train", store, "--run", folder / "run", "--trainer.max_epochs", 6),
        *("--model.channels", 16, "--model.depth", 1, "--model.num_latents", 8),
        *("--trainer.enable_progress_bar", "false", "--optim.lr", 0.02),
    )
    return folder


def test_a_case_plays_with_truth_and_error(trained: Path, capsys) -> None:
    run("predict", trained / "run", trained / "cases" / "c3" / "case.pvd", "-o", trained / "o.pvd")
    assert f"{STEPS} steps; error T" in capsys.readouterr().out
    written = open_series(trained / "o.pvd")
    _, _, times, u = heat(3)
    torch.testing.assert_close(written.times, torch.from_numpy(times))
    last = written.mesh(-1).point_data
    torch.testing.assert_close(last["T"].double(), torch.from_numpy(u[-1]), atol=1e-6, rtol=1e-5)
    assert last["T_error"].abs().max() > 0
    assert "far" not in last  # it is known at the first step alone


def test_one_mesh_is_where_a_rollout_begins(trained: Path) -> None:
    first = trained / "cases" / "c2" / "t000.vtu"
    run("predict", trained / "run", first, "--steps", 20, "-o", trained / "far.pvd")
    written = open_series(trained / "far.pvd")
    assert len(written) == 21
    torch.testing.assert_close(written.times.diff(), torch.full((20,), 0.1, dtype=torch.float64))
    assert set(written.mesh(20).point_data) >= {"T_predicted"}


def test_numbered_files_are_one_series(trained: Path) -> None:
    pattern = trained / "cases" / "c4" / "t*.vtu"
    run("predict", trained / "run", pattern, "-o", trained / "numbered")
    assert len(open_series(trained / "numbered" / "t.pvd")) == STEPS


def test_what_a_rollout_cannot_begin_with_is_said(trained: Path, capsys) -> None:
    points, cells, _, u = heat(1)
    plane = np.pad(points, ((0, 0), (0, 1)))
    meshio.Mesh(plane, [("triangle", cells)], point_data={"S": u[0]}).write(trained / "s.vtu")
    code = main(["predict", str(trained / "run"), str(trained / "s.vtu"), "-o", str(trained / "x")])
    assert code
    assert "lacks some of the fields T" in capsys.readouterr().err
    code = main(["predict", str(trained / "run"), "a.vtu", "-o", "x", "--step", "2"])
    assert code
    assert "--step is of steady models" in capsys.readouterr().err


def test_parameters_of_time_are_known_beyond_the_files_end(tmp_path: Path) -> None:
    """A rollout from the first mesh alone is that from all steps: the table knows the rest."""
    for seed in range(3):
        write_case(tmp_path / f"c{seed}", seed)
    rows = ["file,time,inlet"]
    for seed in range(3):
        rows += [f"c{seed}/case.pvd,{t / 10},{seed + np.sin(t)}" for t in range(STEPS)]
        rows += [f"c{seed}/t000.vtu,{t / 10},{seed + np.sin(t)}" for t in range(STEPS)]
    table_file = tmp_path / "table.csv"
    table_file.write_text("\n".join(rows))
    table = CondTable.read(table_file, in_time=True)
    files = [str(tmp_path / f"c{seed}" / "case.pvd") for seed in range(3)]
    made = collect(files, tmp_path / "s.h5", targets=["T"], table=table, series=True, processes=0)
    config = TrainConfig(
        data=DataConfig(str(made[0].path), split=SplitConfig(2, 0, 1)),
        model=ModelConfig(channels=8, depth=1, heads=2, num_latents=2),
    )
    surrogate = assemble(config, made[0]).surrogate.eval()
    assert [f.name for f in surrogate.signature.stepping.cond_t] == ["inlet"]
    whole, first = files[1], str(tmp_path / "c1" / "t000.vtu")
    for file, name in ((whole, "whole"), (first, "first")):
        out = tmp_path / f"{name}.pvd"
        assert len(list(predict_series(surrogate, [file], out, table=table, steps=STEPS - 1))) == 1
    one, other = open_series(tmp_path / "whole.pvd"), open_series(tmp_path / "first.pvd")
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.point_data["T_predicted"], b.point_data["T_predicted"])
    with pytest.raises(MeshError, match=r"0\.9"):  # the table ends at 0.8
        list(predict_series(surrogate, [first], tmp_path / "x.pvd", table=table, steps=STEPS + 3))
