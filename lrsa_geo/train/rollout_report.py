"""Test a model of series: errors at each time, what they are worth, and whether it stays stable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from lrsa_geo.data import StepView
from lrsa_geo.mesh import MeshData, column_slices, with_edges
from lrsa_geo.train.objective import Objective, relative_l2
from lrsa_geo.train.quantities import surface_nodes
from lrsa_geo.train.records import summary_of
from lrsa_geo.train.rollout import rollout_of_series, rollout_of_several
from lrsa_geo.train.surrogate import Surrogate

LONGER = 5  # times the longest series of the training, for which a rollout is to stay stable
BLOWN_UP = 10.0  # times the size in training, beyond which it is not
MAX_STABILITY = 20  # series that are rolled out so far, of about so many nodes at a time
MAX_NODES = 8192


@dataclass(frozen=True)
class RolledOut:
    """Figures of a rollout beside its series.

    Attributes:
        errors: name of a prediction -> ``[T, F]``: "model", "persistence", which keeps the last
            state that was read, and "linear", which goes on as from the one before it.
        surface: ``[T, F]`` relative L2 of the model on the nodes of the surface; NaN without one.
        integrals: "mass" and "energy" -> ``[2, T, F]``, of the truth and of the model: the sums of
            w u (of a vector w |u|) and w |u|^2 over the nodes, with w the measure.
        finite: whether all that was predicted is.
    """

    errors: dict[str, np.ndarray]
    surface: np.ndarray
    integrals: dict[str, np.ndarray]
    finite: bool


def first_predicted(view: StepView) -> int:
    """The step that rollouts begin with: two states before it where a series has so many."""
    history = view.stepping.history
    if not view.stepping.steps:
        return history
    return min(max(history, 2), int(view.series.num_steps.min()) - 1)


def roll_out(
    surrogate: Surrogate, view: StepView, series: int, start: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Times ``[T]``, truth and prediction ``[T, N, K]`` of a series of a store.

    Args:
        surrogate: the model.
        view: the store as the model reads it.
        series: number of the series.
        start: the first step that is predicted.
    """
    end = int(view.series.num_steps[series])
    read = view.series.window(series, start, end, ["states", "times"])
    guesses = rollout_of_series(surrogate, view, series, start, end - start)
    prediction = torch.stack([guess.cpu() for guess in guesses])
    return read["times"], read["states"].transpose(0, 1).contiguous(), prediction


def _figures(
    surrogate: Surrogate,
    view: StepView,
    series: int,
    objective: Objective,
    start: int,
    surface: Sequence[int],
) -> RolledOut:
    times, truth, prediction = roll_out(surrogate, view, series, start)
    rivals = {"model": prediction} | _rivals(view, series, start, times)
    static: list[str] = [array for array in ("pos", "boundary") if array in view.series.arrays]
    graph: Data = MeshData(**view.series.arrays_of(series, static))
    there = surface_nodes(graph, surface)
    if "edge_index" in objective.arrays:
        graph = with_edges(view[view.example(series, start)])
    weight = torch.ones(truth.shape[1])
    if "measure" in view.series.arrays:
        graph.measure = weight = view.series.arrays_of(series, ["measure"])["measure"]
    errors = {name: _errors(objective, guess, truth, graph) for name, guess in rivals.items()}
    integrals = {
        name: torch.stack([of(u, weight, objective) for u in (truth, prediction)]).numpy()
        for name, of in (("mass", _mass), ("energy", _energy))
    }
    on_surface = _on_surface(objective, prediction[:, there], truth[:, there])
    return RolledOut(errors, on_surface, integrals, bool(prediction.isfinite().all()))


def _rivals(view: StepView, series: int, start: int, times: Tensor) -> dict[str, Tensor]:
    """Predictions ``[T, N, K]`` that take no training."""
    before = min(start, 2)
    if not before:
        return {}
    read = view.series.window(series, start - before, start, ["states", "times"])
    last = read["states"][:, -1]
    found = {"persistence": last.expand(len(times), *last.shape)}
    if before == 2:
        rate = (last - read["states"][:, 0]) / (read["times"][1] - read["times"][0])
        ahead = (times - read["times"][1])[:, None, None]
        found["linear"] = (last + rate * ahead).to(last.dtype)
    return found


def _errors(objective: Objective, guess: Tensor, truth: Tensor, graph: Data) -> np.ndarray:
    """``[T, F]``: the objective's error at each time; infinite where what is known is not met."""
    batch = Batch.from_data_list([graph])
    rows = []
    for here, there in zip(guess, truth, strict=True):
        batch.y = there
        rows.append(objective.errors(here.contiguous(), batch)[0])
    errors = torch.stack(rows)
    lost = ~guess.isfinite() & ~truth.isnan()  # NaN would be an error that nobody knows
    columns = column_slices(objective.fields).values()
    of_fields = torch.stack([lost[..., c].flatten(1).any(1) for c in columns], dim=1)
    return errors.masked_fill(of_fields, torch.inf).numpy()


def _on_surface(objective: Objective, guess: Tensor, truth: Tensor) -> np.ndarray:
    """``[T, F]``: relative L2 on some nodes, each time as a graph."""
    steps, nodes, width = truth.shape
    time = torch.arange(steps).repeat_interleave(nodes)
    rows, rms = (guess.reshape(-1, width), truth.reshape(-1, width)), objective.normalizer.y_rms
    return relative_l2(*rows, time, steps, objective.fields, rms=rms.cpu()).numpy()


def _mass(states: Tensor, weight: Tensor, objective: Objective) -> Tensor:
    """``[T, F]``: integral of a scalar; of a vector, of its length."""
    columns = column_slices(objective.fields).values()
    sizes = [
        states[..., c.start] if c.stop - c.start == 1 else states[..., c].norm(dim=-1)
        for c in columns
    ]
    return (torch.stack(sizes, -1).double() * weight[:, None]).sum(1)


def _energy(states: Tensor, weight: Tensor, objective: Objective) -> Tensor:
    """``[T, F]``: integral of the square."""
    columns = column_slices(objective.fields).values()
    squares = [states[..., c].double().square().sum(-1) for c in columns]
    return (torch.stack(squares, -1) * weight[:, None]).sum(1)


def stable_steps(
    surrogate: Surrogate, view: StepView, series: Sequence[int], objective: Objective, start: int
) -> list[int]:
    """Steps, of LONGER horizons, that the rollout of each series stays of the size of the training.

    What is known beforehand stays as it was last. Empty where it cannot, see
    :func:`rollout_of_series`.
    """
    if not view.stepping.steps or view.stepping.dim:
        return []
    found: list[int] = []
    for group in _groups(view, series):
        found += _stable_steps(surrogate, view, group, objective, start)
    return found


def _stable_steps(
    surrogate: Surrogate, view: StepView, series: Sequence[int], objective: Objective, start: int
) -> list[int]:
    steps = LONGER * view.stepping.horizon
    limit = BLOWN_UP * objective.normalizer.y_rms.cpu()
    columns = list(column_slices(objective.fields).values())
    sizes = view.series.num_nodes[list(series)].tolist()
    stable = [steps] * len(series)
    states_of = rollout_of_several(surrogate, view, series, start, steps)
    for done, states in enumerate(states_of):
        for number, part in enumerate(states.cpu().split(sizes)):
            rms = torch.stack([part[:, c].square().sum(1).mean() for c in columns]).sqrt()
            if not (rms <= limit).all():  # NaN is not, either
                stable[number] = min(stable[number], done)
        if max(stable) <= done:
            break
    return stable


def _groups(view: StepView, series: Sequence[int]) -> list[list[int]]:
    """Series that are rolled out side by side, of about so many nodes."""
    groups: list[list[int]] = []
    nodes = MAX_NODES
    for number in series:
        if nodes >= MAX_NODES:
            groups.append([])
            nodes = 0
        groups[-1].append(number)
        nodes += int(view.series.num_nodes[number])
    return groups


def rollout_report(
    surrogate: Surrogate,
    view: StepView,
    graphs: Sequence[int],
    objective: Objective,
    *,
    surface: Sequence[int] = (),
    stability: bool = True,
) -> dict[str, Any]:
    """Figures of the rollouts of the test series.

    Args:
        surrogate: the model.
        view: the store as the model reads it.
        graphs: numbers of the series.
        objective: whose errors are reported.
        surface: boundary markers of the nodes on which the relative L2 is reported on its own; all
            but 0 if empty.
        stability: roll some of them out far beyond their end, too.

    Returns:
        ``test``: per field mean, median and worst over the series of the mean error over time,
        and that of every series; ``rollout``: error at each time, baselines, drift of the
        integrals, on the surface, stability; ``not_finite``: series whose prediction is not, and
        whose error is infinite.
    """
    if not graphs:
        return {"test": {}, "rollout": None, "not_finite": 0}
    start = first_predicted(view)
    rolled = [_figures(surrogate, view, series, objective, start, surface) for series in graphs]
    names = [f.name for f in objective.fields]
    longest = max(len(each.errors["model"]) for each in rolled)
    by_time = {
        kind: np.stack([_padded(each.errors[kind], longest) for each in rolled])
        for kind in rolled[0].errors
    }  # [series, T, F]
    over_time = {kind: _nanmean(errors, 1) for kind, errors in by_time.items()}
    test = {name: summary_of(over_time["model"][:, i]) for i, name in enumerate(names)}
    some = graphs[:MAX_STABILITY] if stability else []
    known = stable_steps(surrogate, view, some, objective, start)
    wanted = LONGER * view.stepping.horizon
    report = {
        "first_step": start,
        "steps": longest,
        "error_at": {
            name: {kind: _listed(_nanmean(e, 0)[:, i]) for kind, e in by_time.items()}
            for i, name in enumerate(names)
        },
        "baselines": {
            name: {k: float(np.nanmean(e[:, i])) for k, e in over_time.items() if k != "model"}
            for i, name in enumerate(names)
        },
        "surface_relative_l2": {
            name: float(_nanmean(np.concatenate([e.surface for e in rolled]), 0)[i])
            for i, name in enumerate(names)
        },
        "drift": {
            kind: {name: _drift(rolled, kind, i) for i, name in enumerate(names)}
            for kind in ("mass", "energy")
        },
        "stable": None
        if not known
        else {
            "steps": wanted,
            "share": float(np.mean([steps == wanted for steps in known])),
            "series": len(known),
            "shortest": int(min(known)),
        },
    }
    return {"test": test, "rollout": report, "not_finite": sum(not each.finite for each in rolled)}


def _drift(rolled: Sequence[RolledOut], kind: str, field: int) -> float:
    """Mean over series of the largest deviation of an integral, over its largest size."""
    drifts = []
    for each in rolled:
        truth, guess = each.integrals[kind][:, :, field]
        size = np.abs(truth).max()
        drift = np.abs(guess - truth).max() / size if size > 0 else np.nan
        drifts.append(drift if each.finite else np.inf)
    return float(np.nanmean(drifts)) if not np.isnan(drifts).all() else float("nan")


def _padded(errors: np.ndarray, steps: int) -> np.ndarray:
    """With NaN at the times that a shorter series does not have."""
    rest = np.full((steps - len(errors), errors.shape[1]), np.nan, errors.dtype)
    return np.concatenate([errors, rest])


def _nanmean(errors: np.ndarray, axis: int) -> np.ndarray:
    known = ~np.isnan(errors)
    count = known.sum(axis)
    total = np.where(known, errors, 0).sum(axis, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _listed(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
