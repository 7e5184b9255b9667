"""Low precision: what it does to errors, gradients and sums over many nodes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from lrsa_geo.nn import MIXERS, GeometryOperator, LowRankMixer, NodeLayout
from lrsa_geo.plot import errors_in_precision
from lrsa_geo.study.decay import check_mixers, line_model
from lrsa_geo.study.line import LOSS_SCALE, LineTraining, PeriodicKernel, Precision
from lrsa_geo.study.statistics import check_once, check_seeds
from lrsa_geo.study.tables import made_with, markdown_rows, spread, write_table

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
KERNEL = PeriodicKernel(rate=0.25)
"""The problem that the models are trained on."""


@dataclass(frozen=True)
class PrecisionRow:
    """A training in one precision.

    Attributes:
        mixer: name.
        precision: "float32", or that of autocast.
        seed: of weights and inputs.
        error: relative L2 of the trained model on new inputs, NaN if it diverged or could not run.
        gradient: of a fresh model, see :func:`gradient_deviation`; NaN likewise.
        note: why there is no error; empty if there is one.
    """

    mixer: str
    precision: Precision
    seed: int
    error: float
    gradient: float
    note: str = ""


@dataclass(frozen=True)
class SumsRow:
    """Latents of a mixer on a graph of so many nodes.

    Attributes:
        mixer: name.
        precision: "float32", or that of autocast.
        nodes: of the graph.
        deviation: of the latents from those in float64, relative L2; infinite if some of them are
            no numbers, NaN if they could not be worked out.
        note: why not; empty if they could.
    """

    mixer: str
    precision: Precision
    nodes: int
    deviation: float
    note: str = ""


def gradient_deviation(
    model: GeometryOperator, precision: Precision, kernel: PeriodicKernel = KERNEL, seed: int = 0
) -> float:
    r"""How far gradients in low precision are from those of the same model in float64.

    .. math:: \max_\theta \; \| g_\theta - g^{64}_\theta \| \, / \, \| g^{64}_\theta \|

    over all tensors of parameters, of the relative L2 loss on one batch. float16's loss is scaled
    by 2^10 for it, as in a training. A tensor whose gradient in float64 is below 1e-9 of the
    largest one does not count: it has none but rounding.

    Args:
        model: is not changed.
        precision: of the products.
        kernel: makes the batch.
        seed: of the batch.

    Returns:
        Infinity if a gradient is not finite.
    """
    a, u = kernel.draw(16, np.random.default_rng([seed, 2]))
    exact = _gradients(copy.deepcopy(model).double(), "float32", a.double(), u.double())
    found = _gradients(copy.deepcopy(model), precision, a, u)
    least = 1e-9 * max(float(g.norm()) for g in exact)
    deviations = [
        float((g.double() - g64).norm() / g64.norm())
        for g, g64 in zip(found, exact, strict=True)
        if g64.norm() > least
    ]
    return max(deviations) if np.isfinite(deviations).all() else float("inf")


def _gradients(
    model: GeometryOperator, precision: Precision, a: torch.Tensor, u: torch.Tensor
) -> list[torch.Tensor]:
    scale = LOSS_SCALE if precision == "float16" else 1.0
    training = LineTraining(precision=precision)
    (training.error(model, a, u).mean() * scale).backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad / scale for p in model.parameters()]


def train_in(
    mixer: str, precision: Precision, seed: int, steps: int = 300, latents: int = 16
) -> PrecisionRow:
    """Train a small model in one precision; a failure is a row too.

    Args:
        mixer: name of `lrsa_geo.nn.MIXERS`.
        precision: of the products.
        seed: of weights and inputs.
        steps: of the training.
        latents: M.
    """
    model = line_model(mixer, latents, seed)
    nan = float("nan")
    try:
        gradient = gradient_deviation(model, precision, seed=seed)
        training = LineTraining(steps, seed=seed, precision=precision)
        losses = training.fit(model, KERNEL)
        error = training.test(model, KERNEL)
    except RuntimeError as reason:  # a product that PyTorch has not in this precision
        return PrecisionRow(mixer, precision, seed, nan, nan, _not_available(reason))
    if not np.isfinite([losses[-1], error]).all():
        return PrecisionRow(
            mixer, precision, seed, nan, gradient, f"diverged at step {len(losses)}"
        )
    return PrecisionRow(mixer, precision, seed, error, gradient)


@torch.no_grad()
def sums_over(
    mixer: str, precision: Precision, nodes: int, latents: int = 4, seed: int = 0
) -> SumsRow:
    """What low precision does to the latents of a graph of so many nodes.

    The layer has 8 channels and one head; node features are random.

    Args:
        mixer: name of `lrsa_geo.nn.MIXERS`.
        precision: of the products.
        nodes: of the graph.
        latents: M; the fewer, the more nodes belong to each.
        seed: of weights and features.
    """
    if not issubclass(MIXERS[mixer], LowRankMixer):
        return SumsRow(mixer, precision, nodes, float("nan"), "not available: there are no latents")
    layer = line_model(mixer, latents, seed, channels=8, heads=1).blocks[0].mixer
    assert isinstance(layer, LowRankMixer)
    rows = torch.randn(nodes, 8, generator=torch.Generator().manual_seed(seed))
    layout = NodeLayout([nodes], like=rows)
    try:
        with torch.autocast("cpu", getattr(torch, precision), enabled=precision != "float32"):
            found = layer.compress(layer.prepare(rows), layout).double()
    except RuntimeError as reason:
        return SumsRow(mixer, precision, nodes, float("nan"), _not_available(reason))
    exact = layer.double().compress(layer.prepare(rows.double()), layout)
    deviation = float((found - exact).norm() / exact.norm())
    return SumsRow(mixer, precision, nodes, deviation if np.isfinite(deviation) else float("inf"))


def _not_available(reason: RuntimeError) -> str:
    return f"not available: {' '.join(str(reason).split())[:120]}"


@dataclass(frozen=True)
class PrecisionStudy:
    """Which mixers are tried in which precision.

    Args:
        mixers: names of ``MIXERS``.
        precisions: "float32", "bfloat16", "float16".
        seeds: of weights and inputs.
        steps: of each training.
        nodes: sizes of the graphs whose latents are looked at; empty for none.

    Raises:
        ValueError: there is no such mixer or precision, or nothing to train.
    """

    mixers: Sequence[str] = ("lrsa", "transolver")
    precisions: Sequence[Precision] = PRECISIONS
    seeds: Sequence[int] = (0, 1, 2)
    steps: int = 300
    nodes: Sequence[int] = (2**12, 2**14, 2**16, 2**18, 2**20)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_mixers(self.mixers)
        check_once("precisions", self.precisions)
        check_seeds(self.seeds)
        for precision in self.precisions:
            LineTraining(self.steps, precision=precision)
        if any(count < 1 for count in self.nodes):
            raise ValueError(f"`nodes` holds {min(self.nodes)}, expected at least 1")
        if self.nodes:
            check_once("nodes", self.nodes)


def run_precision(study: PrecisionStudy, folder: Path) -> str:
    """Run a study; ``precision.csv``, ``sums.csv``, ``precision.md`` and a picture in a folder.

    Returns:
        The text of ``precision.md``.
    """
    rows, sums = [], []
    for mixer in study.mixers:
        for precision in study.precisions:
            for seed in study.seeds:
                rows.append(train_in(mixer, precision, seed, study.steps))
                found = rows[-1].note or f"error {rows[-1].error:.4f}"
                print(f"{mixer}, {precision}, seed {seed}: {found}", flush=True)
            sums += [sums_over(mixer, precision, count) for count in study.nodes]
    for name, kind, of_kind in (("precision", PrecisionRow, rows), ("sums", SumsRow, sums)):
        values = [list(vars(row).values()) for row in of_kind]
        write_table(folder / f"{name}.csv", [list(kind.__dataclass_fields__), *values])
    errors_in_precision(
        {key: (np.array(e), np.array(g)) for key, (e, g) in _by_kind(rows).items()},
        {
            key: (np.array(study.nodes), np.array([r.deviation for r in of_kind]))
            for key in _by_kind(rows)
            if (of_kind := [r for r in sums if (r.mixer, r.precision) == key])
        },
        folder / "precision.png",
    )
    text = _markdown(study, rows, sums)
    write_table(folder / "precision.md", text)
    return text


def _by_kind(
    rows: Sequence[PrecisionRow],
) -> dict[tuple[str, str], tuple[list[float], list[float]]]:
    """Errors and gradients' deviations over the seeds, for each mixer and precision."""
    found: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for row in rows:
        errors, gradients = found.setdefault((row.mixer, row.precision), ([], []))
        errors.append(row.error)
        gradients.append(row.gradient)
    return found


def _markdown(study: PrecisionStudy, rows: list[PrecisionRow], sums: list[SumsRow]) -> str:
    lines = [
        f"Shift and smoothing on a periodic line (rate {KERNEL.rate:g}), one block of 32 channels,"
        f" 4 heads, M = 16; {study.steps} steps, seeds {', '.join(map(str, study.seeds))}; products"
        " in the given precision by autocast on a CPU. Error: relative L2 on new inputs, mean ±"
        " standard deviation over the seeds. Gradients: the largest deviation of a parameter's"
        " gradient from float64's, relative, before training, the worst seed.",
        "",
    ]
    table = []
    for (mixer, precision), (errors, gradients) in _by_kind(rows).items():
        notes = {r.note for r in rows if (r.mixer, r.precision) == (mixer, precision) and r.note}
        whole = [error for error in errors if np.isfinite(error)]
        failed = f"{len(errors) - len(whole)} of {len(errors)}: {'; '.join(sorted(notes))}"
        table.append(
            [mixer, precision, spread(whole), f"{max(gradients):.1e}", failed if notes else "none"]
        )
    lines += markdown_rows(["mixer", "precision", "error", "gradients", "diverged"], table)
    if sums:
        lines += ["", *_sums_table(study, sums)]
    return "\n".join([*lines, "", made_with()]) + "\n"


def _sums_table(study: PrecisionStudy, sums: list[SumsRow]) -> list[str]:
    table = []
    for mixer in study.mixers:
        for precision in study.precisions:
            of_kind = [row for row in sums if (row.mixer, row.precision) == (mixer, precision)]
            table.append([mixer, precision, *(f"{row.deviation:.1e}" for row in of_kind)])
    return [
        "Deviation of the latents from float64's on a graph of so many random nodes (8 channels,"
        " one head, M = 4; inf: not numbers any more, nan: not available):",
        "",
        *markdown_rows(["mixer", "precision", *(f"{n:,}" for n in study.nodes)], table),
    ]
