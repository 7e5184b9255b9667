"""A comparison trains every variant for its time, once, and says what came of it."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import DistanceToBoundary
from lrsa_geo.study import Variant, compare, error_by_distance, seconds_per_step, table, tune
from lrsa_geo.study.compare import _digest, steps_within
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    SplitConfig,
    TrainConfig,
    TrainerConfig,
    load_config,
    load_surrogate,
    predict,
    save_config,
)

VARIANTS = [
    Variant("small"),
    Variant("hybrid", {"model.local": "MeshConv", "optim.lr": 5e-3}),
]


@pytest.fixture(scope="module")
def config(cells_file: Path) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(path=str(cells_file), split=SplitConfig(16, 0, 6, shuffle=False)),
        model=ModelConfig(channels=16, depth=1, heads=2, num_latents=4),
        trainer=TrainerConfig(enable_progress_bar=False),
    )


@pytest.fixture(scope="module")
def compared(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("compare")
    return folder, compare(config, VARIANTS, [0, 1], folder, seconds=0.5)


def test_every_variant_and_seed_is_trained_for_its_steps(config, compared):
    folder, rows = compared
    assert [(row["variant"], row["seed"]) for row in rows] == [
        (variant.name, seed) for seed in (0, 1) for variant in VARIANTS
    ]
    each = json.loads((folder / "seconds_per_step.json").read_text())
    steps = {name: round(0.5 / measured["seconds"]) for name, measured in each.items()}
    assert all(row["steps"] == steps[row["variant"]] >= 1 for row in rows)
    hybrid = (folder / "hybrid-1" / "config.yaml").read_text()
    assert "local: MeshConv" in hybrid
    assert "lr: 0.005" in hybrid
    assert f"max_steps: {steps['hybrid']}" in hybrid
    assert "seed: 1" in hybrid
    assert config.model.local is None  # the configuration itself is left alone


def test_what_is_finished_is_not_trained_again(config, compared):
    folder, rows = compared
    before = {row["folder"]: (row["folder"] / "metrics.json").stat().st_mtime_ns for row in rows}
    started = time.process_time()
    again = compare(config, VARIANTS, [0, 1], folder, seconds=0.5)
    assert time.process_time() - started < 5
    assert [row["report"] for row in again] == [row["report"] for row in rows]
    after = {row["folder"]: (row["folder"] / "metrics.json").stat().st_mtime_ns for row in again}
    assert after == before


def test_another_setting_is_no_finished_run(config, compared):
    folder, _ = compared
    other = Variant("hybrid", {"model.local": "MeshConv", "optim.lr": 6e-3})
    with pytest.raises(
        FileExistsError, match=r"hybrid-0.config\.yaml is of a run with other settings"
    ):
        compare(config, [other], [0], folder, seconds=0.5)
    with pytest.raises(
        FileExistsError, match=r"small-0.config\.yaml is of a run with other settings"
    ):
        compare(config, VARIANTS, [0], folder, seconds=5)  # ten times the steps


def test_several_runs_at_a_time_give_the_same_models(config, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = compare(config, VARIANTS, [1], tmp_path / "one", jobs=1, seconds=0.5)
        shutil.copy(tmp_path / "one" / "seconds_per_step.json", tmp_path)
        two = compare(config, VARIANTS, [1], tmp_path, jobs=2, seconds=0.5)
    finally:
        torch.set_num_threads(threads)
    assert [row["report"]["test"] for row in two] == [row["report"]["test"] for row in one]


ENDLESS = """
import sys
from pathlib import Path
from lrsa_geo.study import Variant, compare
from lrsa_geo.train import load_config
if __name__ == "__main__":
    both = [Variant("one"), Variant("other")]
    compare(load_config(sys.argv[1]), both, [0], Path(sys.argv[2]), 2, steps=10**6)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells of the children")
def test_the_trainings_of_a_killed_comparison_end(config, tmp_path):
    save_config(config, tmp_path / "config.yaml")
    (tmp_path / "endless.py").write_text(ENDLESS)
    script = [sys.executable, tmp_path / "endless.py", tmp_path / "config.yaml", tmp_path]
    process = subprocess.Popen(script, stderr=subprocess.DEVNULL)
    while len(list(tmp_path.glob("*-0/config.yaml"))) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.kill()
    process.wait()
    waited_until = time.monotonic() + 60
    while any(alive(child) for child in children):
        assert time.monotonic() < waited_until
        time.sleep(0.1)


def alive(process: str) -> bool:
    """Whether it is there, and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_models_that_come_later_are_measured_by_those_that_are_there(config, tmp_path):
    """The machine was 1,000 times as fast then, and would be for both."""
    changed = {variant.name: variant.of(config) for variant in VARIANTS}
    timed = tmp_path / "seconds_per_step.json"
    now = dict(zip(changed, seconds_per_step(changed.values(), seconds=0), strict=True))
    small = {"seconds": now["small"] / 1000, "config": _digest(changed["small"])}
    timed.write_text(json.dumps({"small": small}))
    steps = steps_within(changed, now["small"], timed)
    each = json.loads(timed.read_text())
    assert each["small"] == small
    assert each["hybrid"]["seconds"] == pytest.approx(now["hybrid"] / 1000, rel=0.9)
    assert steps["small"] == 1000
    assert steps_within(changed, now["small"], timed) == steps


@pytest.mark.parametrize(
    ("variants", "seeds", "message"),
    [
        (VARIANTS, [0, 0], "`seeds` holds one twice"),
        (VARIANTS, [-1], "`seeds` is .-1., expected 0 to 4294967295"),
        ([*VARIANTS, VARIANTS[0]], [0], "`variants` holds one twice: .*small"),
        ([], [0], "`variants` is empty"),
    ],
)
def test_what_would_count_twice_is_refused(config, tmp_path, variants, seeds, message):
    with pytest.raises(ValueError, match=message):
        compare(config, variants, seeds, tmp_path, steps=1)
    assert not list(tmp_path.iterdir())


def test_a_budget_that_a_step_exceeds_is_refused(config, tmp_path):
    changed = {variant.name: variant.of(config) for variant in VARIANTS}
    timed = tmp_path / "seconds_per_step.json"
    times = {"small": 0.1, "hybrid": 0.3}
    measured = {n: {"seconds": t, "config": _digest(changed[n])} for n, t in times.items()}
    timed.write_text(json.dumps(measured))
    assert steps_within(changed, 0.3, timed) == {"small": 3, "hybrid": 1}
    with pytest.raises(ValueError, match=r"0\.2 processor seconds are less .*: hybrid 0\.3; give"):
        steps_within(changed, 0.2, timed)


def test_a_model_that_has_changed_is_measured_again(config, tmp_path):
    """Its name alone says nothing of the time of a step."""
    timed = tmp_path / "seconds_per_step.json"
    changed = {"small": VARIANTS[0].of(config)}
    stale = {"seconds": 1e-6, "config": _digest(changed["small"])}
    timed.write_text(json.dumps({"small": stale}))
    assert steps_within(changed, 1, timed) == {"small": 1_000_000}
    deeper = {"small": Variant("small", {"model.depth": 3}).of(config)}
    assert steps_within(deeper, 1, timed)["small"] < 10_000
    other_rate = {"small": Variant("small", {"model.depth": 3, "optim.lr": 1e-4}).of(config)}
    assert steps_within(other_rate, 1, timed) == steps_within(deeper, 1, timed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainer.precision": "bf16-mixed"}, "small: trainer.precision is bf16-mixed"),
        ({"series.unroll": [1, 2]}, r"small: series.unroll is \[1, 2\]"),
    ],
)
def test_seconds_of_steps_that_are_not_measured_are_refused(config, tmp_path, changes, message):
    with pytest.raises(ValueError, match=f"{message}.* give a budget of steps or epochs"):
        compare(config, [Variant("small", changes)], [0], tmp_path, seconds=1)


def test_a_step_has_all_of_its_batches(config):
    """With accumulated gradients a step makes several passes, and takes as many times as long."""
    both = [Variant("x", {"trainer.accumulate_grad_batches": n}).of(config) for n in (1, 6)]
    one, six = seconds_per_step(both, seconds=1)
    assert six > 2.5 * one


def test_a_value_of_a_variant_is_its_own(config):
    """A group of values was the same object in all copies: the last learning rate won."""
    variant = Variant("x", {"optim": OptimConfig(weight_decay=1e-3)})
    low, high = (
        Variant("x", {**variant.changes, "optim.lr": rate}).of(config) for rate in (0.1, 0.2)
    )
    assert (low.optim.lr, high.optim.lr) == (0.1, 0.2)
    option = Variant("x", {"model.mixer_options.sharpness": 3.0}).of(config)
    assert option.model.mixer_options == {**config.model.mixer_options, "sharpness": 3.0}


@pytest.mark.parametrize(
    "budget", [{"seconds": float("inf")}, {"seconds": 0}, {"epochs": 0}, {"steps": -1}, {}]
)
def test_what_is_no_budget_is_refused(config, tmp_path, budget):
    with pytest.raises(ValueError, match="expected one of them, more than 0"):
        compare(config, VARIANTS, [0], tmp_path, **budget)


def test_two_variants_in_one_folder_and_no_rate_are_refused(config, tmp_path):
    with pytest.raises(ValueError, match="`variants` holds one twice"):
        compare(config, [Variant("a b"), Variant("a-b")], [0], tmp_path, steps=1)
    with pytest.raises(ValueError, match="`learning_rates` is empty"):
        tune(config, VARIANTS, [], tmp_path, steps=1)


def test_a_folder_with_other_settings_is_refused_before_anything_is_trained(config, tmp_path):
    other = copy.deepcopy(config)
    other.optim.lr = 0.5
    (tmp_path / "hybrid-0").mkdir()
    save_config(other, tmp_path / "hybrid-0" / "config.yaml")
    with pytest.raises(FileExistsError, match="hybrid-0"):
        compare(config, VARIANTS, [0], tmp_path, steps=1)
    assert not (tmp_path / "small-0").exists()


def test_tuning_takes_the_rate_with_the_least_validation_error(config, tmp_path):
    watched = copy.deepcopy(config)
    watched.data.split = SplitConfig(12, 4, 6, shuffle=False)
    tuned = tune(watched, VARIANTS, [1e-5, 1e-2], tmp_path, seconds=1)
    assert [variant.name for variant in tuned] == ["small", "hybrid"]
    assert [variant.changes["optim.lr"] for variant in tuned] == [1e-2, 1e-2]
    assert tuned[1].changes["model.local"] == "MeshConv"
    store = MeshStore(config.data.path)
    report = json.loads((tmp_path / "small-0.01-0" / "metrics.json").read_text())
    assert report["test_graphs"] == list(range(len(store) - 10, len(store) - 6))


def test_tuning_goes_further_out_where_the_best_rate_is_at_the_edge(config, tmp_path):
    """From rates that are too small a training hardly moves: each larger one is better."""
    watched = copy.deepcopy(config)
    watched.data.split = SplitConfig(12, 4, 6, shuffle=False)
    (tuned,) = tune(watched, VARIANTS[:1], [1e-7, 1e-6], tmp_path, steps=8)
    tried = {float(folder.name.split("-", 1)[1][:-2]) for folder in tmp_path.glob("small-*-0")}
    assert tried == {1e-7, 1e-6, 1e-5, 1e-4, 1e-3}
    assert tuned.changes["optim.lr"] == 1e-3
    again = tune(watched, VARIANTS[:1], [1e-7, 1e-6], tmp_path, steps=8)
    assert again == [tuned]


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=20), st.integers(0, 19))
def test_a_rate_is_judged_by_all_graphs_and_fields_alike(errors, which):
    """Half the error on any one graph weighs the same, however large its error is."""
    module = import_module("lrsa_geo.study.compare")

    def judged(errors, others):
        fields = {"small": errors, "large": [1000 * error for error in others], "none": [None]}
        return module._usual_error({"test": {f: {"per_mesh": e} for f, e in fields.items()}})

    better = [e / 2 if n == which % len(errors) else e for n, e in enumerate(errors)]
    ratio = 2 ** (-1 / (2 * len(errors)))
    assert judged(better, errors) == pytest.approx(ratio * judged(errors, errors))
    assert judged(errors, better) == pytest.approx(ratio * judged(errors, errors))
    assert module._usual_error({"diverged": "why"}) == np.inf


def test_a_graph_without_any_error_does_not_decide_a_rate_alone():
    """It counts as one that float32 cannot tell from it."""
    usual_error = import_module("lrsa_geo.study.compare")._usual_error
    one_of_twenty = usual_error({"test": {"p": {"per_mesh": [0.0] + [0.5] * 19}}})
    assert one_of_twenty > usual_error({"test": {"p": {"per_mesh": [0.1] * 20}}})


def test_tuning_without_validation_graphs_is_refused(config, tmp_path):
    with pytest.raises(ValueError, match=r"data\.split\.val is 0"):
        tune(config, VARIANTS, [1e-2], tmp_path, seconds=1)


def test_the_table_has_means_and_deviations_over_the_seeds(compared):
    _, rows = compared
    lines = table(rows).split("\n")
    assert len(lines) == 4
    errors = [
        row["report"]["fields"]["von_mises"]["relative_l2"]["value"]
        for row in rows
        if row["variant"] == "hybrid"
    ]
    cell = f"{np.mean(errors):.4f} ± {np.std(errors, ddof=1):.4f}"
    assert cell in lines[3]
    one = table(rows[:2]).split("\n")
    assert "±" not in one[2]


def test_the_error_by_distance_adds_up_to_the_whole(compared):
    """The mean square over equal bins is that over all nodes."""
    _, rows = compared
    distance, error = error_by_distance(rows[1]["folder"], "von_mises", bins=4)
    assert (np.diff(distance) > 0).all()
    surrogate = load_surrogate(rows[1]["folder"])
    store = MeshStore(load_config(rows[1]["folder"] / "config.yaml").data.path)
    missed, size, far = [], [], []
    for number in rows[1]["report"]["test_graphs"]:
        data = store[number]
        missed.append((predict(surrogate, data) - data.y)[:, 0].square())
        size.append(data.y[:, 0].square())
        far.append(DistanceToBoundary()(data).boundary_distance)
    whole = (np.concatenate(missed).mean() / np.concatenate(size).mean()) ** 0.5
    assert np.sqrt((error**2).mean()) == pytest.approx(whole, rel=1e-2)
    assert distance.mean() == pytest.approx(np.concatenate(far).mean(), rel=1e-2)


def test_a_dearer_model_takes_longer(config):
    dear = Variant("dear", {"model.channels": 96, "model.depth": 6}).of(config)
    cheap_seconds, dear_seconds = seconds_per_step([config, dear], rounds=2, seconds=0)
    assert dear_seconds > 3 * cheap_seconds > 0


@pytest.mark.parametrize(
    ("took", "models", "rounds"),
    [(0.1, 1, 8), (0.1, 2, 8), (1.0, 2, 2), (0.001, 1, 60)],
    ids=["by the time", "of each model", "the least", "the most"],
)
def test_short_steps_are_measured_more_often(config, monkeypatch, took, models, rounds):
    """Other work disturbs these most. A round is three batches, and the first is free."""
    module, taken = import_module("lrsa_geo.study.compare"), []

    def step(*arguments):
        taken.append(arguments)
        return took

    monkeypatch.setattr(module, "_seconds_of_step", step)
    found = seconds_per_step([config] * models, rounds=2, seconds=2.0)
    batches = len(taken) // (rounds * models)
    assert len(taken) == rounds * models * batches
    assert batches == 3
    assert found == pytest.approx([took] * models)


def test_a_change_of_nothing_that_exists_is_named(config):
    with pytest.raises(AttributeError, match=r"odd: the configuration has no value 'model\.width'"):
        Variant("odd", {"model.width": 3}).of(config)
