"""Training and rolling out models of series: exact sums over steps, given values, known flows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from decay import decaying, store_of_decays
from torch_geometric.data import Batch

from lrsa_geo.data import MeshStore, SeriesConfig, StepView, stepping_of
from lrsa_geo.mesh import Field
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    NonFiniteLossError,
    ObjectiveConfig,
    OptimConfig,
    SeriesDataModule,
    SeriesModule,
    SplitConfig,
    Surrogate,
    TrainConfig,
    TrainerConfig,
    assemble,
    evaluate,
    load_surrogate,
    rollout_of_series,
    rollout_of_several,
    train,
)
from lrsa_geo.train.rollout_report import rollout_report, stable_steps
from lrsa_geo.train.series import some_examples

SMALL = ModelConfig(channels=16, depth=1, heads=2, num_latents=4)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MeshStore:
    return store_of_decays(tmp_path_factory.mktemp("series"))


def config_of(store: MeshStore, epochs: int = 1, **series: object) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(str(store.path), split=SplitConfig(18, 2, 4, shuffle=False)),
        model=SMALL,
        objective=ObjectiveConfig(loss="mse"),
        optim=OptimConfig(lr=1e-2),
        trainer=TrainerConfig(max_epochs=epochs, enable_progress_bar=False),
        series=SeriesConfig(**series),
    )


def module_and_batch(store: MeshStore, **series: object) -> tuple[SeriesModule, Batch]:
    torch.manual_seed(0)
    parts = assemble(config_of(store, **series), store)
    assert isinstance(parts.module, SeriesModule)
    return parts.module, next(iter(parts.loaders.train_dataloader()))


class Still(torch.nn.Module):
    """A network that says: no change."""

    def __init__(self, surrogate: Surrogate) -> None:
        super().__init__()
        self.shift = -surrogate.normalizer.y.shift / surrogate.normalizer.y.scale
        self.blocks = surrogate.operator.blocks

    def forward(self, x, pos, layout, cond=None):
        return self.shift.expand(len(pos), -1)


def test_without_a_change_the_loss_of_several_steps_is_that_of_persistence(store) -> None:
    module, batch = module_and_batch(store, unroll=3)
    module.surrogate.operator = Still(module.surrogate)
    last = module.stepping.last(batch.x)
    truths = [batch.y, *batch.later.split(1, dim=1)]
    expected = []
    for truth in truths:
        batch.y = truth
        expected.append(module.objective.loss(last, batch))
    batch.y = truths[0]
    torch.testing.assert_close(module.loss(batch), torch.stack(expected).mean())


def test_the_error_on_the_surface_is_that_of_its_nodes(tmp_path: Path) -> None:
    series = [decaying(seed) for seed in range(24)]
    for each in series:
        each.states += torch.rand(each.states.shape)  # other errors at other places
    store = MeshStore.write(tmp_path / "s.h5", series, {"states": (Field("u"),)})
    parts = assemble(config_of(store), store)
    parts.surrogate.operator = Still(parts.surrogate)
    report = rollout_report(
        parts.surrogate, parts.store, [3, 5], parts.module.objective, surface=[1], stability=False
    )
    expected = []
    for number in (3, 5):
        series = store[number]
        there, start = series.boundary == 1, report["rollout"]["first_step"]
        truth, kept = series.states[there, start:, 0], series.states[there, start - 1]
        expected.append((truth - kept).norm(dim=0) / truth.norm(dim=0))
    found = report["rollout"]["surface_relative_l2"]["u"]
    assert found == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)
    assert found != pytest.approx(report["test"]["u"]["mean"], rel=1e-3)
    # Without a marker by name, all but 0 count, which here are the same.
    everywhere = rollout_report(
        parts.surrogate, parts.store, [3, 5], parts.module.objective, stability=False
    )
    assert everywhere["rollout"]["surface_relative_l2"]["u"] == found


def test_a_surface_that_no_test_series_has_is_refused(store, tmp_path: Path) -> None:
    config = config_of(store)
    config.data.surface = [7]
    with pytest.raises(ValueError, match=r"data.surface is \[7\], and no test graph .* but 0, 1"):
        train(config, tmp_path / "run")


def test_a_pushed_step_is_not_differentiated(store) -> None:
    module, batch = module_and_batch(store, pushforward=2)
    data = batch
    with torch.no_grad():
        for step in (1, 2):
            states = module.surrogate(data)
            known, truth = module._later(batch, step)
            data = module.stepping.advance(data, states, known)
            data.y = truth
    alone = module.objective.loss(module.surrogate(data), data)
    loss = module.loss(batch)
    torch.testing.assert_close(loss, alone)
    parameters = list(module.surrogate.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    wanted = torch.autograd.grad(alone, parameters, allow_unused=True)
    for one, other in zip(found, wanted, strict=True):
        if other is not None:
            torch.testing.assert_close(one, other)


def test_steps_worked_out_again_have_the_same_gradient(store) -> None:
    gradients, calls = [], []
    for checkpoint in (True, False):
        module, batch = module_and_batch(store, unroll=3, checkpoint=checkpoint)
        module.surrogate.register_forward_pre_hook(lambda *_: calls.append(None))
        module.loss(batch).backward()
        gradients.append([p.grad for p in module.surrogate.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    assert len(calls) == 3 * 2 + 3  # each step is worked out again once, not for each of its layers


def test_noise_moves_what_is_read_and_not_the_target(store) -> None:
    module, batch = module_and_batch(store, noise=0.5, history=2, prescribed={"u": [1]})
    torch.manual_seed(1)
    noisy = module._with_noise(batch)
    deviation = (noisy.x - batch.x) / module.surrogate.normalizer.y.scale
    there = batch.given[:, 0].isnan()
    assert torch.equal(noisy.y, batch.y)
    assert deviation[~there].eq(0).all()  # given values are known exactly
    newest, older = deviation[there].square().mean(0).sqrt()
    assert 0.35 < float(newest) < 0.65
    assert float(older) < float(newest)
    with torch.no_grad():
        assert module._with_noise(batch) is batch  # validation is without


def test_given_values_stay_in_a_rollout(store) -> None:
    module, _ = module_and_batch(store, prescribed={"u": [1]})
    view = StepView(store, module.stepping)
    graph = store[20]
    held = graph.boundary == 1
    for step, states in enumerate(rollout_of_series(module.surrogate, view, 20, 2, 6), 2):
        assert torch.equal(states[held], graph.states[held, step])
        assert not torch.equal(states[~held], graph.states[~held, step])
    *_, last = rollout_of_series(module.surrogate, view, 20, 2, 12)  # beyond the series
    assert torch.equal(last[held], graph.states[held, -1])


def test_a_rollout_is_step_after_step(store) -> None:
    module, _ = module_and_batch(store, history=2)
    view = StepView(store, module.stepping)
    states = list(rollout_of_series(module.surrogate, view, 3, 2, 3))
    before = store[3].states[:, :2]
    for found in states:
        example = view[view.example(3, 2)]
        example.x = torch.cat([before[:, 1], before[:, 0]], 1)
        expected = module.surrogate(example)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
        before = torch.stack([before[:, 1], expected], 1)


def test_series_side_by_side_are_as_each_alone(store) -> None:
    module, _ = module_and_batch(store, history=2, prescribed={"u": [1]})
    view = StepView(store, module.stepping)
    together = list(rollout_of_several(module.surrogate, view, [3, 20, 7], 2, 9))
    sizes = [len(store[number].pos) for number in (3, 20, 7)]
    for place, number in enumerate((3, 20, 7)):
        alone = rollout_of_series(module.surrogate, view, number, 2, 9)
        for states, both in zip(alone, together, strict=True):
            torch.testing.assert_close(both.split(sizes)[place], states, atol=1e-5, rtol=1e-4)


def test_a_model_that_runs_away_is_found_out(store) -> None:
    module, _ = module_and_batch(store)
    view, objective = StepView(store, module.stepping), module.objective
    steps = 5 * module.stepping.horizon
    module.surrogate.operator = Still(module.surrogate)
    assert stable_steps(module.surrogate, view, [1, 2, 20], objective, 2) == [steps] * 3
    module.surrogate.operator.shift = module.surrogate.operator.shift + 1e4
    found = stable_steps(module.surrogate, view, [1, 2, 20], objective, 2)
    assert all(count < 5 for count in found)


def test_a_rollout_that_stops_being_numbers_has_no_small_error(store) -> None:
    """Its mean over the steps before that would be 1 % and less."""

    class Breaks(Still):
        calls = 0

        def forward(self, *arguments: object, **more: object) -> torch.Tensor:
            self.calls += 1
            return super().forward(*arguments, **more) * (torch.nan if self.calls == 3 else 1)

    module, _ = module_and_batch(store)
    view = StepView(store, module.stepping)
    module.surrogate.operator = Breaks(module.surrogate)
    report = rollout_report(module.surrogate, view, [1, 2], module.objective, stability=False)
    assert report["not_finite"] == 1
    assert report["test"]["u"]["mean"] == report["test"]["u"]["worst"] == np.inf
    assert sorted(np.isfinite(report["test"]["u"]["per_mesh"])) == [False, True]
    errors = report["rollout"]["error_at"]["u"]["model"]
    assert np.isfinite(errors[:2]).all()
    assert np.isinf(errors[2:4]).all()


def test_the_curriculum_takes_one_number_of_steps_after_the_other(store) -> None:
    module, _ = module_and_batch(store, unroll=[1, 2, 4])
    seen = []

    class Trainer:
        estimated_stepping_batches = 9
        global_step = 0

    module._trainer = Trainer()
    for step in range(9):
        Trainer.global_step = step
        seen.append(module.unroll)
    assert seen == [1, 1, 1, 2, 2, 2, 4, 4, 4]


@pytest.mark.parametrize("residual", [True, False])
def test_a_trained_model_follows_the_decay(store, tmp_path: Path, residual: bool) -> None:
    config = config_of(store, epochs=12, residual=residual, unroll=[1, 2])
    report = train(config, tmp_path / "run")
    error, without = report["test"]["u"]["mean"], report["rollout"]["baselines"]["u"]
    assert error < 0.5 * without["persistence"]
    assert len(report["test"]["u"]["per_mesh"]) == 4
    assert len(report["rollout"]["error_at"]["u"]["model"]) == 6
    assert {p.name for p in (tmp_path / "run" / "pictures").iterdir()} >= {
        "error_over_time.png",
        "u.png",
        "u.gif",
    }
    again = evaluate(tmp_path / "run")
    assert again["test"] == report["test"]
    loaded = load_surrogate(tmp_path / "run")
    assert loaded.signature.stepping.time_step == 0.5
    decay = math.exp(-0.15)
    view = StepView(store, loaded.signature.stepping)
    first = next(rollout_of_series(loaded, view, 22, 2, 1))
    wanted = store[22].states[:, 1] * decay
    assert float((first - wanted).norm() / wanted.norm()) < 0.1


def test_a_model_of_times_needs_no_steps(store, tmp_path: Path) -> None:
    report = train(config_of(store, epochs=12, mode="time"), tmp_path / "run")
    assert report["test"]["u"]["mean"] < report["rollout"]["baselines"]["u"]["persistence"] / 2
    assert report["rollout"]["stable"] is None


def test_a_killed_run_of_series_goes_on(store, tmp_path: Path) -> None:
    whole = train(config_of(store, epochs=3, noise=0.1), tmp_path / "whole")
    train(config_of(store, epochs=2, noise=0.1), tmp_path / "part")
    resumed = config_of(store, epochs=3, noise=0.1)
    report = train(resumed, tmp_path / "part", resume=True)
    assert report["test"]["u"]["mean"] < 2 * whole["test"]["u"]["mean"]


def test_series_are_split_as_wholes(store) -> None:
    parts = assemble(config_of(store), store)
    assert isinstance(parts.loaders, SeriesDataModule)
    seen = {
        part: {parts.loaders.view.place(g)[0] for g in parts.loaders.dataset(part).graphs}
        for part in ("train", "val", "test")
    }
    assert seen == {"train": set(range(18)), "val": {18, 19}, "test": {20, 21, 22, 23}}


def test_examples_that_stand_for_all_are_of_all_steps(store) -> None:
    view = StepView(store, stepping_of(store, SeriesConfig(), range(24)))
    some = some_examples(view, range(24), 24)  # one in seven, and a series has seven
    assert len(some) == len(set(some)) == 24
    assert len({view.place(example)[1] for example in some}) > 3
    assert some_examples(view, range(24), 24) == some == sorted(some)


def test_features_cannot_be_left_out(store) -> None:
    config = config_of(store)
    config.model = ModelConfig(channels=16, depth=1, heads=2, num_latents=4, use_features=False)
    with pytest.raises(ValueError, match="the states that a step reads are features"):
        assemble(config, store)


def test_statistics_are_those_of_the_changes(store) -> None:
    module, _ = module_and_batch(store)
    changes = torch.cat([store[g].states.diff(dim=1).flatten() for g in range(18)])
    torch.testing.assert_close(module.surrogate.normalizer.y.shift[0], changes.mean())
    scale = module.surrogate.normalizer.y.scale[0]
    torch.testing.assert_close(scale, changes.std(correction=0), rtol=1e-4, atol=0)
    view = StepView(store, stepping_of(store, SeriesConfig(), range(18)))
    states = torch.cat([store[g].states[:, 1:].flatten() for g in range(18)])
    assert len(view) == 24 * 7
    torch.testing.assert_close(module.surrogate.normalizer.y_rms[0], states.square().mean().sqrt())


def test_a_state_that_is_none_is_found_by_its_series(tmp_path: Path) -> None:
    graphs = [decaying(seed) for seed in range(24)]
    graphs[5].states[3, 4] = torch.nan
    store = MeshStore.write(tmp_path / "nan.h5", graphs, {"states": (Field("u"),)})
    with pytest.raises(NonFiniteLossError, match=r"graphs \[.*\b5\b.*\] of the store"):
        train(config_of(store), tmp_path / "run")


def test_drawn_nodes_and_mirror_images_keep_all_steps_together(store) -> None:
    config = config_of(store, unroll=3, prescribed={"u": [1]})
    config.data.nodes_per_graph = 10
    config.data.augment = [{"name": "Mirror", "planes": {"x": 0.5}}]
    parts = assemble(config, store)
    dataset = parts.loaders.dataset("train")
    half = len(dataset) // 2
    for number in (3, half + 3):
        example = dataset[number]
        graph = store[example.graph]
        pos = example.pos.clone()
        if number >= half:
            pos[:, 0] = 1 - pos[:, 0]
        rows = torch.cdist(pos, graph.pos).argmin(1)
        _, step = dataset.store.place(dataset.graphs[number % half])
        assert len(pos) == 10
        torch.testing.assert_close(example.y, graph.states[rows, step])
        torch.testing.assert_close(example.later, graph.states[rows, step + 1 : step + 3, 0])
        held = graph.boundary[rows] == 1
        assert torch.equal(example.given.isnan()[:, 0], ~held)
    batch = next(iter(parts.loaders.train_dataloader()))
    assert torch.isfinite(parts.module.loss(batch))
