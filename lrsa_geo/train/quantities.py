"""What an engineer reads off a field: peaks, lift, errors on the surface; with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import Fields, column_slices
from lrsa_geo.simulate import QUANTITIES, Quantities
from lrsa_geo.train.losses import NEGLIGIBLE
from lrsa_geo.train.objective import Objective, relative_l2

RESAMPLES = 2000
KINDS = ("relative_l2", "surface_relative_l2", "largest_error", "error_over_variation")
_ROUNDING = 4 * float(np.finfo(np.float32).eps)  # of the largest: what a constant field varies by


@dataclass(frozen=True)
class Estimate:
    """A figure over the test graphs with a 95 % bootstrap interval over them.

    Attributes:
        value: the figure.
        low: lower end; equal to ``value`` where the graphs are too few or all alike.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(
        cls, statistic: Callable[..., float], *samples: Sequence[float] | np.ndarray
    ) -> Estimate:
        """The statistic of paired samples; the interval is that of percentiles, with seed 0."""
        arrays = [np.asarray(sample, dtype=float) for sample in samples]
        value = float(statistic(*arrays))
        count = len(arrays[0])
        if count < 3:
            return cls(value, value, value)
        rng = np.random.default_rng(0)
        drawn = [
            statistic(*(a[rows] for a in arrays))
            for rows in rng.integers(count, size=(RESAMPLES, count))
        ]
        low, high = (
            np.nanpercentile(drawn, [2.5, 97.5]) if np.isfinite(drawn).any() else (value,) * 2
        )
        return cls(value, float(low), float(high))


def _mean(values: np.ndarray) -> float:
    """Of the graphs that have the value; NaN if none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def rank_correlation(truth: np.ndarray, guess: np.ndarray) -> float:
    """Spearman's: the correlation of the ranks; NaN if one of them is constant."""
    if not len(truth):
        return float("nan")
    ranks = [stats.rankdata(values) for values in (truth, guess)]
    spread = [r.std() for r in ranks]
    if min(spread) == 0:
        return float("nan")
    centred = [r - r.mean() for r in ranks]
    return float((centred[0] * centred[1]).mean() / (spread[0] * spread[1]))


def engineering_report(
    store: MeshStore,
    graphs: list[int],
    predictions: list[np.ndarray],
    objective: Objective,
    recipe: str | None,
    surface: Sequence[int],
) -> dict[str, Any]:
    """Errors and quantities of interest on the test graphs.

    Args:
        store: the graphs.
        graphs: which of them were predicted.
        predictions: ``[N, K]`` of each.
        objective: columns of the targets and their size in training.
        recipe: the data set's recipe, for the quantities of its own, such as lift.
        surface: markers of the nodes that are the surface; all but 0 if empty.

    Returns:
        In ``fields``, for each field: the relative L2 error on all nodes and on the surface, the
        largest error over the largest value, the error over the field's own variation on the graph
        (:func:`over_variation`); in ``r2``: R² = 1 - the square of that; in ``quantities``, for
        each: its mean error, relative to the spread of the true values too, and Spearman's rank
        correlation. All with intervals; graphs without a value do not count.
    """
    if not graphs:
        return {"fields": {}, "r2": {}, "quantities": {}}
    errors: dict[str, dict[str, list[float]]] = {
        f.name: {kind: [] for kind in KINDS} for f in objective.fields
    }
    read: dict[str, list[tuple[float, float]]] = {}
    for graph, prediction in zip(graphs, predictions, strict=True):
        guess = torch.from_numpy(np.asarray(prediction))
        field_errors, quantities = graph_report(store[graph], guess, objective, recipe, surface)
        for name, of_graph in field_errors.items():
            for kind, value in of_graph.items():
                errors[name][kind].append(value)
        for name, pair in quantities.items():
            read.setdefault(name, []).append(pair)
    return {
        "fields": {
            name: {kind: asdict(Estimate.of(_mean, values)) for kind, values in kinds.items()}
            for name, kinds in errors.items()
        },
        "r2": {
            name: asdict(Estimate.of(_mean, 1 - np.square(kinds["error_over_variation"])))
            for name, kinds in errors.items()
        },
        "quantities": {name: _quantity_report(np.array(pairs)) for name, pairs in read.items()},
    }


def graph_report(
    data: Data, guess: Tensor, objective: Objective, recipe: str | None, surface: Sequence[int]
) -> tuple[dict[str, dict[str, float]], dict[str, tuple[float, float]]]:
    """What :func:`engineering_report` gathers, of one graph.

    Args:
        data: the graph with its truth.
        guess: ``[N, K]`` its prediction.
        objective: columns of the targets and their size in training.
        recipe: as there.
        surface: as there.

    Returns:
        Of each field its errors by kind, and of each quantity its true and its predicted value.
    """
    extra = QUANTITIES.get(recipe or "")
    truths, guesses = (_quantities(data, y, objective.fields, extra) for y in (data.y, guess))
    pairs = {name: (value, guesses[name]) for name, value in truths.items()}
    return _field_errors(data, guess, objective, surface), pairs


def _field_errors(
    data: Data, guess: Tensor, objective: Objective, surface: Sequence[int]
) -> dict[str, dict[str, float]]:
    fields, rms = objective.fields, objective.normalizer.y_rms.cpu()
    measure = data.measure if objective.config.by_measure else None

    def errors(rows: Tensor) -> Tensor:
        graph = torch.zeros(int(rows.sum()), dtype=torch.long)
        weight = None if measure is None else measure[rows]
        return relative_l2(guess[rows], data.y[rows], graph, 1, fields, measure=weight, rms=rms)[0]

    whole = errors(torch.ones(len(guess), dtype=torch.bool))
    there = errors(surface_nodes(data, surface))
    result = {}
    for i, (name, columns) in enumerate(column_slices(fields).items()):
        known = ~data.y[:, columns].isnan().any(1)
        truth, here = data.y[known][:, columns].double(), guess[known][:, columns].double()
        result[name] = {
            "relative_l2": float(whole[i]),
            "surface_relative_l2": float(there[i]),
            "largest_error": _largest_error(here, truth, float(rms[i])),
            "error_over_variation": over_variation(here, truth),
        }
    return result


def surface_nodes(data: Data, surface: Sequence[int]) -> Tensor:
    """``[N] bool``: nodes with one of the boundary markers; with any but 0 if none is named."""
    boundary: Tensor | None = data.get("boundary")
    if boundary is None:
        return torch.zeros(len(data.pos), dtype=torch.bool)
    if not surface:
        return boundary > 0
    return torch.isin(boundary, torch.tensor(surface, dtype=boundary.dtype))


def over_variation(prediction: Tensor, truth: Tensor) -> float:
    r"""Error of a field over its own variation on a graph; 1 for its mean, whatever the offset.

    .. math::
        \Big(\sum_i |\hat y_i - y_i|^2 \Big/ \sum_i |y_i - \bar y|^2\Big)^{1/2}

    Args:
        prediction: ``[N, C]``.
        truth: ``[N, C]``, known everywhere.

    Returns:
        NaN where the field is constant up to rounding, or there is no node.
    """
    prediction, truth = prediction.double(), truth.double()
    if not len(truth):
        return float("nan")
    largest = float(truth.abs().max())
    scale = largest or 1.0  # squares of tiny and huge numbers are none
    varies = (truth - truth.mean(0)) / scale
    if float(varies.abs().max()) <= _ROUNDING:
        return float("nan")
    return float(((prediction - truth) / scale).norm() / varies.norm())


def _largest_error(guess: Tensor, truth: Tensor, rms: float) -> float:
    """Over the largest value; over the size in training if the field is zero."""
    if not len(truth):
        return float("nan")
    largest = float(truth.norm(dim=1).max())
    missed = float((guess - truth).norm(dim=1).max())
    return missed / (largest if largest > NEGLIGIBLE * rms else rms)


def _quantities(
    data: Data, y: Tensor, fields: Fields, extra: Quantities | None
) -> dict[str, float]:
    """The largest size of each field (of a pressure, mostly that of the suction), and the recipe's.

    Nodes without a target of the field do not count; NaN if it has none.
    """
    peaks = {}
    for name, columns in column_slices(fields).items():
        known = ~data.y[:, columns].isnan().any(1)
        sizes = y[known][:, columns].double().norm(dim=1)
        peaks[f"peak {name}"] = float(sizes.max()) if len(sizes) else float("nan")
    return peaks | (extra(data, y) if extra else {})


def _quantity_report(pairs: np.ndarray) -> dict[str, Any]:
    pairs = pairs[np.isfinite(pairs).all(1)]  # graphs where the quantity is known
    truth, guess = pairs.T
    missed = np.abs(guess - truth)
    # Truths that are all alike have no spread to compare an error with.
    spread = float(truth.std()) if len(truth) else 0.0
    relative = (
        missed / spread if spread > _ROUNDING * np.abs(truth).max(initial=0) else missed * np.nan
    )
    return {
        "mean_error": asdict(Estimate.of(_mean, missed)),
        "error_over_spread": asdict(Estimate.of(_mean, relative)),
        "rank_correlation": asdict(Estimate.of(rank_correlation, truth, guess)),
        "truth": truth.tolist(),
        "predicted": guess.tolist(),
    }
