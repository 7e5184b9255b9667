"""Random bodies in a channel, and triangles around them."""

from __future__ import annotations

from dataclasses import dataclass

import gmsh
import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from lrsa_geo.simulate.gmsh_session import TRIANGLES, generate, gmsh_session, grade, mesh_of

LENGTH, HEIGHT = 2.2, 0.41  # of the channel in m, as in the benchmark of Schäfer and Turek
SHAPES = ("circle", "ellipse", "polygon")
_OUTLINE_POINTS = 96


@dataclass(frozen=True)
class Body:
    """A closed smooth curve.

    Args:
        outline: ``[P, 2]`` in m, counter-clockwise.
        shape: number in ``SHAPES``.
    """

    outline: np.ndarray
    shape: int

    @property
    def width(self) -> float:
        """Extent across the channel in m, which the Reynolds number refers to."""
        return float(np.ptp(self.outline[:, 1]))

    def onto(self, points: np.ndarray) -> np.ndarray:
        """The points ``[M, 2]`` nearer than a tenth of the width to the outline, moved onto it."""
        ring = np.concatenate([self.outline, self.outline[:1]])
        curve = CubicSpline(np.arange(len(ring)), ring, bc_type="periodic")
        fine = curve(np.linspace(0, len(ring) - 1, 100 * len(ring)))
        distance, nearest = cKDTree(fine).query(points)
        return np.where((distance < 0.1 * self.width)[:, None], fine[nearest], points)

    @classmethod
    def circle(cls, centre: tuple[float, float], diameter: float) -> Body:
        """Of the benchmark: (0.2, 0.2) and 0.1."""
        return cls(np.array(centre) + diameter / 2 * _on_circle(), 0)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Body:
        """Circles, ellipses (axes up to 1 : 2) and rounded polygons of three to six corners.

        They are turned at random and 0.07 to 0.12 m wide, their middles at x of 0.2 to 0.35 m and
        up to 0.03 m from the axis of the channel.
        """
        shape = int(rng.integers(len(SHAPES)))
        points = _on_circle()
        if SHAPES[shape] == "ellipse":
            points = points * [1, rng.uniform(0.5, 0.9)]
        elif SHAPES[shape] == "polygon":
            points = points * _rounded_polygon(int(rng.integers(3, 7)), rng.uniform(5, 12))[:, None]
        turn = rng.uniform(0, 2 * np.pi)
        points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        points = points * (rng.uniform(0.07, 0.12) / np.ptp(points[:, 1]))
        middle = np.array([rng.uniform(0.2, 0.35), HEIGHT / 2 + rng.uniform(-0.03, 0.03)])
        return cls(points - (points.max(0) + points.min(0)) / 2 + middle, shape)


def _on_circle() -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False)
    return np.column_stack([np.cos(angle), np.sin(angle)])


def _rounded_polygon(corners: int, sharpness: float) -> np.ndarray:
    """Radius at the angles of ``_on_circle``: (sum_i max(n_i . d, 0)^s)^(-1/s) for sides n_i."""
    sides = 2 * np.pi * np.arange(corners) / corners
    angle = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False)
    towards = np.maximum(np.cos(angle[:, None] - sides), 0)
    return (towards**sharpness).sum(1) ** (-1 / sharpness)


def channel_mesh(body: Body, num_nodes: float) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of the channel around a body, finest at it and finer in its wake.

    Args:
        body: inside the channel.
        num_nodes: aimed-at number of corners and middles of edges together.

    Returns:
        ``points [n, 2]`` in m and triangles ``cells [K, 3]``.
    """
    scale = (4350 / num_nodes) ** 0.5
    with gmsh_session():
        geo = gmsh.model.geo
        rim = [(0, 0), (LENGTH, 0), (LENGTH, HEIGHT), (0, HEIGHT)]
        corners = [geo.addPoint(x, y, 0) for x, y in rim]
        sides = [geo.addLine(corners[i], corners[(i + 1) % 4]) for i in range(4)]
        ring = [geo.addPoint(x, y, 0) for x, y in body.outline]
        half = len(ring) // 2
        surface = [geo.addSpline(ring[: half + 1]), geo.addSpline([*ring[half:], ring[0]])]
        geo.addPlaneSurface([geo.addCurveLoop(sides), geo.addCurveLoop(surface)])
        geo.synchronize()
        near, far = 0.009 * scale, 0.075 * scale
        sizes = [grade("CurvesList", surface, near, far, reach=0.3, number=1, sampling=200)]
        behind = body.outline[:, 0].max() + 0.25
        sizes.append(_wake(body, 0.02 * scale, far, until=behind, spread=0.75, number=3))
        sizes.append(_wake(body, 0.034 * scale, far, until=LENGTH, spread=1.0, number=4))
        generate(2, sizes)
        points, cells, _ = mesh_of(TRIANGLES, 2)
    return points, cells


def _wake(body: Body, near: float, far: float, *, until: float, spread: float, number: int) -> int:
    """Elements of size ``near`` from the body to ``until``, ``spread`` widths to either side."""
    fields = gmsh.model.mesh.field
    fields.add("Box", number)
    middle = body.outline[:, 1].mean()
    bounds = {
        "VIn": near,
        "VOut": far,
        "XMin": body.outline[:, 0].min(),
        "XMax": until,
        "YMin": middle - spread * body.width,
        "YMax": middle + spread * body.width,
        "Thickness": 0.1,
    }
    for option, value in bounds.items():
        fields.setNumber(number, option, value)
    return number
