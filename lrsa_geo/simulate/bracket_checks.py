"""The solver of solids against known solutions: the figures on the data card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from skfem import MeshTet

from lrsa_geo.simulate.bracket_shapes import Hole, Part, part_mesh
from lrsa_geo.simulate.linear_elasticity import Material, SolidSolution, solve_solid

LENGTH, HEIGHT = 1.0, 0.1  # of the beam, in m; its width is its height
FORCE = 1000.0  # N


@dataclass(frozen=True)
class Beam:
    """A cantilever against beam theory.

    Attributes:
        num_nodes: of the solution.
        deflection: of the loaded end over F L^3 / (3 E I) + F L / (5/6 G A) (Timoshenko's).
        stress: in the outermost fibre half way, over M h / (2 I).
    """

    num_nodes: int
    deflection: float
    stress: float


def cantilever(divisions: int, material: Material | None = None) -> Beam:
    """A square beam, clamped at one end and loaded across at the other.

    Args:
        divisions: cells across the height; ten times as many along the beam.
        material: steel by default.
    """
    material = material or Material()
    across = np.linspace(0, HEIGHT, divisions + 1)
    along = np.linspace(0, LENGTH, 10 * divisions + 1)
    mesh = MeshTet.init_tensor(along, across, across)
    solution = solve_solid(
        mesh.p.T,
        mesh.t.T,
        lambda points: np.abs(points[..., 0]) < 1e-9,
        lambda points: np.abs(points[..., 0] - LENGTH) < 1e-9,
        np.array([0, 0, -FORCE]),
        material,
    )
    inertia = HEIGHT**4 / 12
    _, shear = material.lame
    expected = FORCE * LENGTH**3 / (3 * material.young * inertia)
    expected += FORCE * LENGTH / (5 / 6 * shear * HEIGHT**2)
    x, _, z = solution.points.T
    end = np.abs(x - LENGTH) < 1e-9
    fibre = (np.abs(x - LENGTH / 2) < 1e-9) & (np.abs(z - HEIGHT) < 1e-9)
    bending = FORCE * LENGTH / 2 * HEIGHT / 2 / inertia
    return Beam(
        len(solution.points),
        float(-solution.displacement[end, 2].mean() / expected),
        float(solution.stress[fibre, 0, 0].mean() / bending),
    )


def patch(slope: np.ndarray, size: float = 0.02) -> tuple[SolidSolution, np.ndarray]:
    """A plate with a hole whose whole surface is moved as a linear field says.

    Args:
        slope: ``[3, 3]`` gradient of the displacement.
        size: of the elements in m.

    Returns:
        The solution, and the displacement ``[N, 3]`` that it should have.
    """
    part = Part("plate", 0.1, 0.06, 0.02, open=(Hole((0.05, 0.03, 0.01), 2, 0.012),))
    points, cells, _ = part_mesh(part, size)
    solution = solve_solid(
        points,
        cells,
        lambda at: np.ones(at.shape[:-1], dtype=bool),
        lambda at: np.abs(at[..., 0] - part.length) < 1e-9,
        np.zeros(3),
        Material(),
        prescribed=lambda at: at @ slope.T,
    )
    return solution, solution.points @ slope.T


def kirsch(size: float) -> float:
    """Peak stress at a small hole in a plate under tension, over three times the tension.

    Kirsch's solution is for an infinite plate; at a hole of a tenth of the width the factor is
    3.03 of the tension far away (Peterson's Stress Concentration Factors, chart 4.1).

    Args:
        size: of the elements in m.
    """
    part = Part("plate", 0.1, 0.05, 0.004, open=(Hole((0.05, 0.025, 0.002), 2, 0.0025),))
    points, cells, _ = part_mesh(part, size)
    force = 1000.0
    solution = solve_solid(
        points,
        cells,
        lambda at: np.abs(at[..., 0]) < 1e-9,
        part.is_loaded,
        np.array([force, 0, 0]),
        Material(),
    )
    rim = part.open[0].contains(solution.points)
    return float(solution.stress[rim, 0, 0].max() / (3 * force / (part.width * part.thickness)))


def validate(quick: bool = False) -> Iterator[tuple[str, float, str]]:
    """What was checked, the figure, and what it would be ideally.

    Args:
        quick: coarse meshes only.
    """
    for divisions in (1, 2, 4)[: 2 if quick else 3]:
        beam = cantilever(divisions)
        about = f"cantilever, {beam.num_nodes:,} nodes"
        yield f"{about}: deflection over Timoshenko's", beam.deflection, "1"
        yield f"{about}: bending stress over the beam's", beam.stress, "1"
    slope = np.array([[1.0, 0.3, -0.2], [0.1, -0.5, 0.4], [0.2, -0.1, 0.7]]) * 1e-3
    solution, expected = patch(slope)
    error = np.abs(solution.displacement - expected).max() / np.abs(expected).max()
    yield "patch test: largest error of the displacement, relative", float(error), "0"
    for size in (0.004,) if quick else (0.004, 0.002):
        yield (
            f"small hole, elements of {1e3 * size:.0f} mm: stress over Kirsch's",
            kirsch(size),
            "1",
        )
