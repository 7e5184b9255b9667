"""Does the answer depend on the mesh? Train on coarse meshes, test on finer and on lopsided ones.

    python datasets/resolution.py [--seconds 120] [--seeds 3] [--meshes 20]

The unit cells of `lrsa-geo train elasticity`, by LRSA alone, with the measure of the nodes as their
weights and without. Test shapes and loads are those of the test set, each on its own mesh, on one
of four times as many nodes, and on one of four times as many that are dense at the left (elements
at the right are 3.3 times as large). Prints the relative L2 error of the stress, mean over the
meshes, and its growth; mean and standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.simulate.elasticity import ElasticityRecipe
from lrsa_geo.study import Variant, compare
from lrsa_geo.train import errors_of_one, find_config, load_surrogate, parse_config, predict

SKEW = 1.2
MESHES = {"own": (1.0, 0.0), "4 x nodes": (4.0, 0.0), "4 x nodes, lopsided": (4.0, SKEW)}


def error_of(folder: Path, graphs: list[Data]) -> float:
    """Mean relative L2 error of the stress; its sums are quadratures, on any mesh the same."""
    surrogate = load_surrogate(folder)
    errors = [
        errors_of_one(surrogate, predict(surrogate, data), data.y, data.measure)[0]
        for data in graphs
    ]
    return float(np.mean(errors))


def main() -> None:
    """Train, test on three kinds of meshes, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=120, help="processor seconds of a run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--meshes", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one core each")
    given = parser.parse_args()
    torch.set_num_threads(1)
    # when the table was made
    as_it_was = ["--model.mixer=lrsa", "--optim.lr=0.01", "--trainer.compile=false"]
    as_it_was += ["--data.stratified=false"]
    config = parse_config([*find_config("elasticity"), *as_it_was])
    variants = [
        Variant("with measure", {"model.use_measure": True}),
        Variant("without", {"model.use_measure": False}),
    ]
    folder = Path("runs/resolution")
    rows = compare(config, variants, range(given.seeds), folder, given.jobs, seconds=given.seconds)
    recipe = ElasticityRecipe()
    drawn = [recipe.drawn(recipe.samples - 1 - i) for i in range(given.meshes)]
    graphs = {
        name: [recipe.solved(radius, n * factor, load, skew) for radius, n, load in drawn]
        for name, (factor, skew) in MESHES.items()
    }
    for name, of_kind in graphs.items():
        print(f"{name}: {np.mean([len(data.pos) for data in of_kind]):.0f} nodes")
    print("\n| weights | " + " | ".join(MESHES) + " | growth | growth, lopsided |")
    print("|---|" + "---|" * (len(MESHES) + 2))
    for variant in variants:
        errors = np.array(
            [
                [error_of(row["folder"], of_kind) for of_kind in graphs.values()]
                for row in rows
                if row["variant"] == variant.name
            ]
        )
        figures = np.column_stack([errors, errors[:, 1:] / errors[:, :1]])
        spread = figures.std(0, ddof=1) if len(figures) > 1 else np.zeros(figures.shape[1])
        cells = [f"{m:.4f} ± {s:.4f}" for m, s in zip(figures.mean(0), spread, strict=True)]
        print(f"| {variant.name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
