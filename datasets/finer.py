"""Does a model of coarse meshes hold on finer ones? Its test samples, meshed and solved anew.

    python datasets/finer.py runs/airfoil runs/darcy [--factor 4] [--graphs 20]

Of each finished run of a data set that comes with the library, test samples are drawn once more
with the same numbers, and so the same shapes and loads, on meshes of FACTOR times as many nodes.
Prints the relative L2 error of each field on both meshes, with sums that are quadratures (nodes
weighted by their length, area or volume), so that it is the same norm on both, and how much it
grows. A sample whose finer mesh made its recipe draw something else is left out, and counted.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.data import open_store
from lrsa_geo.simulate import recipe_class
from lrsa_geo.simulate.make import provenance
from lrsa_geo.train import errors_of_one, load_config, load_surrogate, predict


def finer(recipe: Any, factor: float) -> Any:
    """The recipe with meshes of so many times as many nodes."""
    if recipe.name == "darcy":  # points of a grid that are kept
        every = recipe.every / factor**0.5
        if every != int(every):
            raise SystemExit(f"--factor is {factor:g}, expected 4, 25 or 100 for darcy's grid")
        return replace(recipe, every=int(every))
    nodes = {
        what: round(factor * getattr(recipe, what))
        for what in ("min_nodes", "max_nodes")
        if hasattr(recipe, what)
    }
    if recipe.name == "bracket3d":
        low, high = (size / factor ** (1 / 3) for size in recipe.size)
        # Holes keep their elements: the finer meshes have fewer than FACTOR times the nodes.
        return replace(recipe, size=(low, high), min_nodes=1, max_nodes=nodes["max_nodes"])
    if not nodes:
        raise SystemExit(f"there is no finer mesh for the recipe '{recipe.name}'")
    return replace(recipe, **nodes)


def alike(one: Data, other: Data) -> bool:
    """Whether two graphs are of one domain, and loads that hardly differ."""
    sizes = [float(graph.measure.sum()) for graph in (one, other)]
    first, second = (torch.stack([g.pos.amin(0), g.pos.amax(0)]) for g in (one, other))
    far = float((first[1] - first[0]).max())
    same = abs(sizes[1] / sizes[0] - 1) < 0.02 and torch.allclose(first, second, atol=0.02 * far)
    for array in ("cond", "group"):
        if one.get(array) is not None:
            same = same and torch.allclose(one[array].float(), other[array].float(), rtol=0.02)
    return same


def lines_of(run: Path, factor: float, graphs: int) -> list[str]:
    """The table's lines for a run."""
    if not (run / "metrics.json").exists():
        raise SystemExit(f"{run}: there is no finished run; `lrsa-geo train NAME --run {run}`")
    config, surrogate = load_config(run / "config.yaml"), load_surrogate(run)
    if config.data.recipe is None or surrogate.signature.stepping is not None:
        raise SystemExit(
            f"{run}: no recipe of steady graphs is named in its configuration (data.recipe), which"
            " the data sets of the library have"
        )
    store = open_store(config.data.path)
    recipe = recipe_class(config.data.recipe)()
    made, usual = store.provenance["recipe"], json.loads(json.dumps(provenance(recipe)["recipe"]))
    if changed := sorted(k for k in usual if k != "samples" and made.get(k) != usual[k]):
        raise SystemExit(f"{config.data.path}: made with another {', '.join(changed)}")
    recipe = finer(recipe, factor)
    numbers = json.loads((run / "metrics.json").read_text())["test_graphs"][:graphs]
    errors, nodes = [], []
    for number in numbers:
        own = store[number]
        fine = recipe.sample(int(own.sample))
        if alike(own, fine):
            both = [
                errors_of_one(surrogate, predict(surrogate, graph), graph.y, graph.measure)
                for graph in (own, fine)
            ]
            errors.append(torch.stack(both))
            nodes.append([len(own.pos), len(fine.pos)])
    if not errors:
        raise SystemExit(f"{run}: no sample is the same on its finer mesh")
    mean = torch.stack(errors).mean(0)
    sizes = [f"{size:,.0f}" for size in np.mean(nodes, axis=0)]
    return [
        f"| {config.name} | {len(errors)} of {len(numbers)} | {' | '.join(sizes)} | {field.name} |"
        f" {own:.4f} | {fine:.4f} | {fine / own:.2f} |"
        for field, own, fine in zip(surrogate.signature.fields["y"], *mean, strict=True)
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    parser.add_argument("--factor", type=float, default=4, help="nodes over those of the data set")
    parser.add_argument("--graphs", type=int, default=20, help="test samples of each run")
    given = parser.parse_args()
    if not 1 < given.factor < 1000:
        raise SystemExit(f"--factor is {given.factor}, expected more than 1, such as 4")
    if given.graphs < 1:
        raise SystemExit(f"--graphs is {given.graphs}, expected 1 or more")
    lines = [line for run in given.runs for line in lines_of(run, given.factor, given.graphs)]
    print("| data set | samples | nodes | finer | field | own mesh | finer mesh | growth |")
    print("|---" * 8 + "|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
