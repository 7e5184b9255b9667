"""Where low rank is not enough: a problem whose spectrum is turned from fast to slow decay."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from lrsa_geo.nn import MIXERS, GeometryOperator
from lrsa_geo.plot import error_against_rank
from lrsa_geo.study.line import Law, LineTraining, PeriodicKernel
from lrsa_geo.study.statistics import check_once, check_seeds
from lrsa_geo.study.tables import made_with, markdown_rows, spread, write_table

REFERENCE = "full"
"""The mixer that knows no rank, against which the others are held."""
SIZES = {"num_latents": "M", "modes": "modes"}
"""Arguments of mixers that bound their rank, and how a table calls them."""


@dataclass(frozen=True)
class DecayRow:
    """A training of a decay study.

    Attributes:
        rate: of the decay, see :class:`PeriodicKernel`.
        rank: effective rank of the operator at 99 % of its norm.
        model: "lrsa, M = 8", "spectral, modes = 8" (cosines and sines, so a rank of 15), or the
            name alone of a mixer that has neither.
        seed: of weights and inputs.
        parameters: of the model.
        error: relative L2 on inputs that were not trained on.
        seconds: of the training.
    """

    rate: float
    rank: int
    model: str
    seed: int
    parameters: int
    error: float
    seconds: float


@dataclass(frozen=True)
class DecayStudy:
    """Which mixers are trained on which operators; see :class:`PeriodicKernel`.

    Every model gets the same number of steps and sees the same inputs.

    Args:
        rates: of the decay, from fast to slow.
        law: of the decay.
        mixers: names of ``MIXERS``.
        latents: M of the mixers that have it; modes of those that have these.
        seeds: of weights and inputs.
        channels, heads, depth: of every model.
        training: steps, batch and learning rate; its seed is not read.

    Raises:
        ValueError: there is no such mixer, or nothing to train.
    """

    rates: Sequence[float] = (1.0, 0.5, 0.25, 0.12, 0.06, 0.0)
    law: Law = "exponential"
    mixers: Sequence[str] = ("lrsa", REFERENCE)
    latents: Sequence[int] = (4, 8, 16, 32)
    seeds: Sequence[int] = (0, 1, 2)
    channels: int = 32
    heads: int = 4
    depth: int = 1
    training: LineTraining = field(default_factory=LineTraining)

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_mixers(self.mixers)
        if "spectral" in self.mixers and max(self.latents, default=0) > PeriodicKernel.nodes // 2:
            raise ValueError(
                f"`latents` is {[*self.latents]}: layers of waves have at most"
                f" {PeriodicKernel.nodes // 2} modes on {PeriodicKernel.nodes} nodes"
            )
        for name in ("rates", "latents"):
            check_once(name, getattr(self, name))
        if min(self.latents) < 1:
            raise ValueError(f"`latents` is {[*self.latents]}, expected at least 1")
        check_seeds(self.seeds)
        for rate in self.rates:
            PeriodicKernel(rate, self.law)

    def models(self) -> dict[str, tuple[str, int]]:
        """Name in tables -> mixer and number of latents, or of modes."""
        models = {}
        for mixer in self.mixers:
            arguments = inspect.signature(MIXERS[mixer]).parameters
            size = next((shown for name, shown in SIZES.items() if name in arguments), None)
            for number in self.latents if size else self.latents[:1]:
                models[f"{mixer}, {size} = {number}" if size else mixer] = (mixer, number)
        return models

    def run(self) -> list[DecayRow]:
        """Train everything; a line is printed for each training."""
        rows = []
        for rate in self.rates:
            kernel = PeriodicKernel(rate, self.law)
            rank = kernel.spectrum().rank(0.99)
            assert rank is not None  # all singular values are known
            for seed in self.seeds:
                for name, (mixer, latents) in self.models().items():
                    row = self._row(kernel, rank, name, mixer, latents, seed)
                    found = f"{row.error:.4f}"
                    print(f"rate {rate:g}, rank {rank}, {name}, seed {seed}: {found}", flush=True)
                    rows.append(row)
        return rows

    def _row(
        self, kernel: PeriodicKernel, rank: int, name: str, mixer: str, latents: int, seed: int
    ) -> DecayRow:
        training = replace(self.training, seed=seed)
        model = line_model(mixer, latents, seed, self.channels, self.heads, self.depth)
        started = time.process_time()
        training.fit(model, kernel)
        seconds = time.process_time() - started
        parameters = sum(p.numel() for p in model.parameters())
        error = training.test(model, kernel)
        return DecayRow(kernel.rate, rank, name, seed, parameters, error, seconds)


def line_model(
    mixer: str, latents: int, seed: int, channels: int = 32, heads: int = 4, depth: int = 1
) -> GeometryOperator:
    """A small model for a :class:`PeriodicKernel`, with weights that the seed fixes.

    Layers of waves, which need the number of points, have ``latents`` modes.
    """
    options = {"grid": [PeriodicKernel.nodes], "modes": latents} if mixer == "spectral" else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GeometryOperator(
            in_channels=1,
            out_channels=1,
            pos_dim=1,
            channels=channels,
            heads=heads,
            depth=depth,
            num_latents=latents,
            mixer=mixer,
            mixer_options=options,
            fourier_octaves=4,
        )


def check_mixers(names: Sequence[str]) -> None:
    """Refuse names that are no mixers.

    Raises:
        ValueError: naming the first such one; there is none at all, or one twice.
    """
    check_once("mixers", names)
    for name in names:
        if name not in MIXERS:
            raise ValueError(f"there is no mixer '{name}', expected one of {', '.join(MIXERS)}")


def errors_of(rows: Sequence[DecayRow], model: str, rate: float) -> np.ndarray:
    """``[seeds]`` errors of a model at a rate, NaN for a training that diverged."""
    return np.array([row.error for row in rows if (row.model, row.rate) == (model, rate)])


def not_enough(rows: Sequence[DecayRow], model: str) -> int | None:
    """The effective rank from which on a model is behind full attention in every seed.

    A training that diverged is behind.

    Returns:
        The least such rank of those that were measured; None if the model is not behind at the
        slowest decay, or there is no full attention among the rows.
    """
    ranks = {row.rate: row.rank for row in rows}
    behind: int | None = None
    for rate in sorted(ranks):  # from slow to fast, as far as it is behind without a gap
        own, full = errors_of(rows, model, rate), errors_of(rows, REFERENCE, rate)
        if len(own) != len(full) or not (np.isnan(own) | (own > full)).all():
            break
        behind = ranks[rate]
    return behind


def run_decay(study: DecayStudy, folder: Path) -> str:
    """Run a study and write ``decay.csv``, ``decay.md`` and ``decay.png`` into a folder.

    Returns:
        The text of ``decay.md``.
    """
    rows = study.run()
    write_table(
        folder / "decay.csv",
        [list(DecayRow.__dataclass_fields__), *(list(vars(row).values()) for row in rows)],
    )
    curves = {}
    for model in study.models():
        each = [errors_of(rows, model, rate) for rate in study.rates]
        ranks = [next(row.rank for row in rows if row.rate == rate) for rate in study.rates]
        curves[model] = (np.array(ranks), np.array(each))
    error_against_rank(curves, folder / "decay.png")
    text = _markdown(study, rows)
    write_table(folder / "decay.md", text)
    return text


def _markdown(study: DecayStudy, rows: list[DecayRow]) -> str:
    training, models = study.training, study.models()
    blocks = "one block" if study.depth == 1 else f"{study.depth} blocks"
    kernel = PeriodicKernel(study.rates[0], study.law)
    lines = [
        f"Shift and smoothing on a periodic line of {kernel.nodes} nodes, {kernel.modes} waves,"
        f" {study.law} decay of the singular values. {training.steps} steps of"
        f" {training.batch} inputs, learning rate {training.learning_rate:g}, {study.channels}"
        f" channels, {study.heads} heads, {blocks}; seeds"
        f" {', '.join(map(str, study.seeds))}. Relative L2 error, mean ± standard deviation over"
        " the seeds.",
        "",
    ]
    table = []
    for rate in study.rates:
        rank = next(row.rank for row in rows if row.rate == rate)
        cells = [spread(errors_of(rows, model, rate)) for model in models]
        table.append([f"{rate:g}", str(rank), *cells])
    lines += markdown_rows(["rate of decay", "rank at 99 %", *models], table)
    if REFERENCE in models and len(models) > 1:
        lines += ["", f"Behind {REFERENCE} attention in every seed, up to the slowest decay:", ""]
        for model in models:
            if model != REFERENCE:
                first = not_enough(rows, model)
                found = "not behind" if first is None else f"from an effective rank of {first} on"
                lines.append(f"- {model}: {found}")
    return "\n".join([*lines, "", made_with()]) + "\n"
