"""Is one model better than another? Paired tests over test cases, corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import wilcoxon


def check_once(name: str, values: Sequence[Any]) -> None:
    """Refuse an argument that holds nothing, or something twice: it would count twice in a mean.

    Raises:
        ValueError: naming the argument.
    """
    if not values:
        raise ValueError(f"`{name}` is empty")
    if len(set(values)) < len(values):
        raise ValueError(f"`{name}` holds one twice: {[*values]}")


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse what are no seeds of independent runs.

    Raises:
        ValueError: there is none, one twice, or one that generators do not take.
    """
    check_once("seeds", seeds)
    if min(seeds) < 0 or max(seeds) >= 2**32:
        raise ValueError(f"`seeds` is {[*seeds]}, expected 0 to {2**32 - 1}")


@dataclass(frozen=True)
class Paired:
    """How the errors of two models on the same test cases compare.

    Attributes:
        ratio: mean error of the first over that of the second.
        p_value: Wilcoxon's signed-rank test, two-sided, of the cases' errors averaged over seeds.
        seeds_won: share of the seeds in which the mean error of the first is smaller.
    """

    ratio: float
    p_value: float
    seeds_won: float


def paired(first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare two models by their errors ``[seeds, cases]`` on the same cases.

    Cases whose error is unknown (NaN) for one of them do not count. The seeds of a case are
    averaged before the test: they are no independent cases.

    Raises:
        ValueError: the arrays do not fit each other, or no case is left.
    """
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(
            f"errors are {first.shape} and {second.shape}, expected the same [seeds, cases]"
        )
    known = ~np.isnan(first).any(0) & ~np.isnan(second).any(0)
    if not known.any():
        raise ValueError("there is no test case whose error is known for both models")
    first, second = first[:, known], second[:, known]
    difference = first.mean(0) - second.mean(0)
    p_value = 1.0 if (difference == 0).all() else float(wilcoxon(difference).pvalue)
    return Paired(
        float(first.mean() / second.mean()),
        p_value,
        float((first.mean(1) < second.mean(1)).mean()),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: p-values that hold for all tests of a family at once.

    The k-th smallest of n is multiplied by n - k + 1, none below the ones before it (Holm 1979).

    Examples:
        >>> from lrsa_geo.study import holm
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1)
    result = np.empty(len(p_values))
    result[order] = adjusted
    return [float(p) for p in result]
