"""A folder of VTU files such as any solver leaves behind: heat in plates with hot holes.

    python examples/plates.py cases 60

Every plate is another rectangle with one to three round holes, on a mesh of its own (gmsh). The
holes have a temperature T_h; the outer edge loses heat to air of 20 °C, k dT/dn = -h (T - 20).
Steady conduction, -div(k grad T) = 0 with k = 50 W/(m K), is solved with linear triangles
(scikit-fem). The table ``cases/table.csv`` holds T_h and h of each file.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import gmsh
import meshio
import numpy as np
import skfem
from skfem.helpers import dot, grad

CONDUCTIVITY, AIR = 50.0, 20.0
INSIDE, OUTER, HOLE = 0, 1, 2


def draw_mesh(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points ``[N, 2]`` and triangles ``[K, 3]`` of a random plate."""
    width, radius, count = rng.uniform(1, 2), rng.uniform(0.06, 0.1), rng.integers(1, 4)
    centres = np.column_stack(
        [
            width * (np.arange(count) + rng.uniform(0.35, 0.65, count)) / count,
            rng.uniform(0.25, 0.75, count),
        ]
    )
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.option.setNumber("Mesh.MeshSizeMax", rng.uniform(0.04, 0.07))
        gmsh.option.setNumber("Mesh.MeshSizeFromCurvature", 24)
        occ = gmsh.model.occ
        plate = occ.addRectangle(0, 0, 0, width, 1)
        holes = [(2, occ.addDisk(x, y, 0, radius, radius)) for x, y in centres]
        occ.cut([(2, plate)], holes)
        occ.synchronize()
        gmsh.model.mesh.generate(2)
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        _, _, (nodes,) = gmsh.model.mesh.getElements(2)
    finally:
        gmsh.finalize()
    used, triangles = np.unique(nodes, return_inverse=True)
    row = {tag: number for number, tag in enumerate(tags)}
    points = coordinates.reshape(-1, 3)[[row[tag] for tag in used], :2]
    return points, triangles.reshape(-1, 3)


def solve(
    points: np.ndarray, triangles: np.ndarray, hole_temperature: float, loss: float
) -> dict[str, np.ndarray]:
    """Temperature in °C, heat flux in W/m² and the part of the boundary, at the nodes."""
    mesh = skfem.MeshTri(np.ascontiguousarray(points.T), np.ascontiguousarray(triangles.T))
    width, height = points.max(0)
    x, y = mesh.p[:, mesh.facets[:, mesh.boundary_facets()]].mean(1)
    on_box = (np.minimum(x, width - x) < 1e-9) | (np.minimum(y, height - y) < 1e-9)
    outer, holes = mesh.boundary_facets()[on_box], mesh.boundary_facets()[~on_box]
    basis = skfem.Basis(mesh, skfem.ElementTriP1())
    edge = skfem.FacetBasis(mesh, skfem.ElementTriP1(), facets=outer)

    conduction = skfem.BilinearForm(lambda u, v, w: CONDUCTIVITY * dot(grad(u), grad(v)))
    cooling = skfem.BilinearForm(lambda u, v, w: loss * u * v)
    air = skfem.LinearForm(lambda v, w: loss * AIR * v)
    temperature = np.full(basis.N, hole_temperature)
    temperature = skfem.solve(
        *skfem.condense(
            conduction.assemble(basis) + cooling.assemble(edge),
            air.assemble(edge),
            x=temperature,
            D=basis.get_dofs(holes),
        )
    )
    gradient = basis.interpolate(temperature).grad
    flux = np.column_stack([-CONDUCTIVITY * basis.project(component) for component in gradient])
    part = np.full(basis.N, INSIDE, dtype=np.int32)
    part[mesh.facets[:, outer]] = OUTER
    part[mesh.facets[:, holes]] = HOLE
    return {
        "temperature": temperature,
        "heat_flux": np.pad(flux, ((0, 0), (0, 1))),
        "part": part,
    }


def make_folder(folder: str | Path, count: int) -> None:
    """Write ``plate0.vtu``, ... and ``table.csv``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "table.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "hole_temperature [°C]", "loss [W/(m2 K)]"])
        for number in range(count):
            rng = np.random.default_rng(number)
            points, triangles = draw_mesh(rng)
            hole_temperature, loss = rng.uniform(60, 200), 10 ** rng.uniform(1, 3)
            fields = solve(points, triangles, hole_temperature, loss)
            meshio.write_points_cells(
                folder / f"plate{number}.vtu",
                np.pad(points, ((0, 0), (0, 1))),
                [("triangle", triangles)],
                point_data=fields,
            )
            table.writerow([f"plate{number}.vtu", hole_temperature, loss])


if __name__ == "__main__":
    make_folder(sys.argv[1], int(sys.argv[2]))
