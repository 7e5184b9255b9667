"""The pictures of a run. One that cannot be drawn is named; it never ends a training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lrsa_geo.data import MeshStore, StepView
from lrsa_geo.mesh import column_slices
from lrsa_geo.train.run import Run


def draw_loss(run: Run, rows: list[dict[str, float]]) -> None:
    """Loss and validation errors over the epochs."""
    from lrsa_geo import plot

    with _or_say(run.picture("loss")) as path:
        plot.loss_curves(rows, path)


def draw_test(
    run: Run,
    store: MeshStore,
    graphs: list[int],
    predictions: list[np.ndarray],
    by_field: dict[str, np.ndarray],
) -> None:
    """Error against size; best, median and worst test mesh of each field whose truth is known.

    Args:
        run: whose pictures they are.
        store: the graphs.
        graphs: those that were predicted.
        predictions: ``[N, K]`` of each.
        by_field: error of each graph, NaN where the truth is not known.
    """
    from lrsa_geo import plot

    with _or_say(run.picture("error_against_nodes")) as path:
        plot.error_against_size(store.num_nodes[graphs], by_field, path)
    for name, path in run.pictures_of(by_field).items():
        error = by_field[name]
        order = np.argsort(error)[: np.isfinite(error).sum()]  # NaN comes last
        if not len(order):
            continue
        cases = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
        with _or_say(path):
            meshes = [
                (f"{case} ({error[i]:.2%})", store[graphs[i]], predictions[i])
                for case, i in cases.items()
            ]
            plot.compare(meshes, store.fields["y"], name, path)


def draw_rollouts(
    run: Run,
    view: StepView,
    report: dict[str, Any],
    states_of: Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]],
    cases: dict[str, int],
) -> None:
    """Error over time; a film strip and a moving picture of each field on a typical series.

    Args:
        run: whose pictures they are.
        view: the series.
        report: that of the rollouts.
        states_of: number of a series -> times ``[T]``, truth and prediction ``[T, N, K]``.
        cases: field -> series to draw.
    """
    from lrsa_geo import plot

    with _or_say(run.picture("error_over_time")) as path:
        plot.error_over_time(report["error_at"], report["first_step"], path)
    fields = view.stepping.states
    slices, by_name = column_slices(fields), {field.name: field for field in fields}
    drawn: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for name, path in run.pictures_of(cases).items():
        series = cases[name]
        with _or_say(path):
            if series not in drawn:
                drawn = {series: states_of(series)}
            times, truth, guess = drawn[series]
            shown = truth[..., slices[name]], guess[..., slices[name]]
            mesh = view.series[series]
            plot.film_strip(mesh, by_name[name], times, *shown, path)
            if find_spec("PIL"):
                plot.movie(mesh, by_name[name], times, *shown, path.with_suffix(".gif"))


@contextmanager
def _or_say(path: Path) -> Iterator[Path]:
    try:
        yield path
    except Exception as error:
        print(f"{path} could not be drawn: {type(error).__name__}: {error}", file=sys.stderr)
