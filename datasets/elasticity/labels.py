"""How far the targets are from those of finer meshes: what no model can be asked to beat.

    python datasets/elasticity/labels.py runs/elasticity [--graphs 8]

Of the first test cells of a finished run every triangle is cut into four and the cell is solved
again; the nodes of the own mesh are nodes of the finer one, so nothing is interpolated. Prints the
distance between both stresses and the error of the model, over the norm of the stress, by where the
nodes are; and for inner nodes the correlation of the two (-1 where the model is right and the mesh
too coarse), of their values and of what is left of these beside the mean of a node's neighbours.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import CellsToEdges
from lrsa_geo.simulate import recipe_class
from lrsa_geo.simulate.diffusion import triangles
from lrsa_geo.simulate.elasticity import INTERIOR, VOID
from lrsa_geo.simulate.hyperelasticity import MooneyRivlin, solve
from lrsa_geo.train import load_config, load_surrogate, predict

CORNER = 0.06  # m: nearer to a clamped corner the exact stress is singular


def refined(points: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Four triangles in place of each, counter-clockwise; the old nodes come first."""
    finer = triangles(points, cells).refined().oriented()
    return finer.p.T, finer.t.T


def stress_of_finer(graph: Data, material: MooneyRivlin) -> np.ndarray:
    """At the nodes of a graph, solved on the finer mesh."""
    points, cells = graph.pos.double().numpy(), graph.cells.long().numpy()
    traction = np.array([0.0, float(graph.cond[0, 0])])
    return solve(*refined(points, cells), traction, material).von_mises[: len(points)]


def roughness(values: np.ndarray, edge_index: Tensor) -> np.ndarray:
    """A node's value minus the mean of its neighbours'."""
    source, target = edge_index
    of_neighbours = scatter(torch.from_numpy(values)[source], target, reduce="mean")
    return values - of_neighbours.numpy()


def figures(graph: Data, prediction: np.ndarray, material: MooneyRivlin) -> list[float]:
    """A cell's line of the table."""
    own = graph.y[:, 0].double().numpy()
    mesh = own - stress_of_finer(graph, material)
    model = prediction - own
    x, y = graph.pos.double().numpy().T
    corner = (np.minimum(x, 1 - x) < CORNER) & (y < CORNER)
    void, inside = graph.boundary.numpy() == VOID, graph.boundary.numpy() == INTERIOR
    parts = (np.ones_like(void), corner, void, inside & ~corner)
    norm = np.linalg.norm(own)
    found = [np.linalg.norm(e[part]) / norm for part in parts for e in (mesh, model)]
    edges = CellsToEdges()(graph.clone()).edge_index
    rough = [roughness(values, edges) for values in (mesh, model)]
    for one, other in ((mesh, model), rough):
        found.append(np.corrcoef(one[parts[-1]], other[parts[-1]])[0, 1])
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("run", type=Path, help="folder of a finished run of `elasticity`")
    parser.add_argument("--graphs", type=int, default=8, help="test cells")
    given = parser.parse_args()
    config, surrogate = load_config(given.run / "config.yaml"), load_surrogate(given.run)
    if config.data.recipe != "elasticity":
        raise SystemExit(f"{given.run}: a run of {config.name}, expected one of elasticity")
    material = recipe_class("elasticity")().material
    store = MeshStore(config.data.path)
    numbers = json.loads((given.run / "metrics.json").read_text())["test_graphs"][: given.graphs]
    rows = []
    for number in numbers:
        graph = store[number]
        prediction = predict(surrogate, graph)[:, 0].double().numpy()
        rows.append(figures(graph, prediction, material))
    mean, std = np.mean(rows, axis=0), np.std(rows, axis=0)
    print("| nodes | own mesh against the finer one | model against the own mesh |\n|---|---|---|")
    for place, name in enumerate(("all", "at clamped corners", "at the void", "inside")):
        cells = (f"{mean[k]:.4f} ± {std[k]:.4f}" for k in (2 * place, 2 * place + 1))
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"correlation inside: {mean[-2]:.2f}, beside the neighbours' mean {mean[-1]:.2f}")


if __name__ == "__main__":
    main()
