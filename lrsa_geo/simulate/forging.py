"""Forging: a metal block under a die of random profile, step by step.

After the problem of Geo-FNO (arXiv 2207.05209, section 4.2): a block of 50 mm x 15 mm, clamped at
its base, in plane strain, and a rigid die that comes down on it. The solver is in
``finite_plasticity.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.mesh import Field, Fields, quad_cells
from lrsa_geo.mesh.cells import QUAD
from lrsa_geo.simulate.finite_plasticity import Block, Metal, Press, Profile
from lrsa_geo.simulate.solution_graph import Series, solution_graph

INTERIOR, CLAMPED, SIDE, TOP = range(4)  # markers of the nodes, kept in `Data.boundary`
LENGTH, HEIGHT = 0.05, 0.015  # of the block in m
MODES = 4


@dataclass(frozen=True)
class ForgingRecipe:
    """The distribution of the samples; together with ``seed`` it fixes every one of them.

    Args:
        samples: number of dies.
        seed: sample ``i`` is drawn from ``numpy.random.default_rng([seed, i])``.
        columns: nodes along the block.
        rows: nodes across it.
        frames: positions of the die after the first one, at which it touches the block.
        stroke: way of the die from there in m.
        relief: range of the difference between the die's lowest and highest point in m (uniform).
        metal: constants of the block.
    """

    name: ClassVar[str] = "forging"
    libraries: ClassVar[tuple[str, ...]] = ("lrsa_geo", "numpy", "scipy")

    samples: int = 240
    seed: int = 0
    columns: int = 33
    rows: int = 11
    frames: int = 20
    stroke: float = 2.5e-3
    relief: tuple[float, float] = (0.5e-3, 2e-3)
    metal: Metal = field(default_factory=Metal)

    def __post_init__(self) -> None:
        """Refuse blocks and strokes that cannot be.

        Raises:
            ValueError: naming the values.
        """
        if self.columns < 3 or self.rows < 3 or self.frames < 1:
            raise ValueError(
                f"columns is {self.columns}, rows is {self.rows}, frames is {self.frames}, expected"
                " at least 3, 3 and 1"
            )
        if not 0 < self.stroke < HEIGHT / 2 or not 0 <= self.relief[0] <= self.relief[1]:
            raise ValueError(
                f"stroke is {self.stroke} m, relief is {self.relief} m, expected a stroke above 0"
                f" and below {HEIGHT / 2} m, half the block's height, and a range from 0 on"
            )

    @property
    def fields(self) -> dict[str, Fields]:
        """Names and units of the columns of ``x`` and ``states``."""
        return {
            "x": (Field("die", "m"),),
            "states": (Field("displacement", "m", ("x", "y")), Field("plastic_strain")),
        }

    def sample(self, index: int) -> Data:
        """Draw and solve sample ``index``, alone.

        Raises:
            SampleError: there is no equilibrium, however short the steps of the die.
        """
        rng = np.random.default_rng([self.seed, index])
        data = self.solved(random_die(rng, self.relief))
        data.sample = torch.tensor([index])
        return data

    def solved(self, die: Profile) -> Data:
        """Press a block with one die, whose profile is in m above its lowest point.

        Raises:
            SampleError: as :meth:`sample`.
        """
        points, cells = block_grid(self.columns, self.rows)
        press = Press(self.metal, points, cells, lambda x: HEIGHT + die(x))
        block = Block.at_rest(points, cells)
        displacement, plastic = [block.displacement], [block.at_nodes(block.plastic_strain)]
        depth = self.stroke * np.arange(self.frames + 1) / self.frames
        for before, to in pairwise(depth):
            block = press.pressed(block, float(before), float(to))
            displacement.append(block.displacement)
            plastic.append(block.at_nodes(block.plastic_strain))
        return solution_graph(
            points,
            cells,
            QUAD,
            markers(points),
            inputs=[die(points[:, 0])],
            series=Series(depth / self.stroke, [np.stack(displacement), np.stack(plastic)]),
        )


def random_die(rng: np.random.Generator, relief: tuple[float, float]) -> Profile:
    """A smooth profile above 0, in m: four cosines with normal amplitudes that fall as 1 / k."""
    k = np.arange(1, MODES + 1)
    amplitudes = rng.normal(size=MODES) / k
    height = rng.uniform(*relief)

    def waves(x: np.ndarray) -> np.ndarray:
        return np.cos(np.pi * np.outer(x / LENGTH, k)) @ amplitudes

    sampled = waves(np.linspace(0, LENGTH, 1001))
    low, high = sampled.min(), sampled.max()
    return lambda x: height * (waves(np.clip(x, 0, LENGTH)) - low) / (high - low)


def block_grid(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """``points [N, 2]`` in m, y fastest, and quads ``cells [K, 4]``, counter-clockwise."""
    x, y = np.linspace(0, LENGTH, columns), np.linspace(0, HEIGHT, rows)
    points = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    return points, quad_cells(columns, rows)["cells"].numpy().astype(np.int64)


def markers(points: np.ndarray) -> np.ndarray:
    """``INTERIOR``, ``CLAMPED``, ``SIDE`` or ``TOP`` for each node, ``[N]`` int8."""
    x, y = points.T
    found = np.full(len(points), INTERIOR, dtype=np.int8)
    found[np.isclose(x, 0) | np.isclose(x, LENGTH)] = SIDE
    found[np.isclose(y, HEIGHT)] = TOP
    found[np.isclose(y, 0)] = CLAMPED
    return found
