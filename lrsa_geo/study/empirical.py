"""The solution operator of a data set, as far as a linear one fits: its empirical kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lrsa_geo.data import MeshStore
from lrsa_geo.study.spectrum import Spectrum

RIDGES = 10.0 ** np.arange(-8, 1)
"""Of which the best is taken, as shares of the largest squared singular value of the inputs."""


@dataclass(frozen=True)
class EmpiricalKernel:
    """The linear operator that fits a data set best.

    Attributes:
        kernel: its singular values.
        targets: those of the centred target fields themselves over sqrt(S): how many fields span
            them. It holds for nonlinear operators too.
        error: relative L2 error on graphs that were left out, see :func:`fit_kernel`. Where it is
            near 1 the operator is not linear, and ``kernel`` says little of it.
        ridge: that gave the least error.
    """

    kernel: Spectrum
    targets: Spectrum
    error: float
    ridge: float


def fit_kernel(inputs: np.ndarray, outputs: np.ndarray) -> EmpiricalKernel:
    r"""Ridge regression of output fields on input fields, both centred.

    .. math::
        K = \arg\min_K \sum_s \| y_s - K a_s \|^2 + \lambda \| K \|_F^2
          = Y^T P \, \frac{\Sigma}{\Sigma^2 + \lambda} \, Q^T
        \quad \text{with} \quad A = P \Sigma Q^T

    Its rank is below S, whatever the operator is: what the inputs do not span is unknown. The
    ridge is the one of least error
    :math:`\sqrt{\sum_s \|y_s - K_{-s} a_s\|^2 / \sum_s \|y_s - \bar y_{-s}\|^2}`, where
    :math:`K_{-s}` and :math:`\bar y_{-s}` are those of the other graphs; a prediction by the mean
    has error 1.

    Args:
        inputs: ``[S, n]`` A, a row for each graph, already times the roots of the measures.
        outputs: ``[S, m]`` Y, likewise.

    Raises:
        ValueError: fewer than three graphs, or all inputs or outputs are the same.
    """
    count = len(inputs)
    if count < 3 or len(outputs) != count:
        raise ValueError(f"{count} inputs and {len(outputs)} outputs, expected the same, 3 or more")
    a, y = inputs - inputs.mean(0), outputs - outputs.mean(0)
    if not a.any() or not y.any():
        raise ValueError("all graphs have the same inputs, or the same outputs")
    p, sigma, _ = np.linalg.svd(a, full_matrices=False)
    p, sigma = p[:, : count - 1], sigma[: count - 1]  # centred: the last direction holds nothing
    of_targets = p.T @ y
    errors = []
    for ridge in RIDGES:
        gain = sigma**2 / (sigma**2 + ridge * sigma[0] ** 2)
        # A graph's own share in its prediction, that in the mean included.
        own = 1 / count + np.square(p) @ gain
        missed = (y - p @ (gain[:, None] * of_targets)) / (1 - own)[:, None]
        errors.append(float(np.sqrt(np.square(missed).sum() / np.square(y).sum())))
    by_mean = count / (count - 1)  # y over 1 - 1/S: what the mean of the others misses
    best = int(np.argmin(errors))
    gain = sigma / (sigma**2 + RIDGES[best] * sigma[0] ** 2)
    return EmpiricalKernel(
        Spectrum.of_matrix("empirical kernel", gain[:, None] * of_targets, limit=count - 1),
        Spectrum.of_matrix("target fields", y / np.sqrt(count), limit=count - 1),
        errors[best] / by_mean,
        float(RIDGES[best]),
    )


def empirical_kernel(store: MeshStore, graphs: int | None = None) -> EmpiricalKernel:
    r"""The kernel of a data set whose graphs share one mesh, see :func:`fit_kernel`.

    Every column of ``x`` and ``y`` is divided by its standard deviation over nodes and graphs, and
    every node weighed by the root of its measure, so that singular values are those of an operator
    between square-integrable functions.

    Args:
        store: with ``x`` and ``y``.
        graphs: of which the first so many are taken; None for all.

    Raises:
        ValueError: the graphs have no input fields, values that are not numbers, or meshes of their
            own: then there is no one matrix between their fields. The message names the store.
    """
    for array in ("x", "y"):
        if array not in store.arrays:
            raise ValueError(
                f"{store.path}: the graphs have no `{array}`; an empirical kernel is a matrix"
                " between the fields `x` and `y` of one mesh"
            )
    count = len(store) if graphs is None else min(graphs, len(store))
    wanted: list[str] = [array for array in ("pos", "x", "y", "measure") if array in store.arrays]
    first = store.arrays_of(0, wanted)
    fields: dict[str, list[np.ndarray]] = {"x": [], "y": []}
    for number in range(count):
        graph = store.arrays_of(number, wanted)
        pos = graph["pos"]
        if pos.shape != first["pos"].shape or not bool((pos == first["pos"]).all()):
            raise ValueError(
                f"{store.path}: graph {number} has another mesh than graph 0; an empirical kernel"
                " is a matrix between the fields of one mesh. The mixing of a trained model"
                " (`lrsa-geo spectrum RUN`) can be measured on any"
            )
        for array, of_graphs in fields.items():
            of_graphs.append(graph[array].numpy())
    nodes = len(first["pos"])
    measure = first["measure"].numpy() if "measure" in first else np.full(nodes, 1 / nodes)
    for array, of_graphs in fields.items():
        if not np.isfinite(of_graphs).all():
            raise ValueError(f"{store.path}: some of `{array}` are not numbers")
    return fit_kernel(_rows(fields["x"], measure), _rows(fields["y"], measure))


def _rows(fields: list[np.ndarray], measure: np.ndarray) -> np.ndarray:
    """``[S, N F]`` the fields ``[N, F]`` of each graph, columns scaled, nodes weighed."""
    values = np.stack(fields).astype(float)
    spread = values.std(axis=(0, 1))
    values = values / np.where(spread > 0, spread, 1) * np.sqrt(measure)[:, None]
    return values.reshape(len(values), -1)
