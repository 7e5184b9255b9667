"""LRSA and its peers on Navier-Stokes at equal processor time, by rollout; prints the card's table.

    pip install --no-deps neuraloperator tensorly tensorly-torch opt-einsum
    OMP_NUM_THREADS=1 python datasets/navier_stokes/peers.py [SECONDS]
    OMP_NUM_THREADS=1 python datasets/navier_stokes/peers.py --curve 30 120 480

FNO is the model of its authors' library (neuraloperator); "FNO mixing" and "F-FNO mixing" are
Fourier layers in LRSA's own blocks, trained as LRSA is: what is left then is the mixer alone. All
models have the same examples, normalisation, loss (relative L2 of the next frame), batches and
schedule; each has the learning rate, of three, that is best on the validation series with two
fifths of the time. The seeds take turns.

With `--curve`, LRSA and FNO are trained once (seed 0, the learning rates of CURVE) for each of the
budgets: which of them gains more from more time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from lrsa_geo.train import Assembly, assemble, find_config, parse_config, prepare_store
from lrsa_geo.train.rollout_report import rollout_report

SEEDS = (0, 1, 2)
SIDE = 32
TUNING = 0.4
MUON = (0.005, 0.01, 0.02)
ADAMW = (0.001, 0.003, 0.01)
SPECTRAL = "--model.mixer_options={grid: [32, 32], modes: 12, factorized: %s}"
GRID_CONV = [
    *("--model.local", "GridConv", "--model.order", "global-first"),
    "--model.local_options={grid: [32, 32], periodic: true}",
]
MODELS: dict[str, tuple[list[str], tuple[float, ...]]] = {
    "LRSA": ([], MUON),
    "LRSA, 3 x 3 convolutions": (GRID_CONV, MUON),
    "Transolver": (["--model.mixer", "transolver"], MUON),
    "F-FNO mixing": (["--model.mixer", "spectral", SPECTRAL % "true"], MUON),
    "FNO mixing, 32 channels": (
        ["--model.mixer", "spectral", SPECTRAL % "false", "--model.channels", "32"],
        MUON,
    ),
    "FNO (neuraloperator)": (["--optim.method", "adamw"], ADAMW),
}
CURVE = {"LRSA": 0.005, "FNO (neuraloperator)": 0.01}


class OnGrid(nn.Module):
    """FNO where a surrogate expects an operator on nodes: rows of a regular grid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        from neuralop.models import FNO

        self.fno = FNO(n_modes=(12, 12), in_channels=channels, out_channels=1, hidden_channels=32)
        self.blocks = nn.ModuleList()

    def forward(self, x: Tensor, pos: Tensor, layout: Any, cond: Tensor | None = None) -> Tensor:
        """``[B n n, F]`` -> ``[B n n, 1]``."""
        grids = x.reshape(-1, SIDE, SIDE, x.shape[1]).movedim(-1, 1)
        return self.fno(grids).movedim(1, -1).reshape(len(x), -1)


def made(name: str, rate: float, seed: int) -> Assembly:
    """A model, untrained, with its loaders."""
    flags, _ = MODELS[name]
    config = parse_config([*find_config("navier_stokes"), *flags])
    config.seed, config.optim.lr = seed, rate
    torch.manual_seed(seed)
    parts = assemble(config, prepare_store(config.data))
    if name.startswith("FNO ("):
        parts.surrogate.operator = OnGrid(parts.surrogate.operator.in_channels)
    return parts


def batches(parts: Assembly) -> Iterator[Any]:
    """Training batches without end."""
    loader = parts.loaders.train_dataloader()
    for epoch in range(1 << 30):
        loader.sampler.set_epoch(epoch)
        yield from loader


def steps_of(parts: Assembly, steps: int) -> float:
    """Train for so many steps; the processor seconds that they took."""
    real = all(p.is_floating_point() for p in parts.module.parameters())  # FNO's are complex
    optimizer, rate = parts.module.new_optimizer(fused=real), parts.module.optim.lr
    schedule = OneCycleLR(optimizer, rate, total_steps=steps + 1, pct_start=0.2)
    stream, started = batches(parts), time.process_time()
    for _ in range(steps):
        optimizer.zero_grad()
        parts.module.loss(next(stream)).backward()
        nn.utils.clip_grad_norm_(parts.module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return time.process_time() - started


def error_of(parts: Assembly, series: list[int]) -> tuple[float, float]:
    """Mean error over the rollout, and that of its last frame."""
    parts.surrogate.eval()
    report = rollout_report(
        parts.surrogate, parts.store, series, parts.module.objective, stability=False
    )
    return report["test"]["vorticity"]["mean"], report["rollout"]["error_at"]["vorticity"]["model"][
        -1
    ]


def seconds_per_step(names: Iterable[str]) -> dict[str, float]:
    """The least of three rounds of twelve steps, the models in turns."""
    least = dict.fromkeys(names, float("inf"))
    for _ in range(3):
        for name in least:
            least[name] = min(least[name], steps_of(made(name, MODELS[name][1][0], 0), 12) / 12)
    return least


def curve(budgets: Iterable[float]) -> None:
    """Error after each budget, printed."""
    per_step = seconds_per_step(CURVE)
    print("| seconds | model | steps | mean of 10 frames | the last |")
    print("|---|---|---|---|---|")
    for seconds in budgets:
        for name, rate in CURVE.items():
            parts, steps = made(name, rate, 0), round(seconds / per_step[name])
            steps_of(parts, steps)
            mean, last = error_of(parts, parts.loaders.split.test)
            print(f"| {seconds:g} | {name} | {steps:,} | {mean:.4f} | {last:.4f} |", flush=True)


def study(seconds: float) -> None:
    """Tune, train in turns, print."""
    per_step = seconds_per_step(MODELS)
    best: dict[str, float] = {}
    for name, (_, rates) in MODELS.items():
        errors = {}
        for rate in rates:
            parts = made(name, rate, 0)
            steps_of(parts, max(1, round(TUNING * seconds / per_step[name])))
            errors[rate] = error_of(parts, parts.loaders.split.val)[0]
            print(f"{name}, learning rate {rate}: {errors[rate]:.4f} on validation", flush=True)
        best[name] = min(errors, key=errors.__getitem__)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in MODELS}
    sizes = {}
    for seed in SEEDS:
        for name in MODELS:
            parts = made(name, best[name], seed)
            steps_of(parts, max(1, round(seconds / per_step[name])))
            found[name].append(error_of(parts, parts.loaders.split.test))
            sizes[name] = sum(p.numel() for p in parts.surrogate.operator.parameters())
            print(f"{name}, seed {seed}: {found[name][-1]}", flush=True)
    print("\n| model | parameters | steps | learning rate | mean of 10 frames | the last |")
    print("|---|---|---|---|---|---|")
    for name, errors in found.items():
        cells = [
            f"{statistics.mean(each):.4f} ± {statistics.stdev(each):.4f}"
            for each in zip(*errors, strict=True)
        ]
        steps = round(seconds / per_step[name])
        print(f"| {name} | {sizes[name]:,} | {steps:,} | {best[name]:g} | {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seconds", type=float, nargs="?", default=240.0)
    parser.add_argument("--curve", type=float, nargs="+", metavar="SECONDS")
    arguments = parser.parse_args()
    if arguments.curve:
        curve(arguments.curve)
    else:
        study(arguments.seconds)
