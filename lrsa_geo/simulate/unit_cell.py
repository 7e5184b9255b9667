"""Triangle meshes of a unit square with a random star-shaped void in its middle.

The radius of the void (arXiv 2207.05209, section 4.1) is

    r(t) = 0.2 + 0.2 / (1 + exp(g(t))),    g ~ N(0, 4^2 (-d^2/dt^2 + 3^2)^-1).
"""

from __future__ import annotations

import gmsh
import numpy as np

from lrsa_geo.simulate.gmsh_session import TRIANGLES, generate, gmsh_session, grade, mesh_of


def void_radius(rng: np.random.Generator, modes: int, num_angles: int = 96) -> np.ndarray:
    """Radius of the void at equally spaced angles, ``[num_angles]`` in m, between 0.2 and 0.4.

    g is summed from its Karhunen-Loeve series on the circle: standard deviation
    4 (k^2 + 9)^(-1/2) times the orthonormal functions of wave number k.
    """
    angle = np.linspace(0, 2 * np.pi, num_angles, endpoint=False)
    k = np.arange(1, modes + 1)
    cosine, sine = rng.normal(size=(2, modes)) * 4 / np.sqrt(k**2 + 9) / np.sqrt(np.pi)
    g = rng.normal() * 4 / 3 / np.sqrt(2 * np.pi)
    g = g + cosine @ np.cos(np.outer(k, angle)) + sine @ np.sin(np.outer(k, angle))
    return 0.2 + 0.2 / (1 + np.exp(g))


def unit_cell_mesh(
    num_nodes: float, radius: np.ndarray | None = None, skew: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Triangulate the unit square, with a void around its centre if ``radius`` is given.

    The edge length follows from ``num_nodes`` and is 0.65 of it at the void. At the clamped
    corners the stress is singular, so the value at those nodes depends on the size of the elements
    there: it is the same, 0.03 m, in all meshes, or the target itself would depend on the mesh.

    Args:
        num_nodes: aimed-at number of nodes.
        radius: radius of the void at equally spaced angles.
        skew: elements on the right side are exp(skew) times as large as on the left.

    Returns:
        ``points [N, 2]`` in m and triangles ``cells [K, 3]``, counter-clockwise.

    Raises:
        RuntimeError: gmsh, which has one state per process, is in use.
    """
    area = 1.0
    if radius is not None:
        area -= np.pi * np.mean(radius**2)
    size = np.sqrt(area / (0.866 * num_nodes)) * 1.22
    with gmsh_session():
        geo = gmsh.model.geo
        corners = [geo.addPoint(x, y, 0) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
        sides = [geo.addLine(corners[i], corners[(i + 1) % 4]) for i in range(4)]
        loops = [geo.addCurveLoop(sides)]
        void: list[int] = []
        if radius is not None:
            angle = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
            ring = [
                geo.addPoint(0.5 + r * np.cos(a), 0.5 + r * np.sin(a), 0)
                for r, a in zip(radius, angle, strict=True)
            ]
            half = len(ring) // 2
            void = [geo.addSpline(ring[: half + 1]), geo.addSpline([*ring[half:], ring[0]])]
            loops.append(geo.addCurveLoop(void))
        geo.addPlaneSurface(loops)
        geo.synchronize()
        sizes = [grade("PointsList", corners[:2], 0.03, size, reach=0.25, number=1)]
        if void:
            sizes.append(grade("CurvesList", void, 0.65 * size, size, reach=0.15, number=3))
        if skew:
            sizes = [_skewed(corners[:2], sizes, skew)]
        generate(2, sizes)
        points, cells, _ = mesh_of(TRIANGLES, 2)
    return points, cells


def _skewed(corners: list[int], sizes: list[int], skew: float) -> int:
    """Sizes times exp(skew (x - 1/2)), but still 0.03 m at the clamped corners."""
    fields = gmsh.model.mesh.field
    fields.add("Min", 20)
    fields.setNumbers(20, "FieldsList", sizes)
    fields.add("MathEval", 21)
    fields.setString(21, "F", f"F20 * Exp({skew!r} * (x - 0.5))")
    at_corners = grade("PointsList", corners, 0.03, 1e-3, reach=0.1, number=22)
    fields.add("Max", 24)
    fields.setNumbers(24, "FieldsList", [21, at_corners])
    return 24
