r"""A part of a million nodes, predicted by `lrsa-geo predict`; prints memory and time, draws both.

    lrsa-geo train bracket3d --quick --model.mixer lrsa --model.local MeshConv \
        --model.local_blocks=[-1] --data.nodes_per_graph=null --trainer.max_epochs 6
    python datasets/bracket3d/million.py runs/bracket3d-quick [FOLDER] [--nodes 1000000]

gmsh meshes a part of the recipe, and quadratic tetrahedra are cut into eight, as in the data. It is
not solved, which would take a machine of another size. The mesh, with what the model reads, is
written as a VTU file and predicted by the command, in a process of its own whose memory is looked
at ten times a second. The result is read back, compared with what the model gives for the whole
mesh at once, and drawn.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from lrsa_geo import plot
from lrsa_geo.mesh import MeshData, column_slices, read_mesh, with_edges, write_mesh
from lrsa_geo.plot.style import save
from lrsa_geo.simulate.bracket3d import BracketRecipe, graph_of
from lrsa_geo.simulate.bracket_shapes import draw_part, part_mesh
from lrsa_geo.simulate.linear_elasticity import quadratic_body
from lrsa_geo.train import load_surrogate

NODES_PER_CORNER = 7.7  # of quadratic tetrahedra
TETRAHEDRA_PER_CORNER = 5.4
LARGER = 1.8  # volume of gmsh's tetrahedra over that of regular ones of the size asked for
FORCE = (0.0, 600.0, -800.0)


def fine_part(nodes: int) -> MeshData:
    """The first part of the recipe with about so many nodes, and what a model reads of it."""
    part = draw_part(np.random.default_rng([0, 0]))
    _, _, volume = part_mesh(part, 0.01)
    of_one = volume / (TETRAHEDRA_PER_CORNER * nodes / NODES_PER_CORNER)
    size = (of_one / LARGER * 6 * 2**0.5) ** (1 / 3)
    corners, coarse, _ = part_mesh(part, float(size))
    body = quadratic_body(corners, coarse, part.is_clamped, part.is_loaded)
    graph: MeshData = graph_of(body, np.array(FORCE))
    return graph


def write_case(graph: MeshData, folder: Path) -> tuple[Path, Path]:
    """The mesh with its inputs, and the table of its force."""
    mesh, table = folder / "part.vtu", folder / "force.csv"
    slices = column_slices(BracketRecipe().fields["x"])
    fields = {name: graph.x[:, columns] for name, columns in slices.items()}
    write_mesh(mesh, graph, {**fields, "boundary": graph.boundary})
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["file", "force_x", "force_y", "force_z"], [mesh.name, *FORCE]])
    return mesh, table


def watched(command: list[str]) -> list[tuple[float, float]]:
    """Seconds and resident GiB of a command while it runs."""
    page, trace = os.sysconf("SC_PAGE_SIZE"), []
    started = time.monotonic()
    process = subprocess.Popen(command)
    while process.poll() is None:
        resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * page
        trace.append((time.monotonic() - started, resident / 2**30))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(process.returncode)
    return trace


def draw_trace(trace: list[tuple[float, float]], path: Path) -> None:
    """Memory over time."""
    figure = Figure(layout="constrained", figsize=(6, 3))
    axes = figure.subplots()
    axes.plot(*zip(*trace, strict=True))
    axes.set(xlabel="seconds", ylabel="resident memory in GiB", ylim=(0, None))
    axes.grid(alpha=0.3)
    save(figure, path)


def main() -> None:
    """Mesh, predict, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run of bracket3d")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/million"))
    parser.add_argument("--nodes", type=int, default=1_000_000)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    graph = fine_part(arguments.nodes)
    mesh, table = write_case(graph, folder)
    megabytes, seconds = mesh.stat().st_size / 1e6, time.monotonic() - started
    print(
        f"{len(graph.pos):,} nodes, {len(graph.cells):,} tetrahedra, {megabytes:.0f} MB: meshed and"
        f" written in {seconds:.0f} s",
        flush=True,
    )
    result = folder / "predicted.vtu"
    options = ["--cond", str(table), "-o", str(result), "--overwrite"]
    trace = watched(["lrsa-geo", "predict", str(arguments.run), str(mesh), *options])
    print(f"predicted in {trace[-1][0]:.0f} s, at most {max(gib for _, gib in trace):.2f} GiB")
    draw_trace(trace, folder / "memory.png")

    found = read_mesh(result)
    surrogate = load_surrogate(arguments.run).eval()
    with torch.inference_mode():
        at_once = surrogate(with_edges(graph))
    for name, columns in column_slices(surrogate.signature.fields["y"]).items():
        values, whole = found.point_data[f"{name}_predicted"], at_once[:, columns]
        away = (values.reshape(whole.shape) - whole).norm() / whole.norm()
        print(f"{name}: {float(away):.1e} from the prediction of the whole mesh at once")
    figure = Figure(layout="constrained", figsize=(6, 5))
    axes = figure.subplots()
    values = found.point_data["von_mises_predicted"].numpy()
    style = {"cmap": "viridis", "vmin": 0.0, "vmax": float(np.quantile(values, 0.99))}
    drawn = plot.draw_field(axes, found, values, **style)
    figure.colorbar(drawn, ax=axes, label="von Mises stress in Pa")
    save(figure, folder / "predicted.png")


if __name__ == "__main__":
    main()
