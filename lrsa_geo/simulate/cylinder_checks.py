"""The solver of the cylinder against the benchmark of Schäfer and Turek: figures on the data card.

M. Schäfer, S. Turek, Benchmark computations of laminar flow around a cylinder (1996), cases 2D-1
and 2D-2: a circle of 0.1 m at (0.2 m, 0.2 m). Coefficients refer to the mean speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lrsa_geo.simulate.cylinder import (
    BODY,
    SPEED,
    coefficients,
    markers,
    start_flow,
    steps_between,
)
from lrsa_geo.simulate.cylinder_shapes import Body, channel_mesh
from lrsa_geo.simulate.incompressible import TaylorHood

CIRCLE = Body.circle((0.2, 0.2), 0.1)
INTERVAL = 0.01  # s between the forces that are looked at


@dataclass(frozen=True)
class Wake:
    """Forces on the benchmark's circle.

    Attributes:
        num_nodes: of the mesh.
        drag: coefficients, one for each time.
        lift: likewise.
    """

    num_nodes: int
    drag: np.ndarray
    lift: np.ndarray

    @property
    def strouhal(self) -> float:
        """Frequency of the lift times the diameter over the mean speed, by its upward zeros."""
        return frequency(self.lift, INTERVAL) * CIRCLE.width / SPEED


def frequency(signal: np.ndarray, interval: float) -> float:
    """Periods in a unit of time: between the first and the last time that the middle is passed.

    The middle is that of the largest and the smallest value, passed upwards; NaN if it is passed
    less than twice.

    Args:
        signal: at equal distances in time.
        interval: the distance.

    Examples:
        >>> import numpy as np
        >>> from lrsa_geo.simulate.cylinder_checks import frequency
        >>> round(frequency(np.sin(2 * np.pi * 3.3 * np.arange(200) / 100), 0.01), 3)
        3.3
    """
    level = signal - (signal.max() + signal.min()) / 2
    before = np.flatnonzero((level[:-1] < 0) & (level[1:] >= 0))
    if len(before) < 2:
        return float("nan")
    passed = before + level[before] / (level[before] - level[before + 1])
    return float((len(passed) - 1) / (interval * (passed[-1] - passed[0])))


def benchmark(reynolds: float, num_nodes: float, until: float, kept: float) -> Wake:
    """Forces over the last ``kept`` seconds of the flow from a creeping start.

    Args:
        reynolds: 20 for case 2D-1, 100 for 2D-2.
        num_nodes: aimed-at size of the mesh.
        until: end in s.
        kept: see above.
    """
    spaces = TaylorHood.of(*channel_mesh(CIRCLE, num_nodes), CIRCLE.onto)
    steps = steps_between(spaces, INTERVAL)
    flow = start_flow(spaces, CIRCLE, SPEED * CIRCLE.width / reynolds, INTERVAL / steps)
    surface = np.flatnonzero(markers(spaces) == BODY)
    forces = []
    for _ in range(round(until / INTERVAL)):
        flow.advance(steps)
        forces.append(flow.force(surface))
    last = np.stack(forces[-round(kept / INTERVAL) :])
    drag, lift = coefficients(last, CIRCLE).T
    return Wake(len(spaces.points), drag, lift)


def validate(quick: bool = False) -> Iterator[tuple[str, float, str]]:
    """What was checked, the figure, and the benchmark's range.

    Args:
        quick: a coarse mesh only.
    """
    for num_nodes in (2000, 4000, 8000)[: 1 if quick else 3]:
        steady = benchmark(20, num_nodes, until=4.0, kept=INTERVAL)
        about = f"Re 20, {steady.num_nodes:,} nodes"
        yield f"{about}: drag", float(steady.drag[-1]), "5.57 to 5.59"
        yield f"{about}: lift", float(steady.lift[-1]), "0.0104 to 0.0110"
    for num_nodes in (2000, 4000, 8000)[: 1 if quick else 3]:
        wake = benchmark(100, num_nodes, until=6.0, kept=2.0)
        about = f"Re 100, {wake.num_nodes:,} nodes"
        yield f"{about}: largest drag", float(wake.drag.max()), "3.22 to 3.24"
        yield f"{about}: largest lift", float(wake.lift.max()), "0.99 to 1.01"
        yield f"{about}: Strouhal number", wake.strouhal, "0.295 to 0.305"
