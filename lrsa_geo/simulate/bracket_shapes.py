"""Parametric parts like those of a CAD file, drawn and meshed with gmsh's OpenCASCADE kernel."""

from __future__ import annotations

from dataclasses import dataclass

import gmsh
import numpy as np

from lrsa_geo.simulate.gmsh_session import TETRAHEDRA, generate, gmsh_session, grade, mesh_of

FAMILIES = ("plate", "l-bracket", "ribbed l-bracket")
ON_SURFACE = 1e-6  # m


@dataclass(frozen=True)
class Hole:
    """A drilled hole.

    Attributes:
        centre: ``(x, y, z)`` a point on its axis, in m.
        axis: 0, 1 or 2: parallel to x, y or z.
        radius: in m.
    """

    centre: tuple[float, float, float]
    axis: int
    radius: float

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which points ``[..., 3]`` lie on its surface."""
        across = [d for d in range(3) if d != self.axis]
        offset = points[..., across] - np.array(self.centre)[across]
        return np.abs(np.linalg.norm(offset, axis=-1) - self.radius) < ON_SURFACE


@dataclass(frozen=True)
class Part:
    """A bracket; all lengths in m.

    Attributes:
        family: one of ``FAMILIES``.
        length: along x.
        width: along y.
        thickness: of its plates.
        height: along z, of the upright plate; 0 for a plate.
        fillet: radius in the inner corner of an L.
        rib: (length along x, height, thickness) of the rib in the inner corner; None without.
        clamped: holes whose surface does not move.
        loaded: hole that carries the load; None: the face at the end x = length does.
        open: other holes.
    """

    family: str
    length: float
    width: float
    thickness: float
    height: float = 0.0
    fillet: float = 0.0
    rib: tuple[float, float, float] | None = None
    clamped: tuple[Hole, ...] = ()
    loaded: Hole | None = None
    open: tuple[Hole, ...] = ()

    @property
    def holes(self) -> tuple[Hole, ...]:
        """All of them."""
        return (*self.clamped, *((self.loaded,) if self.loaded else ()), *self.open)

    def is_clamped(self, points: np.ndarray) -> np.ndarray:
        """Which points ``[..., 3]`` of the surface do not move."""
        found = np.zeros(points.shape[:-1], dtype=bool)
        for hole in self.clamped:
            found |= hole.contains(points)
        return found

    def is_loaded(self, points: np.ndarray) -> np.ndarray:
        """Which points ``[..., 3]`` of the surface carry the load."""
        if self.loaded is not None:
            return self.loaded.contains(points)
        return np.abs(points[..., 0] - self.length) < ON_SURFACE


def draw_part(rng: np.random.Generator) -> Part:
    """A random part; holes keep clear of each other and of the edges."""
    family = FAMILIES[rng.integers(len(FAMILIES))]
    width = rng.uniform(0.05, 0.10)
    thickness = rng.uniform(0.008, 0.016)
    bolt = rng.uniform(0.004, 0.006)
    inset = rng.uniform(2.2, 3.0) * bolt
    if family == "plate":
        length = rng.uniform(0.12, 0.22)
        rows = [inset, inset + rng.uniform(4, 6) * bolt][: rng.integers(1, 3)]
        clamped = _pairs(rows, width, inset, thickness / 2, bolt)
        # Holes to save weight, between the bolts and the loaded end.
        number = int(rng.integers(1, 4))
        start, end = rows[-1] + 3 * bolt, length - 0.01
        room = (end - start) / number
        lighter = tuple(
            Hole(
                (start + (i + 0.5) * room, width * rng.uniform(0.4, 0.6), thickness / 2),
                2,
                rng.uniform(0.15, 0.38) * min(room, 0.7 * width),
            )
            for i in range(number)
        )
        return Part(family, length, width, thickness, clamped=clamped, open=lighter)
    length, height = rng.uniform(0.07, 0.13, size=2)
    fillet = rng.uniform(0.3, 0.9) * thickness
    clear = thickness + fillet
    pin = rng.uniform(0.005, 0.010)
    at = rng.uniform(clear + 2 * pin, height - 1.8 * pin)
    loaded = Hole((thickness / 2, width * rng.uniform(0.4, 0.6), at), 0, pin)
    rows = [length - inset]
    if rows[0] - 5 * bolt > clear + 2 * bolt and rng.random() < 0.5:
        rows.append(rows[0] - 5 * bolt)
    clamped = _pairs(rows, width, inset, thickness / 2, bolt)
    rib = None
    if family == "ribbed l-bracket":
        # In the middle of the width it stays clear of the bolts at its sides, and of the pin above.
        thick = rng.uniform(0.5, 0.9) * min(thickness, width - 2 * (inset + 1.6 * bolt))
        rib = (
            rng.uniform(0.5, 0.85) * (length - thickness),
            rng.uniform(0.6, 0.95) * (at - 1.6 * pin - thickness),
            thick,
        )
    return Part(family, length, width, thickness, height, fillet, rib, clamped, loaded)


def _pairs(
    rows: list[float], width: float, inset: float, z: float, radius: float
) -> tuple[Hole, ...]:
    """Bolt holes along z, at both sides of the width."""
    return tuple(Hole((x, y, z), 2, radius) for x in rows for y in (inset, width - inset))


def part_mesh(part: Part, size: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Tetrahedra of a part.

    Elements have half the fillet's radius at fillets and 0.6 of the radius at holes, in all meshes:
    the stress at a clamped rim is singular, and would depend on the size of the elements there.

    Args:
        part: what to mesh.
        size: of the elements elsewhere, in m.

    Returns:
        ``points [N, 3]`` in m, ``cells [K, 4]``, and the volume of the exact part in m^3.
    """
    with gmsh_session():
        occ = gmsh.model.occ
        body = [(3, _solid(part))]
        if part.rib is not None:
            body, _ = occ.fuse(body, [(3, _rib(part))])
        reach = max(part.length, part.width, part.height)
        tools = []
        for hole in part.holes:
            start, along = np.array(hole.centre), np.zeros(3)
            along[hole.axis] = 2 * part.thickness
            tools.append((3, occ.addCylinder(*(start - along / 2), *along, hole.radius)))
        if tools:
            body, _ = occ.cut(body, tools)
        occ.synchronize()
        volume = sum(occ.getMass(*entity) for entity in body)
        sizes, number = [], 1
        for hole in part.holes:
            curves = [tag for _, tag in gmsh.model.getEntities(1) if _lies_on(tag, hole)]
            near = min(0.6 * hole.radius, size)
            far = near + 0.5 * reach
            sizes.append(
                grade("CurvesList", curves, near, far, reach=reach, start=0.0, number=number)
            )
            number += 2
        if part.fillet:
            corner = part.thickness + part.fillet
            curves = [
                tag
                for _, tag in gmsh.model.getEntities(1)
                if _ends_fillet(tag, part.thickness, corner)
            ]
            near = min(0.5 * part.fillet, size)
            far = near + 0.5 * reach
            sizes.append(
                grade("CurvesList", curves, near, far, reach=reach, start=0.0, number=number)
            )
            number += 2
        everywhere = gmsh.model.mesh.field.add("MathEval", number)
        gmsh.model.mesh.field.setString(everywhere, "F", repr(float(size)))
        generate(3, [*sizes, everywhere])
        points, cells, _ = mesh_of(TETRAHEDRA, 3)
    return points, cells, float(volume)


def _solid(part: Part) -> int:
    """A plate, or an L whose inner corner is rounded: its profile drawn in y = 0, and pulled."""
    occ = gmsh.model.occ
    length, thick, height = part.length, part.thickness, part.height
    if not height:
        return int(occ.addBox(0, 0, 0, length, part.width, thick))
    corner = thick + part.fillet
    outline = [(0, 0), (length, 0), (length, thick), (corner, thick), (thick, corner)]
    outline += [(thick, height), (0, height)]
    points = [occ.addPoint(x, 0, z) for x, z in outline]
    lines = []
    for i, (start, end) in enumerate(zip(points, points[1:] + points[:1], strict=True)):
        if i == 3:
            lines.append(occ.addCircleArc(start, occ.addPoint(corner, 0, corner), end))
        else:
            lines.append(occ.addLine(start, end))
    face = occ.addPlaneSurface([occ.addCurveLoop(lines)])
    pulled = occ.extrude([(2, face)], 0, part.width, 0)
    return int(next(tag for dim, tag in pulled if dim == 3))


def _rib(part: Part) -> int:
    """A triangle in the inner corner, in the middle of the width."""
    occ = gmsh.model.occ
    assert part.rib is not None
    along, up, thick = part.rib
    start, inside = (part.width - thick) / 2, 0.5 * part.thickness
    corners = [(inside, inside), (part.thickness + along, inside)]
    corners += [(part.thickness + along, part.thickness)]
    corners += [(part.thickness, part.thickness + up), (inside, part.thickness + up)]
    points = [occ.addPoint(x, start, z) for x, z in corners]
    lines = [
        occ.addLine(start, end) for start, end in zip(points, points[1:] + points[:1], strict=True)
    ]
    face = occ.addPlaneSurface([occ.addCurveLoop(lines)])
    pulled = occ.extrude([(2, face)], 0, thick, 0)
    return int(next(tag for dim, tag in pulled if dim == 3))


def _samples(curve: int) -> np.ndarray:
    """Three points inside a curve, ``[3, 3]``."""
    low, high = (bound[0] for bound in gmsh.model.getParametrizationBounds(1, curve))
    at = low + (high - low) * np.array([0.25, 0.5, 0.75])
    return np.array(gmsh.model.getValue(1, curve, at)).reshape(-1, 3)


def _lies_on(curve: int, hole: Hole) -> bool:
    return bool(hole.contains(_samples(curve)).all())


def _ends_fillet(curve: int, thickness: float, corner: float) -> bool:
    """Whether it is one of the straight edges between a fillet and the plates."""
    x, _, z = _samples(curve).T
    lower = np.abs(x - corner) + np.abs(z - thickness)
    upper = np.abs(x - thickness) + np.abs(z - corner)
    return bool((np.minimum(lower, upper) < ON_SURFACE).all())
