"""Message passing, global attention, both, and a peer: equal time, about equal parameters.

    python datasets/local_and_global.py elasticity airfoil bracket3d [--seconds 150] [--seeds 3]

Each run gets the same processor time; the models have about as many parameters. First every model
is trained for 0.4 of that time with each of some learning rates, and the rate that leaves the least
error on the validation graphs is taken. The data sets are those of `lrsa-geo train NAME` with whole
meshes in every step, and smaller ones (airfoils of 900 to 2,400 nodes, brackets of 1,500 to 5,000),
so that it all ends within hours; `--full` takes them as they are. A run that is finished is not
repeated. Prints tables, and the error against the distance to the boundary; draws
`runs/local_and_global/NAME/distance.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from lrsa_geo import plot
from lrsa_geo.simulate import make_store, recipe_class
from lrsa_geo.study import Variant, compare, error_by_distance, table, tune
from lrsa_geo.train import TrainConfig, find_config, parse_config

LEARNING_RATES = {
    "elasticity": [5e-3, 1e-2, 2e-2],
    "airfoil": [5e-3, 1e-2, 2e-2],
    "bracket3d": [5e-3, 1e-2],  # one graph a step is noisier than four
}
BATCH_SIZE = {"elasticity": 4, "airfoil": 4, "bracket3d": 1}
# Blocks of the hybrid that have message passing; in all of them it is dear, see the data cards.
LOCAL_BLOCKS = {"elasticity": [-1], "airfoil": [0, -1], "bracket3d": [-1]}
SMALL = {
    "airfoil": {"samples": 300, "min_nodes": 900, "max_nodes": 2400},
    "bracket3d": {
        "samples": 300,
        "size": (0.012, 0.020),
        "min_nodes": 1500,
        "max_nodes": 5000,
    },
}
# The target and the marker of the boundary whose distance counts: void, airfoil, clamp.
FIELD = {
    "elasticity": ("von_mises", 4),
    "airfoil": ("pressure_coefficient", 1),
    "bracket3d": ("von_mises", 1),
}


def variants_of(name: str) -> list[Variant]:
    """The models, of about as many parameters."""
    # 44 channels for the hybrids would be nearer to that, but heads of 11 channels are slow.
    attention = {"model.channels": 48, "model.depth": 4}
    both = {"model.local": "MeshConv", **attention}
    return [
        Variant("LRSA alone", {"model.local": None, **attention}),
        Variant(
            "message passing alone",
            {
                "model.local": "MeshConv",
                "model.local_blocks": None,
                "model.mixer": "none",
                "model.channels": 52,
                "model.depth": 10,
            },
        ),
        Variant("hybrid", {**both, "model.local_blocks": LOCAL_BLOCKS[name]}),
        Variant("hybrid in every block", {**both, "model.local_blocks": None}),
        Variant(
            "Transolver",
            {
                "model.local": None,
                "model.mixer": "transolver",
                "model.channels": 64,
                "model.depth": 6,
            },
        ),
    ]


def config_of(name: str, full: bool) -> TrainConfig:
    """The published configuration, on smaller meshes unless `full`."""
    # when the tables were made
    as_it_was = ["--model.mixer=lrsa", "--optim.lr=0.01", "--trainer.compile=false"]
    config = parse_config([*find_config(name), *as_it_was])
    config.data.batch_size = BATCH_SIZE[name]
    config.data.nodes_per_graph = None  # whole meshes, whose edges are all there
    if name in SMALL and not full:
        path = Path(f"runs/local_and_global/{name}.h5")
        path.parent.mkdir(parents=True, exist_ok=True)
        make_store(recipe_class(name)(**SMALL[name]), path)
        config.data.path, config.data.recipe = str(path), name
        config.data.split.train, config.data.split.val, config.data.split.test = 216, 24, 60
    return config


def main() -> None:
    """Train, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="+", choices=list(FIELD))
    parser.add_argument("--seconds", type=float, default=150, help="processor seconds of a run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one core each")
    models = [variant.name for variant in variants_of("elasticity")]
    parser.add_argument(
        "--models",
        nargs="+",
        choices=models,
        default=models,
        metavar="MODEL",
        help=f"some of: {', '.join(models)}",
    )
    parser.add_argument("--full", action="store_true", help="the data sets as published")
    given = parser.parse_args()
    torch.set_num_threads(1)  # so that processor time is what a run costs, whatever else runs
    for name in given.names:
        folder = Path("runs/local_and_global") / name
        config = config_of(name, given.full)
        variants = tune(
            config,
            [variant for variant in variants_of(name) if variant.name in given.models],
            LEARNING_RATES[name],
            folder / "tuning",
            given.jobs,
            seconds=0.4 * given.seconds,
        )
        seeds, seconds = range(given.seeds), given.seconds
        rows = compare(config, variants, seeds, folder, given.jobs, seconds=seconds)
        print(f"\n### {name}, {given.seconds:.0f} s of one core for each run\n\n{table(rows)}\n")
        field, marker = FIELD[name]
        curves = {}
        for row in rows:
            if row["seed"] == 0 and row["variant"] != "Transolver":
                distance, error = error_by_distance(row["folder"], field, marker)
                curves[row["variant"]] = (distance, error)
                print(f"{row['variant']}: error of {field} against distance, seed 0")
                pairs = zip(distance, error, strict=True)
                print("  " + ", ".join(f"{d:.3g}: {e:.4f}" for d, e in pairs))
        plot.error_against_distance(curves, field, folder / "distance.png")


if __name__ == "__main__":
    main()
