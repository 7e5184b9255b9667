"""Short runs with one change each, as a table: what the defaults of `train.yaml` were chosen by.

    python datasets/elasticity/tried.py [FILE.h5]

Every run sees 240 meshes four times (no mirror images) and is tested on the usual 200; the
defaults run with three seeds, to show the spread. About twelve minutes on two cores.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lrsa_geo.nn import LRSA
from lrsa_geo.study import Variant
from lrsa_geo.train import TrainConfig, find_config, parse_config, train

CHANGES: dict[str, dict[str, object]] = {
    "defaults": {},
    "defaults, seed 1": {"seed": 1},
    "defaults, seed 2": {"seed": 2},
    "AdamW, learning rate 1e-3": {"optim.method": "adamw", "optim.lr": 1e-3},
    "AdamW, learning rate 2e-3": {"optim.method": "adamw", "optim.lr": 2e-3},
    "AdamW, learning rate 4e-3": {"optim.method": "adamw", "optim.lr": 4e-3},
    "learning rate 5e-3": {"optim.lr": 5e-3},
    "learning rate 2e-2": {"optim.lr": 2e-2},
    "2 graphs a batch": {"data.batch_size": 2},
    "8 graphs a batch": {"data.batch_size": 8},
    "measure as weights": {"model.use_measure": True},
    "no distance and direction to the void": {"model.use_features": False},
    "no boundary markers": {"model.use_boundary": False},
    "position encoding: none": {"model.fourier_octaves": 0},
    "position encoding: 3 octaves": {"model.fourier_octaves": 3},
    "position encoding: 7 octaves": {"model.fourier_octaves": 7},
    "2 heads": {"model.heads": 2},
    "8 heads": {"model.heads": 8},
    "16 latents": {"model.num_latents": 16},
    "64 latents": {"model.num_latents": 64},
    "feed-forward ratio 2": {"model.ffn_ratio": 2.0},
    "6 blocks": {"model.depth": 6},
    "96 channels": {"model.channels": 96},
}


def short_config(file: str) -> TrainConfig:
    """The published configuration on a quarter of the meshes, four epochs."""
    # when the table was made
    as_it_was = ["--model.mixer=lrsa", "--optim.lr=0.01", "--trainer.compile=false"]
    as_it_was += ["--data.stratified=false"]
    config = parse_config([*find_config("elasticity"), *as_it_was])
    config.data.path = file
    config.data.split.train = 240
    config.data.augment = []
    config.trainer.max_epochs = 4
    config.trainer.enable_progress_bar = False
    return config


@contextlib.contextmanager
def small_start() -> Iterator[None]:
    """Latents that start small and serve as queries without normalisation."""
    reset_parameters = LRSA.reset_parameters

    def small_reset(self: LRSA) -> None:
        reset_parameters(self)
        self.latent_norm = torch.nn.Identity()
        torch.nn.init.normal_(self.latents, std=0.02)

    LRSA.reset_parameters = small_reset
    try:
        yield
    finally:
        LRSA.reset_parameters = reset_parameters


def print_row(name: str, config: TrainConfig) -> None:
    """Train, and print one row of the table."""
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        report = train(config, Path(folder) / "run")
    errors = " | ".join(f"{error['mean']:.4f}" for error in report["test"].values())
    seconds = report["seconds"]["train"]
    print(f"| {name} | {errors} | {report['parameters']:,} | {seconds:.0f} |", flush=True)


def main(file: str) -> None:
    """Print the table."""
    config = short_config(file)
    print("| change | von Mises stress | displacement | parameters | seconds |")
    print("|---|---|---|---|---|")
    for name, change in CHANGES.items():
        print_row(name, Variant(name, change).of(config))
    with small_start():
        print_row("latents start at 0.02, queries not normalised", config)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "datasets/elasticity/elasticity.h5")
