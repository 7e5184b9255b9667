"""A problem whose spectrum is chosen: exact decay, and what a study of it writes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrsa_geo.cli import main
from lrsa_geo.study import (
    DecayRow,
    DecayStudy,
    LineTraining,
    PeriodicKernel,
    not_enough,
    run_decay,
)
from lrsa_geo.study.decay import line_model

KERNELS = st.builds(
    PeriodicKernel,
    rate=st.floats(0, 2),
    law=st.sampled_from(["exponential", "power"]),
    nodes=st.integers(24, 40),
    modes=st.integers(1, 11),
    shift=st.floats(0, 1),
)


@given(KERNELS)
def test_the_matrix_has_exactly_its_singular_values(kernel):
    matrix = kernel.apply(np.eye(kernel.nodes)).T
    values = np.linalg.svd(matrix, compute_uv=False)
    known = kernel.spectrum()
    np.testing.assert_allclose(values[: known.limit], known.values, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(values[known.limit :], 0, atol=1e-12)
    assert known.norm == pytest.approx(np.linalg.norm(matrix))


def test_the_kernel_does_not_know_where_the_line_begins():
    kernel, a = PeriodicKernel(0.3), np.random.default_rng(0).standard_normal(64)
    np.testing.assert_allclose(kernel.apply(np.roll(a, 9)), np.roll(kernel.apply(a), 9), atol=1e-12)


def test_without_decay_a_wave_is_shifted_as_it_is():
    x = np.arange(64) / 64
    wave = np.cos(2 * np.pi * 5 * x)
    expected = np.cos(2 * np.pi * 5 * (x - 0.3))
    np.testing.assert_allclose(PeriodicKernel(0.0).apply(wave), expected, atol=1e-12)


@given(st.lists(st.floats(0, 3), min_size=2, max_size=2, unique=True))
def test_a_slower_decay_has_no_smaller_rank(rates):
    slow, fast = sorted(rates)
    for law in ("exponential", "power"):
        of_slow, of_fast = (PeriodicKernel(r, law).spectrum().rank(0.99) for r in (slow, fast))
        assert of_slow >= of_fast


def test_inputs_and_outputs_have_unit_variance():
    a, u = PeriodicKernel(0.5).draw(4000, np.random.default_rng(0))
    assert a.std().item() == pytest.approx(1, abs=0.02)
    assert u.std().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"law": "linear"}, "`law` is 'linear', expected one of exponential, power"),
        ({"rate": -1.0}, "`rate` is -1.0"),
        ({"rate": float("nan")}, "`rate` is nan"),
        ({"rate": float("inf")}, "`rate` is inf"),
        ({"modes": 32}, "`modes` is 32, expected 1 or more and less than half of the 64 nodes"),
    ],
)
def test_kernels_that_have_no_such_spectrum_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        PeriodicKernel(**{"rate": 1.0, **change})


def test_waves_have_as_many_modes_as_others_have_latents():
    """With all of the kernel's twelve modes a layer of waves learns what no rank of softmax has."""
    study = DecayStudy(mixers=("spectral", "lrsa", "linear"), latents=(4, 13))
    assert [*study.models()] == [
        "spectral, modes = 4",
        "spectral, modes = 13",
        "lrsa, M = 4",
        "lrsa, M = 13",
        "linear",
    ]
    kernel, training = PeriodicKernel(0.0), LineTraining(steps=60)
    errors = {}
    for name, modes in (("spectral", 4), ("spectral", 13), ("lrsa", 13)):
        model = line_model(name, modes, seed=0)
        training.fit(model, kernel)
        errors[name, modes] = training.test(model, kernel)
    assert errors["spectral", 13] < 0.5 * min(errors["spectral", 4], errors["lrsa", 13])


def test_a_training_repeats_itself_and_learns():
    kernel, training = PeriodicKernel(1.0), LineTraining(steps=40)
    models = [line_model("lrsa", 8, seed=0) for _ in range(2)]
    before = training.test(models[0], kernel)
    losses = [training.fit(model, kernel) for model in models]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 40
    assert training.test(models[0], kernel) < 0.8 * before
    assert any(
        not torch.equal(p, q)
        for p, q in zip(
            line_model("lrsa", 8, seed=1).parameters(),
            line_model("lrsa", 8, seed=2).parameters(),
            strict=True,
        )
    )


def row(rate: float, model: str, seed: int, error: float) -> DecayRow:
    return DecayRow(rate, {0.0: 25, 0.5: 9, 1.0: 4}[rate], model, seed, 1, error, 1.0)


def test_low_rank_stops_being_enough_where_it_falls_behind_for_good():
    full = [row(rate, "full", seed, 0.1) for rate in (0.0, 0.5, 1.0) for seed in (0, 1)]
    errors = {1.0: (0.2, 0.2), 0.5: (0.05, 0.2), 0.0: (0.3, 0.4)}
    low = [row(rate, "lrsa", s, e[s]) for rate, e in errors.items() for s in (0, 1)]
    assert not_enough(full + low, "lrsa") == 25  # at rate 1 too, but not in between
    assert not_enough(low, "lrsa") is None  # nothing to hold it against
    lost = [row(0.0, "lrsa", s, float("nan")) for s in (0, 1)]
    assert not_enough(full + lost, "lrsa") == 25  # what diverged is behind
    good = [row(rate, "lrsa", s, 0.09) for rate in errors for s in (0, 1)]
    assert not_enough(full + good, "lrsa") is None


def test_a_study_trains_each_mixer_with_each_number_of_latents(tmp_path: Path):
    study = DecayStudy((1.0, 0.0), "power", ("lrsa", "linear"), (2, 4), (0, 1), 8, 2)
    study = DecayStudy(**{**vars(study), "training": LineTraining(steps=3)})
    text = run_decay(study, tmp_path / "new")
    assert list(study.models()) == ["lrsa, M = 2", "lrsa, M = 4", "linear"]
    with (tmp_path / "new" / "decay.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 3
    assert {row["rank"] for row in rows if row["rate"] == "0.0"} == {"25"}
    assert text == (tmp_path / "new" / "decay.md").read_text()
    assert "| 0 | 25 |" in text
    assert (tmp_path / "new" / "decay.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mixers", "lrsaa"], "there is no mixer 'lrsaa', expected one of"),
        (["--law", "x", "--mixers", "lrsa"], "`law` is 'x'"),
        (["--steps", "0", "--mixers", "lrsa"], "`steps` is 0"),
        (["--rates", "-1", "--mixers", "lrsa"], "`rate` is -1"),
        (["--latents", "4", "0"], "`latents` is [4, 0], expected at least 1"),
        (["--rates", "1", "1", "--mixers", "lrsa"], "`rates` holds one twice"),
        (["--seeds", "3", "3", "--mixers", "lrsa"], "`seeds` holds one twice"),
        (["--mixers", "lrsa", "lrsa"], "`mixers` holds one twice"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(flags, message, capsys, tmp_path):
    assert main(["decay", *flags, "-o", str(tmp_path / "none")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_the_command_prints_what_it_writes(tmp_path, capsys):
    flags = ["--mixers", "lrsa", "--latents", "2", "--rates", "1", "--seeds", "0", "--steps", "2"]
    assert main(["decay", *flags, "-o", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert (tmp_path / "decay.md").read_text() in out
    assert "rate 1, rank 4, lrsa, M = 2, seed 0: " in out
