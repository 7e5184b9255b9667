"""What a step costs, plain and compiled: `python datasets/step_cost.py elasticity bracket3d`.

LRSA, with direct values, the same with tied logits, without latent attention besides (light), and
FLARE, as `lrsa-geo train` trains these data sets but for 48 channels: forward and backward pass and
the optimiser's step. The models take turns; least processor time of so many rounds or more, one
thread.
"""

from __future__ import annotations

import argparse

import torch

from lrsa_geo.study.compare import seconds_per_step
from lrsa_geo.train import find_config, parse_config

MODELS = {
    "LRSA": ["--model.mixer=lrsa"],
    "LRSA, direct values": ["--model.mixer=lrsa_direct"],
    "LRSA, symmetric, direct values": ["--model.mixer=lrsa_symmetric_direct"],
    "LRSA, light": ["--model.mixer=lrsa_light"],
    "FLARE, linear keys and values": [
        "--model.mixer=flare",
        "--model.mixer_options={kv_layers: -1}",
    ],
}


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="+", help="data sets")
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| data set | model | plain, ms | compiled, ms | ratio |\n|---|---|---|---|---|")
    for name in given.names:
        configs = [
            parse_config(
                [*find_config(name), *flags, "--model.channels=48", f"--trainer.compile={c}"]
            )
            for flags in MODELS.values()
            for c in ("false", "true")
        ]
        seconds = iter(seconds_per_step(configs, given.rounds))
        for model in MODELS:
            plain, faster = next(seconds), next(seconds)
            row = f"{1e3 * plain:.1f} | {1e3 * faster:.1f} | {faster / plain:.2f}"
            print(f"| {name} | {model} | {row} |", flush=True)


if __name__ == "__main__":
    main()
