"""Engineering figures against their definitions, and intervals against known distributions."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lrsa_geo.data import MeshStore, Normalizer
from lrsa_geo.simulate import QUANTITIES, RECIPES
from lrsa_geo.train import Objective, ObjectiveConfig
from lrsa_geo.train.quantities import Estimate, engineering_report, rank_correlation

numbers = st.lists(st.integers(-20, 20), min_size=3, max_size=30)


@given(truth=numbers, seed=st.integers(0, 99))
def test_the_rank_correlation_is_spearmans(truth, seed):
    guess = np.random.default_rng(seed).normal(size=len(truth)).round(1)
    found = rank_correlation(np.array(truth), guess)
    if len(set(truth)) == 1 or len(set(guess)) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(truth, guess).statistic, abs=1e-12)


def test_the_interval_covers_the_mean_of_a_known_distribution():
    """Over 200 samples of 60 normal numbers, near 95 % of the intervals hold the true mean."""
    rng = np.random.default_rng(0)
    intervals = [Estimate.of(np.mean, rng.normal(3, 2, size=60)) for _ in range(200)]
    held = np.mean([interval.low <= 3 <= interval.high for interval in intervals])
    assert 0.89 <= held <= 0.98
    assert all(interval.low <= interval.value <= interval.high for interval in intervals)


def test_samples_stay_paired():
    """A statistic that is 0 for every paired sample is 0 in every resample."""
    values = np.random.default_rng(0).normal(size=20)
    estimate = Estimate.of(lambda a, b: float(np.abs(a - b).max()), values, values)
    assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)


def objective_of(store: MeshStore, graphs: list[int]) -> Objective:
    normalizer = Normalizer(2, store.fields)
    normalizer.fit(store, graphs)
    return Objective(ObjectiveConfig(), store.fields["y"], normalizer)


def test_the_report_against_its_definitions(cells: MeshStore):
    rng = np.random.default_rng(0)
    graphs = [0, 3, 5, 7]
    predictions = [
        cells[i].y.numpy() * (1 + 0.1 * rng.normal(size=cells[i].y.shape)) for i in graphs
    ]
    report = engineering_report(
        cells, graphs, predictions, objective_of(cells, graphs), "elasticity", [1, 4]
    )
    per_mesh, surface, largest, peaks = [], [], [], []
    for i, guess in zip(graphs, predictions, strict=True):
        truth, marker = cells[i].y.numpy(), cells[i].boundary.numpy()
        there = (marker == 1) | (marker == 4)
        off = guess[:, 0] - truth[:, 0]
        per_mesh.append(np.linalg.norm(off) / np.linalg.norm(truth[:, 0]))
        surface.append(np.linalg.norm(off[there]) / np.linalg.norm(truth[there, 0]))
        largest.append(np.abs(off).max() / np.abs(truth[:, 0]).max())
        peaks.append((truth[:, 0].max(), guess[:, 0].max()))
    found = report["fields"]["von_mises"]
    assert found["relative_l2"]["value"] == pytest.approx(np.mean(per_mesh), rel=1e-4)
    assert found["surface_relative_l2"]["value"] == pytest.approx(np.mean(surface), rel=1e-4)
    assert found["largest_error"]["value"] == pytest.approx(np.mean(largest), rel=1e-4)
    peak = report["quantities"]["peak von_mises"]
    np.testing.assert_allclose(np.column_stack([peak["truth"], peak["predicted"]]), peaks)
    assert peak["rank_correlation"]["value"] == pytest.approx(
        stats.spearmanr(*zip(*peaks, strict=True)).statistic
    )
    assert set(report["quantities"]) == {"peak von_mises", "peak displacement"}


def test_a_perfect_prediction_has_no_error(cells: MeshStore):
    graphs = [1, 2, 4]
    predictions = [cells[i].y.numpy() for i in graphs]
    report = engineering_report(cells, graphs, predictions, objective_of(cells, graphs), None, [])
    for kinds in report["fields"].values():
        assert all(kind["high"] < 1e-6 for kind in kinds.values())
    for read in report["quantities"].values():
        assert read["mean_error"]["value"] == 0
        assert read["rank_correlation"]["value"] == pytest.approx(1)


def test_quantities_are_read_without_a_solver():
    """A run is evaluated on machines that have no solver installed."""
    check = (
        "import sys; from lrsa_geo.simulate import QUANTITIES; from lrsa_geo import train;"
        " sys.exit(any(solver in sys.modules for solver in ('gmsh', 'felupe', 'skfem')))"
    )
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
    assert set(QUANTITIES) <= set(RECIPES)
