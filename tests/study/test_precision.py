"""Low precision: gradients against float64, sums over many nodes, failures as rows."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch

from lrsa_geo.cli import main
from lrsa_geo.nn import MIXERS
from lrsa_geo.study import (
    LineTraining,
    PrecisionStudy,
    gradient_deviation,
    run_precision,
    sums_over,
    train_in,
)
from lrsa_geo.study import precision as of_precision
from lrsa_geo.study.decay import line_model


@pytest.mark.parametrize("mixer", ["lrsa", "transolver"])
def test_gradients_deviate_by_the_digits_of_the_precision(mixer):
    """24, 8 and 11 bits: each within two orders of its rounding."""
    model = line_model(mixer, 8, seed=0)
    before = [p.clone() for p in model.parameters()]
    deviations = {p: gradient_deviation(model, p) for p in of_precision.PRECISIONS}
    for precision, deviation in deviations.items():
        rounding = torch.finfo(getattr(torch, precision)).eps
        assert 0.1 * rounding < deviation < 100 * rounding
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_gradients_that_are_no_numbers_deviate_without_bound():
    model = line_model("lrsa", 8, seed=0)
    with torch.no_grad():
        model.project.weight.mul_(1e6)  # beyond float16
    assert gradient_deviation(model, "float16") == math.inf
    assert gradient_deviation(model, "float32") < 1e-2


def test_sums_over_nodes_overflow_in_float16_and_means_do_not():
    """A slice of a quarter of 2^19 nodes sums to more than 65,504; LRSA's softmax has mass 1."""
    many = 2**19
    assert sums_over("transolver", "float16", 2**17).deviation < 1e-2
    assert sums_over("transolver", "float16", many).deviation == math.inf
    assert sums_over("transolver", "float32", many).deviation < 1e-3
    assert sums_over("lrsa", "float16", many).deviation < 1e-1
    assert sums_over("lrsa", "float32", many).deviation < 1e-3


@pytest.mark.parametrize("mixer", MIXERS)
def test_every_mixer_has_a_row(mixer):
    row = sums_over(mixer, "bfloat16", 64)
    assert row.note == "" or math.isnan(row.deviation)
    assert row.deviation < 0.2 or row.note == "not available: there are no latents"


def test_a_training_in_float16_comes_near_that_in_float32():
    rows = [train_in("lrsa", precision, 0, steps=40) for precision in ("float32", "float16")]
    assert rows[1].error == pytest.approx(rows[0].error, rel=0.2)
    assert rows[0].gradient < rows[1].gradient


def test_a_training_that_diverges_is_a_row(monkeypatch):
    monkeypatch.setattr(LineTraining, "fit", lambda *_: [1.0, math.nan])
    row = train_in("lrsa", "bfloat16", 0, steps=5)
    assert row.note == "diverged at step 2"
    assert math.isnan(row.error)
    assert row.gradient < 0.1


def test_a_product_that_is_not_there_is_a_row(monkeypatch):
    def refuse(*_: object) -> None:
        raise RuntimeError('"addmm" not implemented\n for Half')

    monkeypatch.setattr(LineTraining, "fit", refuse)
    row = train_in("lrsa", "float16", 0, steps=5)
    assert row.note == 'not available: "addmm" not implemented for Half'


def test_a_study_writes_every_row(tmp_path: Path):
    study = PrecisionStudy(("lrsa",), ("float32", "bfloat16"), (0, 1), steps=3, nodes=(64, 128))
    text = run_precision(study, tmp_path)
    with (tmp_path / "precision.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
    with (tmp_path / "sums.csv").open() as file:
        assert [row["nodes"] for row in csv.DictReader(file)] == ["64", "128"] * 2
    assert "| lrsa | bfloat16 |" in text
    assert text == (tmp_path / "precision.md").read_text()
    assert (tmp_path / "precision.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mixers", "x"], "there is no mixer 'x'"),
        (["--precisions", "float8"], "`precision` is 'float8', expected one of float32, bfloat16"),
        (["--nodes", "0"], "`nodes` holds 0"),
        (["--nodes", "64", "64"], "`nodes` holds one twice"),
        (["--precisions", "float32", "float32"], "`precisions` holds one twice"),
        (["--seeds", "-1"], "`seeds` is [-1], expected 0 to 4294967295"),
    ],
)
def test_what_cannot_be_tried_is_refused_in_one_line(flags, message, capsys, tmp_path):
    assert main(["precision", *flags, "-o", str(tmp_path / "none")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_the_command_prints_what_it_writes(tmp_path, capsys):
    flags = ["--mixers", "lrsa", "--precisions", "bfloat16", "--seeds", "0", "--steps", "2"]
    assert main(["precision", *flags, "--nodes", "-o", str(tmp_path)]) == 0
    assert (tmp_path / "precision.md").read_text() in capsys.readouterr().out
