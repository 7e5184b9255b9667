"""Navier-Stokes: forced flow on a periodic square, the vorticity at successive times.

The problem of FNO (arXiv 2010.08895, section 5.3): a random vorticity is stirred by
0.1 (sin 2 pi (x + y) + cos 2 pi (x + y)) and damped by viscosity. The solver is in
``vorticity.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.mesh import Field, Fields, grid_positions, quad_cells
from lrsa_geo.mesh.cells import QUAD
from lrsa_geo.simulate.solution_graph import Series, solution_graph
from lrsa_geo.simulate.vorticity import flow_frames, fno_forcing, random_vorticity


@dataclass(frozen=True)
class NavierStokesRecipe:
    """The distribution of the samples; together with ``seed`` it fixes every one of them.

    Args:
        samples: number of flows.
        seed: sample ``i`` is drawn from ``numpy.random.default_rng([seed, i])``.
        viscosity: range (log-uniform); where its ends differ, ``cond`` has the viscosity.
        resolution: points along a side of the grid on which the equation is solved: 64 resolve
            1e-3, 128 resolve 1e-4, 256 resolve 1e-5.
        every: of these points, every so manieth is kept: 64 and 2 leave 32 x 32.
        frames: number of times kept.
        interval: time between them; the first is one interval after the start.
        scale: the initial vorticity is N(0, scale (-Laplacian + 49)^-2.5). 686 = 2 x 7^3 is that of
            FNO's public script, 18.5 = 7^1.5 that of the paper's text.
    """

    name: ClassVar[str] = "navier_stokes"
    libraries: ClassVar[tuple[str, ...]] = ("lrsa_geo", "numpy", "scipy")

    samples: int = 1200
    seed: int = 0
    viscosity: tuple[float, float] = (1e-3, 1e-3)
    resolution: int = 64
    every: int = 2
    frames: int = 20
    interval: float = 1.0
    scale: float = 686.0

    def __post_init__(self) -> None:
        """Refuse flows that cannot be.

        Raises:
            ValueError: naming the values.
        """
        if self.resolution < 8 or self.every < 1 or self.resolution % self.every:
            raise ValueError(
                f"every is {self.every} and resolution {self.resolution}, expected a divisor of a"
                " resolution of at least 8, so that the kept points are evenly spaced around the"
                " square"
            )
        low, high = self.viscosity
        if not 0 < low <= high:
            raise ValueError(f"viscosity is {self.viscosity}, expected 0 < lowest <= highest")
        if self.frames < 2 or self.interval <= 0:
            raise ValueError(
                f"frames is {self.frames}, interval is {self.interval}, expected at least two"
                " frames and an interval above 0"
            )

    @property
    def fields(self) -> dict[str, Fields]:
        """Names and units of the columns of ``states`` and ``cond``."""
        low, high = self.viscosity
        fields: dict[str, Fields] = {"states": (Field("vorticity"),)}
        if low != high:
            fields["cond"] = (Field("viscosity"),)
        return fields

    def sample(self, index: int) -> Data:
        """Draw and solve sample ``index``, alone.

        Raises:
            SampleError: the flow is finer than the grid.
        """
        rng = np.random.default_rng([self.seed, index])
        low, high = self.viscosity
        viscosity = low if low == high else float(np.exp(rng.uniform(np.log(low), np.log(high))))
        start = random_vorticity(rng, self.resolution, self.scale)
        times = self.interval * np.arange(1, self.frames + 1)
        frames = flow_frames(start, viscosity, times, fno_forcing(self.resolution))
        kept = frames[:, :: self.every, :: self.every]
        data = torus_graph(kept, times, None if low == high else viscosity)
        data.sample = torch.tensor([index])
        return data


def torus_graph(frames: np.ndarray, times: np.ndarray, viscosity: float | None = None) -> Data:
    """Vorticity ``[T, n, n]`` on a periodic grid as a graph; rows follow x, columns y.

    The cells do not join the opposite sides of the square; the measure does, it is 1 / n^2.
    """
    n = frames.shape[1]
    data = solution_graph(
        grid_positions(n, n, endpoint=False).double().numpy(),
        quad_cells(n, n)["cells"].numpy(),
        QUAD,
        np.zeros(n * n, dtype=np.int8),
        cond=None if viscosity is None else [viscosity],
        series=Series(times, [frames.reshape(len(frames), n * n)]),
    )
    data.measure = torch.full((n * n,), 1 / n**2)
    return data
