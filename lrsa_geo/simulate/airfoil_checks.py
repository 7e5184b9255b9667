"""The airfoil's solver against known solutions: the figures on the data card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lrsa_geo.simulate.airfoil import airfoil_mesh, karman_tsien, markers
from lrsa_geo.simulate.airfoil_shapes import Outline
from lrsa_geo.simulate.potential_flow import solve_flow
from lrsa_geo.simulate.quantities import AIRFOIL

JOUKOWSKI = complex(-0.1, 0.05)  # centre of the circle, which passes through 1


@dataclass(frozen=True)
class Deviation:
    """From an exact solution.

    Attributes:
        num_nodes: of the mesh.
        lift: relative, with its sign.
        pressure: root mean square over the airfoil's nodes of the pressure coefficient's error.
    """

    num_nodes: int
    lift: float
    pressure: float


class _Joukowski:
    """The airfoil that z = w + 1 / w makes of a circle."""

    nose_radius = 0.012

    def __init__(self, centre: complex) -> None:
        self.centre = centre
        self.radius = abs(1 - centre)
        ring = self._ring(2001)
        self.start, self.chord = ring.real.min(), np.ptp(ring.real)

    def _ring(self, number: int) -> np.ndarray:
        tail = np.angle(1 - self.centre)
        w = self.centre + self.radius * np.exp(1j * (tail + np.linspace(0, 2 * np.pi, number)))
        return w + 1 / w

    def points(self, number: int) -> np.ndarray:
        """See :meth:`Outline.points`."""
        ring = (self._ring(2 * number + 1)[:-1] - self.start) / self.chord
        return np.column_stack([ring.real, ring.imag])

    def exact(self, points: np.ndarray, angle: float) -> tuple[np.ndarray, float]:
        """Pressure coefficient at points on the airfoil, and the lift coefficient."""
        z = (points[:, 0] + 1j * points[:, 1]) * self.chord + self.start
        root = np.sqrt(z * z - 4 + 0j)
        one, other = (z + root) / 2, (z - root) / 2
        w = np.where(abs(one - self.centre) >= abs(other - self.centre), one, other)
        turn = np.arcsin(self.centre.imag / self.radius)
        circulation = 4 * np.pi * self.radius * np.sin(angle + turn)
        d = w - self.centre
        flow = np.exp(-1j * angle) - self.radius**2 * np.exp(1j * angle) / d**2
        speed = abs((flow + 1j * circulation / (2 * np.pi * d)) / (1 - 1 / w**2))
        return 1 - speed**2, 2 * circulation / self.chord


def joukowski_check(centre: complex, num_nodes: float, angle: float = 4.0) -> Deviation:
    """Incompressible flow around a Joukowski airfoil against the exact solution.

    Args:
        centre: of the circle that is mapped.
        num_nodes: aimed-at size of the mesh.
        angle: of attack in degrees.
    """
    outline = _Joukowski(centre)
    points, cells, tail = airfoil_mesh(outline, num_nodes)
    flow = solve_flow(points, cells, tail, 0.0, angle, centre=(0.5, 0.03))
    body = np.flatnonzero(markers(points, cells) == AIRFOIL)
    body = body[body != tail]
    pressure, lift = outline.exact(points[body], np.radians(angle))
    missed = flow.pressure_coefficient[body] - pressure
    return Deviation(
        len(points), 2 * flow.circulation / lift - 1, float(np.sqrt((missed**2).mean()))
    )


def naca(thickness: float) -> Outline:
    """A symmetric airfoil of NACA's four-digit series, its trailing edge closed."""
    x = (1 + np.cos(np.linspace(0, 2 * np.pi, 241))) / 2
    half = thickness / 0.2 * (0.2969 * np.sqrt(x) - 0.126 * x - 0.3516 * x**2)
    half += thickness / 0.2 * (0.2843 * x**3 - 0.1015 * x**4)
    return Outline.fit(np.column_stack([x, np.where(np.arange(241) <= 120, half, -half)]))[0]


def validate(quick: bool = False) -> Iterator[tuple[str, float, str]]:
    """What was checked, the figure, and what it would be ideally.

    Args:
        quick: coarse meshes only.
    """
    for nodes in (2500, 5000, 10000, 20000)[: 1 if quick else 4]:
        found = joukowski_check(JOUKOWSKI, nodes)
        about = f"Joukowski, 4 deg, {found.num_nodes:,} nodes"
        yield f"{about}: lift, relative", found.lift, "0"
        yield f"{about}: pressure coefficient, r.m.s.", found.pressure, "0"
    mesh = airfoil_mesh(naca(0.12), 2500 if quick else 6000)
    middle = (0.3, 0.0)
    still = solve_flow(*mesh, 0.0, 0.0, middle)
    yield "NACA 0012, 0 deg: lift", 2 * still.circulation, "0"
    slow = solve_flow(*mesh, 0.0, 4.0, middle)
    thin = 2 * np.pi * (1 + 0.77 * 0.12) * np.sin(np.radians(4))
    yield "NACA 0012, 4 deg: lift over that of thin airfoils", 2 * slow.circulation / thin, "1"
    gentle = solve_flow(*mesh, 0.0, 1.0, middle)
    lowest = float(gentle.pressure_coefficient.min())
    for mach in (0.3, 0.6):
        flow = solve_flow(*mesh, mach, 1.0, middle)
        ratio = flow.pressure_coefficient.min() / karman_tsien(lowest, mach)
        yield f"NACA 0012, 1 deg, Mach {mach}: lowest pressure over Karman-Tsien's", ratio, "1"
        glauert = flow.circulation / gentle.circulation * np.sqrt(1 - mach**2)
        yield f"NACA 0012, 1 deg, Mach {mach}: lift over Prandtl-Glauert's", glauert, "1, or above"
