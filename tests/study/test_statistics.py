"""Paired tests and Holm's correction, against scipy and against cases that can be counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from lrsa_geo.study import holm, paired

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_it_is_wilcoxons_test_of_the_cases_averaged_over_seeds():
    rng = np.random.default_rng(0)
    first, second = rng.random((3, 40)), rng.random((3, 40)) + 0.1
    found = paired(first, second)
    assert found.p_value == wilcoxon(first.mean(0), second.mean(0)).pvalue
    assert found.ratio == pytest.approx(first.mean() / second.mean())
    assert paired(second, first).p_value == pytest.approx(found.p_value)
    assert paired(second, first).ratio == pytest.approx(1 / found.ratio)


def test_more_seeds_of_the_same_cases_are_no_more_cases():
    rng = np.random.default_rng(1)
    first, second = rng.random((1, 12)), rng.random((1, 12)) + 0.2
    once = paired(first, second).p_value
    assert paired(np.tile(first, (5, 1)), np.tile(second, (5, 1))).p_value == pytest.approx(once)


def test_equal_models_do_not_differ():
    same = np.ones((2, 5))
    found = paired(same, same)
    assert (found.ratio, found.p_value, found.seeds_won) == (1, 1, 0)


def test_cases_without_a_truth_do_not_count():
    rng = np.random.default_rng(2)
    first, second = rng.random((2, 20)), rng.random((2, 20))
    expected = paired(first[:, 5:], second[:, 5:])
    first[:, :3], second[1, 3:5] = np.nan, np.nan
    assert paired(first, second) == expected
    with pytest.raises(ValueError, match="no test case"):
        paired(np.full((1, 2), np.nan), np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"expected the same"):
        paired(np.ones((1, 2)), np.ones((1, 3)))


def test_under_the_null_one_test_in_twenty_is_significant():
    rng = np.random.default_rng(3)
    hits = [
        paired(rng.normal(size=(2, 30)) + 9, rng.normal(size=(2, 30)) + 9).p_value < 0.05
        for _ in range(1000)
    ]
    assert 0.03 < np.mean(hits) < 0.07


@given(P_VALUES)
def test_holm_lies_between_the_plain_and_bonferronis(p_values):
    adjusted = holm(p_values)
    for plain, corrected in zip(p_values, adjusted, strict=True):
        assert plain <= corrected <= min(1, len(p_values) * plain) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert min(adjusted) == pytest.approx(min(1, len(p_values) * min(p_values)))


def test_holm_of_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
