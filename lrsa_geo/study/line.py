"""Linear problems on a periodic line whose singular values are chosen, and training on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from lrsa_geo.nn import GeometryOperator, NodeLayout
from lrsa_geo.study.spectrum import Spectrum
from lrsa_geo.train import Muon

Law = Literal["exponential", "power"]
"""How the singular values of a :class:`PeriodicKernel` fall with the wave number."""

Precision = Literal["float32", "bfloat16", "float16"]
"""Of the products in a training; all but float32 by autocast, float16 with scaled losses."""

LOSS_SCALE = 2.0**10
"""By which float16's losses are multiplied at first: their gradients are too small for it."""


@dataclass(frozen=True)
class PeriodicKernel:
    r"""u = K a on a periodic line: carried along by a shift, and smoothed as much as is asked for.

    .. math::
        \hat u_j = s_j \, e^{-2 \pi i j \tau} \, \hat a_j, \qquad
        s_j = e^{-r j} \;\text{or}\; (1 + j)^{-r}, \qquad j = 0, \dots, J

    for the Fourier coefficients, and 0 beyond J. Inputs are white noise of the 2 J + 1 functions
    that are left. The singular values are exactly :math:`s_0, s_1, s_1, s_2, s_2, \dots`: a large
    rate r leaves a few of them, with r = 0 nothing is smoothed and all are 1, so that no operator
    of lower rank comes near. The shift makes it a problem that no node solves by itself, and that
    one sharp attention of every node to the place upstream solves at any rate.

    Args:
        rate: r.
        law: of the decay.
        nodes: on the line, at equal distances.
        modes: J, below half the number of nodes.
        shift: tau, as a share of the line.

    Raises:
        ValueError: naming the value.

    Examples:
        >>> from lrsa_geo.study import PeriodicKernel
        >>> [PeriodicKernel(rate).spectrum().rank(0.99) for rate in (1.0, 0.0)]
        [4, 25]
    """

    rate: float
    law: Law = "exponential"
    nodes: int = 64
    modes: int = 12
    shift: float = 0.3

    def __post_init__(self) -> None:
        """Refuse what has no such spectrum."""
        if self.law not in get_args(Law):
            raise ValueError(f"`law` is '{self.law}', expected one of {', '.join(get_args(Law))}")
        if not 0 <= self.rate < math.inf:
            raise ValueError(f"`rate` is {self.rate}, expected a number of at least 0")
        if not 1 <= self.modes < self.nodes / 2:
            raise ValueError(
                f"`modes` is {self.modes}, expected 1 or more and less than half of the"
                f" {self.nodes} nodes"
            )

    @property
    def gains(self) -> np.ndarray:
        """``[J + 1]`` s, of the wave numbers 0 to J."""
        wave = np.arange(self.modes + 1)
        gains: np.ndarray = (
            np.exp(-self.rate * wave) if self.law == "exponential" else (1.0 + wave) ** -self.rate
        )
        return gains

    def spectrum(self) -> Spectrum:
        """The singular values, exactly: each wave has a sine and a cosine."""
        values = np.repeat(self.gains, 2)[1:]
        return Spectrum(f"{self.law} decay, rate {self.rate:g}", values, limit=len(values))

    def apply(self, a: np.ndarray) -> np.ndarray:
        """K a, ``[..., nodes]`` -> ``[..., nodes]``."""
        waves = np.fft.rfft(a)
        wave = np.arange(self.modes + 1)
        waves[..., : self.modes + 1] *= self.gains * np.exp(-2j * np.pi * wave * self.shift)
        waves[..., self.modes + 1 :] = 0
        return np.fft.irfft(waves, self.nodes)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Random inputs, and outputs over their root mean square, both ``[count, nodes]``."""
        dimension = 2 * self.modes + 1
        waves = np.fft.rfft(rng.standard_normal((count, self.nodes)))
        waves[:, self.modes + 1 :] = 0
        a = np.fft.irfft(waves, self.nodes) * np.sqrt(self.nodes / dimension)
        rms = self.spectrum().norm / np.sqrt(dimension)
        u = self.apply(a) / rms
        return torch.from_numpy(a).float(), torch.from_numpy(u).float()


@dataclass(frozen=True)
class LineTraining:
    """How a model is trained on a :class:`PeriodicKernel`: fresh inputs in each step.

    Args:
        steps: of the optimiser, Muon with a cycle of the learning rate.
        batch: inputs in a step.
        learning_rate: highest one.
        seed: of weights and inputs.
        precision: of the products.

    Raises:
        ValueError: naming the value.
    """

    steps: int = 300
    batch: int = 16
    learning_rate: float = 1e-2
    seed: int = 0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        """Refuse what is no training."""
        if self.precision not in get_args(Precision):
            raise ValueError(
                f"`precision` is '{self.precision}', expected one of"
                f" {', '.join(get_args(Precision))}"
            )
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected at least 1")

    def fit(self, model: GeometryOperator, kernel: PeriodicKernel) -> list[float]:
        """Train a model; the loss of every step.

        It ends at a loss that is not a number; float16's steps of gradients that are none are
        skipped, as is usual, and its loss scaled down.
        """
        rng = np.random.default_rng([self.seed, 0])
        optimizer = Muon.of(model, model.blocks, self.learning_rate)
        schedule = OneCycleLR(optimizer, self.learning_rate, total_steps=max(self.steps, 4))
        scaler = torch.amp.GradScaler("cpu", LOSS_SCALE, enabled=self.precision == "float16")
        losses: list[float] = []
        for _ in range(self.steps):
            loss = self.error(model, *kernel.draw(self.batch, rng)).mean()
            losses.append(loss.item())
            if not np.isfinite(losses[-1]):
                break
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
        return losses

    def error(self, model: GeometryOperator, a: Tensor, u: Tensor) -> Tensor:
        """Relative L2 error of every input ``[B, nodes]`` -> ``[B]``, in float32 or float64."""
        pos = torch.arange(a.shape[1], dtype=a.dtype) / a.shape[1] * 2 - 1
        layout = NodeLayout([a.shape[1]] * len(a), like=a)
        with torch.autocast(
            "cpu", getattr(torch, self.precision), enabled=self.precision != "float32"
        ):
            guess = model(a.reshape(-1, 1), pos.repeat(len(a))[:, None], layout)
        missed = guess.to(u.dtype).view_as(u) - u
        return torch.linalg.vector_norm(missed, dim=1) / torch.linalg.vector_norm(u, dim=1)

    @torch.no_grad()
    def test(self, model: GeometryOperator, kernel: PeriodicKernel, count: int = 128) -> float:
        """Mean relative L2 error on inputs that no training sees."""
        rng = np.random.default_rng([self.seed, 1])
        errors = [self.error(model, *kernel.draw(16, rng)) for _ in range(-(-count // 16))]
        return float(torch.cat(errors).mean())
