"""Studies from a YAML file: what is wrong in one, what one writes, interrupted and continued."""

from __future__ import annotations

import csv
import json
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from lrsa_geo.cli import main
from lrsa_geo.files import shipped_datasets
from lrsa_geo.nn import GeometryOperator, LatentBlock, OperatorConfig
from lrsa_geo.simulate import make_store
from lrsa_geo.simulate.darcy import DarcyRecipe
from lrsa_geo.study import Study, ablation, plot_sensitivity
from lrsa_geo.study.ablation import BASES, OF_LATENT_BLOCKS, VARIANTS, choices
from lrsa_geo.study.run import cells, latex, markdown

STUDY = """
name: tiny
data:
  DATA:
    data.split: {train: 12, val: 4, test: 6, shuffle: false}
    data.nodes_per_graph: 60
    model.channels: 8
    model.depth: 1
    model.heads: 2
    model.num_latents: 3
models:
  LRSA: {model.mixer: lrsa}
  FLARE: {model.mixer: flare}
seeds: [0, 1]
steps: 3
"""


@pytest.fixture
def study(cells_file: Path, tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("DATA", str(cells_file)))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds: [0, 1]", "seed: [0]"), "unknown seed, expected"),
        (("steps: 3", "steps: 3\nseconds: 2"), "expected one budget"),
        (("steps: 3", ""), "expected one budget"),
        (("steps: 3", "steps: 3\nepochs: 1"), "expected one budget"),
        (("steps: 3", "steps: 0"), "`steps` is 0"),
        (("steps: 3", "epochs: -1"), "`epochs` is -1"),
        (
            ("steps: 3", "steps: 3\ncurve: [2, 3]"),
            "budgets other than 3, each once",
        ),
        (("steps: 3", "steps: 3\ncurve: [2.6]"), "`curve` is .2.6., .* expected a whole number"),
        (("steps: 3", "steps: 3\ncurve: 5"), "`curve` is 5, expected a list"),
        (("steps: 3", "steps: three"), "`steps` is 'three', expected a whole number"),
        (("steps: 3", "steps: true"), "`steps` is True, expected a whole number"),
        (("steps: 3", "steps: [3]"), "`steps` is .3., expected a whole number"),
        (("steps: 3", "seconds: .inf"), "`seconds` is inf, expected a number"),
        (("steps: 3", "steps: 3\nlearning_rates: [.nan]"), "`learning_rates` is .nan., .*a number"),
        (("steps: 3", "steps: 3\nlearning_rates: [-1]"), "`learning_rates` is .*more than 0"),
        (("steps: 3", "steps: 3\ntuning: 2"), "`tuning` is 2.0, expected a share"),
        (("steps: 3", "steps: 3\nquick: maybe"), "`quick` is 'maybe', expected true or false"),
        (("seeds: [0, 1]", "seeds: [1.5]"), "`seeds` is .1.5., .*whole number"),
        (("seeds: [0, 1]", "seeds: [-1]"), "`seeds` is .-1., expected 0 to 4294967295"),
        (("model.mixer: flare}", "seed: 3}"), "seed: the study says that itself"),
        (
            ("model.mixer: flare}", "optim.lr: 1}\nlearning_rates: [1]"),
            "models FLARE have an optim.lr",
        ),
        (("  FLARE:", "  a b: {}\n  a-b:"), "two models would use one folder"),
        (("name: tiny", "name: 3"), "'3' is no name for a folder"),
        (("steps: 3", "steps: 3\ncurve: [0]"), "`curve` is .0., expected more than 0"),
        (("seeds: [0, 1]", "seeds: [1, 1]"), "`seeds` holds one twice"),
        (("seeds: [0, 1]", "seeds: []"), "`seeds` is empty"),
        (
            ("model.mixer: flare", "model.mixer: flair"),
            "model 'FLARE': .* 'flair', expected one of",
        ),
        (
            ("model.mixer: flare}", "model.mixer_options: {depth: 2}}"),
            "names depth, which LRSA does",
        ),
        (("model.mixer: flare}", "data.batch_size: 0}"), "model 'FLARE': data.batch_size is 0"),
        (("model.depth: 1", "model.deep: 1"), "data .*deep"),
        (("data.nodes_per_graph: 60", "data.nodes_per_graph: many"), "nodes_per_graph"),
        (("models:", "modles:"), "unknown modles"),
        (("LRSA:", "../LRSA:"), "'../LRSA' is no name for a folder"),
        (("name: tiny", "name: [tiny"), "no valid YAML"),
        (("steps: 3", "steps: 3\nsteps: 4"), "'steps' is there twice"),
        (("  FLARE:", "  LRSA: {model.depth: 2}\n  FLARE:"), "line .*'LRSA' is there twice"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(study, change, message, capsys):
    study.write_text(study.read_text().replace(*change))
    with pytest.raises(ValueError, match=message) as caught:
        Study.load(study)
    assert "study.yaml" in str(caught.value)
    assert main(["compare", str(study)]) == 1
    assert not Path("runs").exists()
    assert " ".join(str(caught.value).split()) in capsys.readouterr().err  # in one line


def test_an_unknown_data_set_is_named(study):
    study.write_text(STUDY.replace("DATA", "elasticty"))
    with pytest.raises(ValueError, match="did you mean 'elasticity'"):
        Study.load(study)


def test_the_smoke_study_is_interrupted_and_goes_on(study, capsys, monkeypatch):
    """Two data sets, three mixers, three seeds."""
    make_store(DarcyRecipe(samples=22, resolution=21, every=2), "darcy.h5", processes=0)
    of_darcy = STUDY[STUDY.index("  DATA:") : STUDY.index("models:")].replace("DATA", "darcy.h5")
    text = study.read_text().replace("models:", f"{of_darcy}models:")
    text = text.replace("seeds: [0, 1]", "seeds: [0, 1, 2]")
    study.write_text(text.replace("models:", "models:\n  Transolver: {model.mixer: transolver}"))
    module = import_module("lrsa_geo.study.compare")

    whole = module.train
    started = []

    def interrupted(config, folder, **more):
        if len(started) == 11:
            raise KeyboardInterrupt
        started.append(folder)
        return whole(config, folder, **more)

    monkeypatch.setattr(module, "train", interrupted)
    assert main(["compare", str(study)]) == 130
    assert not Path("runs/studies/tiny/table.md").exists()
    monkeypatch.setattr(module, "train", whole)
    assert main(["compare", str(study)]) == 0
    out = capsys.readouterr().out
    table = Path("runs/studies/tiny/table.md").read_text()
    assert table in out
    with open("runs/studies/tiny/results.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 * (2 + 1)  # models, seeds, fields
    for row in rows:
        metrics = json.loads((Path(row["folder"]) / "metrics.json").read_text())
        assert float(row["mean"]) == metrics["test"][row["field"]]["mean"]
        assert row["steps"] == "3"
    of_lrsa = [
        float(row["mean"]) for row in rows if (row["model"], row["field"]) == ("LRSA", "solution")
    ]
    assert len(of_lrsa) == 3
    assert f"{np.mean(of_lrsa):.4f} ± {np.std(of_lrsa, ddof=1):.4f}" in table


def test_errors_against_the_budget(study, capsys):
    """Every budget is a training of its own, in the table, the CSV and the picture."""
    study.write_text(study.read_text().replace("steps: 3", "steps: 3\ncurve: [1, 2]"))
    assert main(["compare", str(study)]) == 0
    folder = Path("runs/studies/tiny")
    with open(folder / "results.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["budget"] for row in rows] == [row["steps"] for row in rows]
    of_lrsa = {
        budget: [
            float(row["mean"])
            for row in rows
            if (row["model"], row["field"], row["budget"]) == ("LRSA", "von_mises", budget)
        ]
        for budget in "123"
    }
    mean, spread = (
        {b: f(errors) for b, errors in of_lrsa.items()}
        for f in (np.mean, lambda errors: np.std(errors, ddof=1))
    )
    line = " | ".join(f"{mean[b]:.4f} ± {spread[b]:.4f}" for b in "123")
    table = capsys.readouterr().out.replace("**", "")
    assert "von_mises, after so many steps:\n\n| model | 1 | 2 | 3 |" in table
    assert f"| LRSA | {line} |" in table
    assert (folder / "errors.png").stat().st_size > 10_000


def test_a_budget_of_epochs_is_as_many_steps(study, capsys):
    study.write_text(study.read_text().replace("steps: 3", "epochs: 2"))
    assert main(["compare", str(study)]) == 0
    assert "2 epochs for each training" in capsys.readouterr().out
    with open("runs/studies/tiny/results.csv") as file:
        assert {row["steps"] for row in csv.DictReader(file)} == {"6"}  # 12 graphs, 4 a batch


def test_published_sizes_take_the_place_of_those_of_the_study(study):
    published = Study.load(study).published()
    assert published.name == "tiny-published"
    assert published.epochs == published.budget == 500
    for model, mixer in (("LRSA", "lrsa"), ("FLARE", "flare")):
        config = published.config(*published.data, model)
        sizes = config.model
        assert (sizes.mixer, sizes.channels, sizes.depth, sizes.heads) == (mixer, 128, 8, 8)
        assert config.data.nodes_per_graph is None
        assert config.optim.method == "adamw"
        assert config.data.split.train != 12  # that of the store, not the study's


@pytest.mark.parametrize(
    "file", sorted((shipped_datasets() / "studies").glob("*.yaml")), ids=lambda file: file.stem
)
def test_the_studies_that_come_with_the_library_can_begin(file):
    assert Study.load(file).published().epochs == 500


def test_published_sizes_leave_what_makes_models_different():
    """Whole meshes and drawn nodes, message passing or none: as of the study, not of the set."""
    file = shipped_datasets() / "studies" / "drawn.yaml"
    published = Study.load(file).published()
    found = [published.config("bracket3d", model) for model in published.models]
    assert [config.model.local for config in found] == [None, None, "MeshConv", "MeshConv"]
    assert [config.data.nodes_per_graph for config in found] == [None, 512, None, 512]
    assert all(config.data.augment == [] for config in found)


def test_values_have_the_types_of_the_configuration(study):
    """YAML reads 1e-3 as a text, and a table where the configuration has a class."""
    text = study.read_text().replace("steps: 3", "seconds: 2e-1\ncurve: [1e-1]")
    split = "data.split: {train: 10, val: 4, test: 6, shuffle: false}"
    study.write_text(text.replace("model.mixer: lrsa", f"optim.lr: 1e-3, {split}"))
    found = Study.load(study)
    assert (found.seconds, found.curve) == (0.2, (0.1,))
    (data,) = found.data
    changes = found.variants(data)[0].changes
    assert changes["optim.lr"] == 1e-3
    assert changes["data.split"].train == 10


def test_a_model_that_diverges_is_trained_again_only_with_other_settings(study, capsys):
    """In the last step, after which no loss is looked at, and before it."""
    for steps in (1, 3):
        text = STUDY.replace("DATA", str(next(iter(Study.load(study).data))))
        text = text.replace("name: tiny", f"name: tiny{steps}").replace("[0, 1]", "[0]")
        text = text.replace("steps: 3", f"steps: {steps}")
        rates = "model.mixer: flare, optim.lr: 1.0e+30"
        study.write_text(text.replace("model.mixer: flare", rates))
        for _ in range(2):
            assert main(["compare", str(study)]) == 0
            table = Path(f"runs/studies/tiny{steps}/table.md").read_text()
            assert "| diverged |" in next(x for x in table.splitlines() if "| FLARE" in x)
        study.write_text(text)
        assert main(["compare", str(study)]) == 1
        assert "is of a run with other settings" in capsys.readouterr().err


def test_where_all_diverge_the_table_says_so(study, capsys):
    study.write_text(study.read_text().replace("[0, 1]", "[0]\nlearning_rates: [1.0e+30]"))
    assert main(["compare", str(study)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for model in ("LRSA", "FLARE"):
        assert any(line.startswith(f"| {model} ") and "diverged" in line for line in lines)


def test_a_training_that_diverges_is_kept_and_marked(study, capsys):
    text = study.read_text().replace("model.mixer: flare", "model.mixer: flare, optim.lr: 1.0e+30")
    study.write_text(text)
    assert main(["compare", str(study)]) == 0
    table = Path("runs/studies/tiny/table.md").read_text()
    line = next(line for line in table.splitlines() if line.startswith("| FLARE"))
    assert line.count("diverged") == 2  # both fields
    assert len(list(Path("runs/studies/tiny").rglob("FLARE-*.diverged.json"))) == 2
    assert "nan" not in table
    assert "diverged" in Path("runs/studies/tiny/table.tex").read_text()


def rows_of(errors: dict[str, np.ndarray]) -> list[dict]:
    return [
        {
            "variant": model,
            "seed": seed,
            "steps": 5,
            "learning_rate": 0.01,
            "report": {
                "parameters": 1000,
                "test": {"p_x": {"mean": float(e.mean()), "per_mesh": e.tolist()}},
                "baselines": {"fields": {"p_x": {"training_mean": 1.5, "nearest_case": None}}},
            },
        }
        for model, of_seeds in errors.items()
        for seed, e in enumerate(of_seeds)
    ]


def made_study(*models: str) -> Study:
    return Study("made", {"d": {}}, {model: {} for model in models}, steps=5)


NESTED = """
models:
  LRSA: {model.mixer: lrsa}
  FLARE: {model: {mixer: flare}, optim: {weight_decay: 1.0e-4}, data: {split: {train: 3}}}
"""


def test_values_of_a_group_are_those_by_dotted_names(study, tmp_path):
    text = study.read_text()
    models = text[text.index("models:") : text.index("seeds:")]
    study.write_text(text.replace(models, NESTED))
    assert Study.load(study).models["FLARE"] == {
        "model.mixer": "flare",
        "optim.weight_decay": 1e-4,
        "data.split": {"train": 3},
    }
    for change, message in (
        ("trainer: {max_epochs: 3}", "trainer.max_epochs: the study says that itself"),
        ("optim: {weight_decay: 1}, optim.weight_decay: 2", "optim.weight_decay is there twice"),
        ("objective.loss: l7", "l7"),
        ("model.ffn_ratio: 0.001", "ffn_ratio"),
    ):
        study.write_text(text.replace("model.mixer: flare", f"model.mixer: flare, {change}"))
        with pytest.raises(ValueError, match=message):
            Study.load(study)


def test_the_published_size_takes_all_graphs(study):
    text = study.read_text().replace("data.split: {train: 12, val: 4, test: 6, shuffle: false}", "")
    study.write_text(text.replace("model.depth: 1", "data.split.train: 12\n    model.depth: 1"))
    (data,) = Study.load(study).data
    assert Study.load(study).config(data).data.split.train == 12
    assert Study.load(study).published().config(data).data.split.train is None


def test_bold_is_what_wins_in_every_seed_and_by_the_tests():
    rng = np.random.default_rng(0)
    base = rng.random((3, 30)) + 1
    clear = {"A": base, "B": base + 0.1 + 0.01 * rng.random((3, 30)), "C": base + 0.3}
    found = cells(rows_of(clear), list(clear), "p_x")
    assert [cell.best for cell in found.values()] == [True, False, False]
    assert found["A"].p_value is None
    assert max(found["B"].p_value, found["C"].p_value) < 1e-4
    assert found["B"].ratio < 1

    lost_once = {"A": base, "B": base + np.array([[0.3], [0.3], [-0.2]])}
    assert not any(cell.best for cell in cells(rows_of(lost_once), list(lost_once), "p_x").values())
    noise = {"A": base, "B": base + 0.5 * rng.normal(size=(3, 30))}
    assert not any(cell.best for cell in cells(rows_of(noise), list(noise), "p_x").values())


def test_models_that_diverged_in_other_seeds_are_compared_in_those_of_both():
    """A lost seed 0 and B seed 1: pairing by place would hold seed 1 of A against 0 of B."""
    base = np.random.default_rng(0).random((1, 30)) + 1
    of_seed = base + np.array([[0.0], [5.0], [10.0]])
    rows = rows_of({"A": of_seed, "B": of_seed + 0.1})
    for row in rows:
        if (row["variant"], row["seed"]) in (("A", 0), ("B", 1)):
            row["report"] = {"diverged": "NaN"}
    found = cells(rows, ["A", "B"], "p_x")
    assert found["B"].ratio == pytest.approx(of_seed[2].mean() / (of_seed[2] + 0.1).mean())
    assert [cell.diverged for cell in found.values()] == [1, 1]
    assert not any(cell.best for cell in found.values())
    study = made_study("A", "B")
    assert latex(study, {"d": rows}).count("(1 diverged)") == 2
    assert markdown(study, {"d": rows}).count("(1 diverged)") == 2


def test_errors_on_other_test_graphs_are_not_tested():
    base = np.random.default_rng(0).random((2, 30)) + 1
    rows = rows_of({"A": base, "B": base + 0.5})
    for row in rows:
        first = 0 if row["variant"] == "A" else 100
        row["report"]["test_graphs"] = list(range(first, first + 30))
    found = cells(rows, ["A", "B"], "p_x")
    assert found["B"].p_value is None
    assert not any(cell.best for cell in found.values())


def test_a_field_that_no_test_graph_has_is_unknown():
    rows = rows_of({"A": np.full((2, 5), np.nan), "B": np.full((2, 5), np.nan)})
    study = made_study("A", "B")
    assert markdown(study, {"d": rows}).count("unknown") == 2
    assert latex(study, {"d": rows}).count("unknown") == 2
    assert "nan" not in markdown(study, {"d": rows}) + latex(study, {"d": rows})


def test_the_tables_show_the_same_figures():
    rng = np.random.default_rng(1)
    base = rng.random((3, 30)) + 1
    rows = rows_of({"LR_SA": base, "B": base + 0.3})
    study = made_study("LR_SA", "B")
    text, tex = markdown(study, {"d": rows}), latex(study, {"d": rows})
    mean, spread = base.mean(), base.mean(1).std(ddof=1)
    assert f"**{mean:.4f} ± {spread:.4f}**" in text
    assert "| *the training mean* |  |  |  | 1.5000 |  |" in text
    assert "nearest training case" not in text  # nobody knows its error
    for row in rows:
        del row["report"]["baselines"]
        row["report"]["rollout"] = {"baselines": {"p_x": {"persistence": 2.25}}}
    of_series = markdown(study, {"d": rows})
    assert "| *the last state stays* |  |  |  | 2.2500 |  |" in of_series
    assert "training mean" not in of_series
    assert "linear" not in of_series
    assert rf"\mathbf{{{mean:.4f} \pm {spread:.4f}}}" in tex
    assert r"LR\_SA" in tex
    assert r"d: p\_x" in tex


@pytest.mark.parametrize("mixer", BASES)
def test_an_ablation_changes_one_thing_at_a_time(cells_file, mixer):
    changes = {"model.channels": 24, "model.heads": 4, "model.num_latents": 32, "model.depth": 4}
    study = ablation(str(cells_file), 5, (0,), changes=changes | {"model.mixer": mixer})
    whole = vars(study.config(str(cells_file), BASES[mixer]).model)
    assert whole["mixer"] == mixer
    for name in list(study.models)[1:]:
        model = vars(study.config(str(cells_file), name).model)
        changed = {key for key in whole if whole[key] != model[key]}
        other = VARIANTS[mixer].get(name)
        if other is None or not other[1]:
            assert len(changed) == 1, name
        else:
            assert changed == {"mixer", "mixer_options"}, name
            assert (model["mixer"], model["mixer_options"]) == other
        GeometryOperator(2, 1, 2, config=OperatorConfig(**model_sizes(model)))
    assert {"8 latents", "256 latents", "8 heads", "0 latent blocks"} <= set(study.models)
    others = {study.config(str(cells_file), name).model.mixer for name in study.models}
    assert others == {mixer, *(other for other, _ in VARIANTS[mixer].values())}
    assert "32 latents" not in study.models  # that is LRSA itself
    with pytest.raises(ValueError, match="its mixer is 'flare'"):
        ablation(str(cells_file), 5, changes={"model.mixer": "flare"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim.lr": -1.0}, "model 'LRSA': optim.lr is -1.0"),
        ({"model.mixer_options": {"kv_layers": 2}}, "names kv_layers, which LRSA does not take"),
    ],
)
def test_an_ablation_refuses_what_no_model_can_be_made_of(cells_file, changes, message):
    with pytest.raises(ValueError, match=message):
        ablation(str(cells_file), 5, changes={"model.mixer": "lrsa"} | changes)


def test_an_ablation_keeps_the_options_that_a_configuration_has(cells_file):
    changes = {"model.mixer_options": {"aligned_start": False, "sharpness": 3.0}}
    study, data = ablation(str(cells_file), 5, (0,), changes=changes), str(cells_file)
    flat = study.config(data, "softmax starts flat").model
    assert flat.mixer_options == {"aligned_start": False, "sharpness": 1.0}
    tied = study.config(data, "symmetric").model
    assert (tied.mixer, tied.mixer_options) == ("lrsa_symmetric", {"sharpness": 3.0})
    assert "weights start apart" not in study.models  # they do already


def test_of_the_light_one_latents_see_each_other_in_one_variant_alone(cells_file):
    study = ablation(str(cells_file), 5, (0,), changes={"model.mixer": "lrsa_light"})
    attention = {}
    for name in study.models:
        sizes = model_sizes(vars(study.config(str(cells_file), name).model))
        blocks = GeometryOperator(2, 1, 2, config=OperatorConfig(**sizes)).modules()
        attention[name] = any(b.attention for b in blocks if isinstance(b, LatentBlock))
    assert attention.pop("with Transformer block")
    assert not any(attention.values())


@pytest.mark.parametrize("mixer", BASES)
def test_where_latents_have_no_blocks_no_model_is_there_under_two_names(cells_file, mixer):
    changes = {"model.mixer": mixer, "model.latent_depth": 0}
    study = ablation(str(cells_file), 5, (0,), changes=changes)
    models = [str(study.config(str(cells_file), name).model) for name in study.models]
    assert len(set(models)) == len(models)
    assert not OF_LATENT_BLOCKS & set(study.models)


def model_sizes(model: dict) -> dict:
    known = {field.name for field in fields(OperatorConfig)}
    return {key: value for key, value in model.items() if key in known} | {"fourier_octaves": 2}


@pytest.mark.parametrize("mixer", BASES)
def test_the_picture_of_an_ablation_has_every_model_once_and_its_own_in_each_panel(
    cells_file, tmp_path, mixer
):
    changes = {"model.channels": 24, "model.heads": 4, "model.num_latents": 32, "model.depth": 4}
    changes["model.mixer"] = mixer
    study, data = ablation(str(cells_file), 5, (0, 1), changes=changes), str(cells_file)
    rows = [
        {
            "variant": name,
            "seed": seed,
            "report": {"test": {"p": {"per_mesh": [0.1 + number, 0.3 + number]}}},
        }
        for number, name in enumerate(study.models)
        for seed in study.seeds
    ]
    panels = choices(study, data, rows, "p")
    assert [choice.label for choice in panels["latents"]] == ["8", "16", "32", "64", "128", "256"]
    assert all(sum(choice.own for choice in panel) == 1 for panel in panels.values())
    others = [choice.error for panel in panels.values() for choice in panel if not choice.own]
    assert sorted(others) == pytest.approx([0.2 + n for n in range(1, len(study.models))])
    plot_sensitivity(study, {data: rows}, tmp_path / "sensitivity.png")
    assert (tmp_path / "sensitivity.png").stat().st_size > 10_000
