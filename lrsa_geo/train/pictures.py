"""The pictures of a run. One that cannot be drawn is named; it never ends a training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lrsa_geo.data import MeshStore
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


@contextmanager
def _or_say(path: Path) -> Iterator[Path]:
    try:
        yield path
    except Exception as error:
        print(f"{path} could not be drawn: {type(error).__name__}: {error}", file=sys.stderr)
