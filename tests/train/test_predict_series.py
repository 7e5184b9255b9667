"""Rollouts as files: states that were read, predictions, truth and errors, step by step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lrsa_geo.data import MeshStore, SeriesConfig, StepView
from lrsa_geo.mesh import Field, MeshData, open_series
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    SplitConfig,
    Surrogate,
    TrainConfig,
    assemble,
    predict_series_graph,
    rollout_of_series,
)

FIELDS = {"states": (Field("U", "m/s", ("x", "y")), Field("p", "Pa"))}


def flow(seed: int, steps: int = 6, *, moves: bool = False, uneven: bool = False) -> MeshData:
    draw = torch.Generator().manual_seed(seed)
    times = torch.arange(steps, dtype=torch.float64) / 4
    data = MeshData(
        pos=torch.rand(9, 2, generator=draw),
        states=torch.randn(9, steps, 3, generator=draw),
        times=times**1.5 if uneven else times,
        measure=torch.full((9,), 1 / 9),
    )
    if moves:
        data.pos_t = data.pos[:, None] + torch.rand(9, steps, 2, generator=draw) / 9
        data.pos = data.pos_t[:, 0].clone()
    return data


def model_of(folder: Path, history: int = 2, **kind: bool) -> tuple[Surrogate, MeshStore]:
    store = MeshStore.write(folder / "flow.h5", [flow(i, **kind) for i in range(4)], FIELDS)
    config = TrainConfig(
        data=DataConfig(str(store.path), split=SplitConfig(3, 0, 1)),
        model=ModelConfig(channels=8, depth=1, heads=2, num_latents=2),
        series=SeriesConfig(history=history),
    )
    return assemble(config, store).surrogate.eval(), store


def test_a_rollout_is_written_with_truth_and_error(tmp_path: Path) -> None:
    surrogate, store = model_of(tmp_path)
    result = predict_series_graph(surrogate, store, 1, tmp_path / "out.pvd")
    written, truth = open_series(tmp_path / "out.pvd"), store[1].states
    torch.testing.assert_close(written.times, store[1].times)
    assert result.steps == len(written) == 6
    view = StepView(store, surrogate.signature.stepping)
    states = [truth[:, 0], truth[:, 1], *rollout_of_series(surrogate, view, 1, 2, 4)]
    errors = []
    for step, mesh in enumerate(written):
        fields = mesh.point_data
        torch.testing.assert_close(fields["U_predicted"][:, :2], states[step][:, :2])
        torch.testing.assert_close(fields["p"], truth[:, step, 2])
        torch.testing.assert_close(fields["p_error"], states[step][:, 2] - truth[:, step, 2])
        if step > 1:
            errors.append((states[step] - truth[:, step])[:, 2].norm() / truth[:, step, 2].norm())
    assert result.errors["p"] == pytest.approx(float(torch.stack(errors).mean()), rel=1e-5)


def test_a_rollout_goes_on_beyond_the_truth(tmp_path: Path) -> None:
    surrogate, store = model_of(tmp_path)
    result = predict_series_graph(surrogate, store, 1, tmp_path / "out", steps=9)
    written = open_series(tmp_path / "out" / "flow-1.pvd")
    assert result.steps == len(written) == 11
    torch.testing.assert_close(written.times, torch.arange(11, dtype=torch.float64) / 4)
    assert written.mesh(5).point_data["p"].isfinite().all()
    assert written.mesh(6).point_data["p"].isnan().all()
    assert written.mesh(10).point_data["p_predicted"].isfinite().all()


def test_a_mesh_that_moves_is_written_where_it_is(tmp_path: Path) -> None:
    surrogate, store = model_of(tmp_path, moves=True)
    predict_series_graph(surrogate, store, 2, tmp_path / "out.pvd")
    for step, mesh in enumerate(open_series(tmp_path / "out.pvd")):
        torch.testing.assert_close(mesh.pos, store[2].pos_t[:, step])
    with pytest.raises(ValueError, match="6 steps of a mesh that moves, asked for are 12"):
        predict_series_graph(surrogate, store, 2, tmp_path / "more.pvd", steps=10)


def test_steps_unlike_those_of_the_training_are_said(tmp_path: Path) -> None:
    surrogate, store = model_of(tmp_path)
    slow = flow(9)
    slow.times = slow.times * 3
    other = MeshStore.write(tmp_path / "slow.h5", [slow], store.fields)
    result = predict_series_graph(surrogate, other, 0, tmp_path / "out.pvd")
    assert any("its steps are 0.75 to 0.75 long" in clause for clause in result.outside)


def test_uneven_steps_go_on_as_the_last(tmp_path: Path) -> None:
    surrogate, store = model_of(tmp_path, uneven=True)
    assert surrogate.signature.stepping.time_step is None
    predict_series_graph(surrogate, store, 0, tmp_path / "out.pvd", steps=6)
    times = open_series(tmp_path / "out.pvd").times
    torch.testing.assert_close(times[:6], store[0].times)
    torch.testing.assert_close(times[6:].diff(), times[5:7].diff())


def test_an_earlier_rollout_is_replaced_and_another_file_is_not(tmp_path: Path) -> None:
    surrogate, store = model_of(tmp_path)
    out = tmp_path / "out.pvd"
    predict_series_graph(surrogate, store, 0, out, steps=9)
    predict_series_graph(surrogate, store, 0, out)
    assert len(open_series(out)) == 6
    (tmp_path / "mine.pvd").write_text("<VTKFile/>")
    with pytest.raises(ValueError, match="no earlier result"):
        predict_series_graph(surrogate, store, 0, tmp_path / "mine.pvd")
    with pytest.raises(ValueError, match=r"cannot write '\.vtu'"):
        predict_series_graph(surrogate, store, 0, tmp_path / "one.vtu")
    with pytest.raises(ValueError, match="the series 0 to 3, asked for 4"):
        predict_series_graph(surrogate, store, 4, out)
