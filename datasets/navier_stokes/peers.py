"""LRSA and its peers on Navier-Stokes at equal processor time; prints the tables of the card.

    pip install --no-deps neuraloperator tensorly tensorly-torch opt-einsum
    OMP_NUM_THREADS=1 python datasets/navier_stokes/peers.py [SECONDS]
    OMP_NUM_THREADS=1 python datasets/navier_stokes/peers.py 60 --curve 30 120

FNO is the model of its authors' library (neuraloperator); "FNO mixing" and "F-FNO mixing" are
Fourier layers in LRSA's own blocks, trained as LRSA is: what is left then is the mixer alone. All
models have the same examples, normalisation, loss (relative L2 of the next frame) and schedule.
Those that can be trained on drawn nodes are, as `train.yaml` has it; waves need the whole grid.
Each has the learning rate that is best on the validation series with two fifths of the time: three
are tried, and further ones as long as the best is at their end. The seeds take turns.

`--models` leaves models out. With `--curve`, LRSA and FNO are trained once (seed 0, the learning
rates found in the study) for each of the budgets: which of them gains more from more time.

What is finished is kept in a file (`--file`), and not trained again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from lrsa_geo.train import (
    Assembly,
    assemble,
    find_config,
    parse_config,
    prepare_store,
    write_json,
)
from lrsa_geo.train.rollout_report import rollout_report

SEEDS = (0, 1, 2)
SIDE = 32
TUNING = 0.4
MUON = (0.0025, 0.005, 0.01)
ADAMW = (0.003, 0.01, 0.03)
WHOLE = ["--data.nodes_per_graph", "null", "--data.batch_size", "4"]
SPECTRAL = "--model.mixer_options={grid: [32, 32], modes: 12, factorized: %s}"
GRID_CONV = [
    *("--model.local", "GridConv", "--model.order", "global-first"),
    "--model.local_options={grid: [32, 32], periodic: true}",
]
MODELS: dict[str, tuple[list[str], tuple[float, ...]]] = {
    "LRSA": ([], MUON),
    "LRSA, no latent block": (["--model.latent_depth", "0"], MUON),
    "LRSA, whole grids": (WHOLE, MUON),
    "LRSA, whole grids, 3 x 3 convolutions": ([*WHOLE, *GRID_CONV], MUON),
    "Transolver": (["--model.mixer", "transolver"], MUON),
    "F-FNO mixing": ([*WHOLE, "--model.mixer", "spectral", SPECTRAL % "true"], MUON),
    "FNO mixing, 32 channels": (
        [*WHOLE, "--model.mixer", "spectral", SPECTRAL % "false", "--model.channels", "32"],
        MUON,
    ),
    "FNO (neuraloperator)": ([*WHOLE, "--optim.method", "adamw"], ADAMW),
}
CURVE = ("LRSA", "FNO (neuraloperator)")


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


class Peers:
    """Trainings of the models, each kept in a file as soon as it is finished.

    Args:
        file: JSON with what is finished.
        models: their names.
        flags: of the configuration, for all models, such as another store.
    """

    def __init__(self, file: Path, models: Sequence[str], flags: Sequence[str] = ()) -> None:
        self.file, self.models, self.flags = file, list(models), list(flags)
        self.kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def kept_or(self, key: str, compute: Callable[[], Any]) -> Any:
        """What the file has under a key, or what is computed now and kept."""
        key = " ".join([key, *self.flags])
        if key not in self.kept:
            self.kept[key] = compute()
            write_json(self.kept, self.file)
        return self.kept[key]

    def made(self, name: str, rate: float, seed: int) -> Assembly:
        """A model, untrained, with its loaders."""
        config = parse_config([*find_config("navier_stokes"), *self.flags, *MODELS[name][0]])
        config.seed, config.optim.lr = seed, rate
        torch.manual_seed(seed)
        parts = assemble(config, prepare_store(config.data))
        if name.startswith("FNO ("):
            parts.surrogate.operator = OnGrid(parts.surrogate.operator.in_channels)
        return parts

    def seconds_per_step(self) -> dict[str, float]:
        """The least of ten rounds of six steps, the models in turns."""

        def measure() -> dict[str, float]:
            made = {name: self.made(name, MODELS[name][1][0], 0) for name in self.models}
            least = dict.fromkeys(self.models, float("inf"))
            for _ in range(10):
                for name, parts in made.items():
                    least[name] = min(least[name], steps_of(parts, 6) / 6)
            return least

        key = "seconds per step: " + ", ".join(self.models)
        measured: dict[str, float] = self.kept_or(key, measure)
        return measured

    def trained(
        self, name: str, rate: float, seed: int, steps: int, split: str = "test"
    ) -> tuple[float, float]:
        """Mean error over the rollouts of a model, and that of their last frame."""

        def run() -> tuple[float, float]:
            parts = self.made(name, rate, seed)
            steps_of(parts, steps)
            return error_of(parts, getattr(parts.loaders.split, split))

        key = f"{name}, seed {seed}, learning rate {rate:g}, {steps} steps, {split}:"
        mean, last = self.kept_or(key, run)
        print(f"{key} {mean:.4f}, last frame {last:.4f}", flush=True)
        return mean, last

    def persistence(self) -> tuple[float, float]:
        """Errors where the last frame that was given stays."""

        def run() -> tuple[float, float]:
            parts = self.made(self.models[0], 0.0, 0)
            return error_of(parts, parts.loaders.split.test, "persistence")

        mean, last = self.kept_or("persistence:", run)
        return mean, last

    def best_rate(self, name: str, steps: int) -> float:
        """The learning rate that is best on the validation series, and not at the end of those
        that were tried."""
        errors: dict[float, float] = {}
        further: Iterable[float] = MODELS[name][1]
        while further:
            errors |= {rate: self.trained(name, rate, 0, steps, "val")[0] for rate in further}
            best, rates = min(errors, key=errors.__getitem__), sorted(errors)
            further = {rates[0]: [best / 2], rates[-1]: [best * 2]}.get(best, [])
        return best

    def best_rates(self, names: Iterable[str], seconds: float) -> dict[str, float]:
        """Of some models, for a budget."""
        steps = self.steps(TUNING * seconds)
        return {name: self.best_rate(name, steps[name]) for name in names}

    def steps(self, seconds: float) -> dict[str, int]:
        """Of all models, in so many processor seconds."""
        return {
            name: max(1, round(seconds / each)) for name, each in self.seconds_per_step().items()
        }


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


def error_of(parts: Assembly, series: list[int], what: str = "model") -> tuple[float, float]:
    """Mean error over the rollout of the model, or of persistence, and that of its last frame."""
    parts.surrogate.eval()
    report = rollout_report(
        parts.surrogate, parts.store, series, parts.module.objective, stability=False
    )
    at_each_time = report["rollout"]["error_at"]["vorticity"][what]
    return statistics.mean(at_each_time), at_each_time[-1]


def curve(peers: Peers, seconds: float, budgets: Iterable[float]) -> None:
    """Error after each budget, printed."""
    models = [name for name in CURVE if name in peers.models]
    rates = peers.best_rates(models, seconds)
    lines = []
    for budget in budgets:
        steps = peers.steps(budget)
        for name, rate in rates.items():
            mean, last = peers.trained(name, rate, 0, steps[name])
            lines.append(f"| {budget:g} | {name} | {steps[name]:,} | {mean:.4f} | {last:.4f} |")
    print("\n| seconds | model | steps | mean of 10 frames | the last |")
    print("|---|---|---|---|---|")
    print("\n".join(lines))


def study(peers: Peers, seconds: float) -> None:
    """Tune, train in turns, print."""
    best, steps = peers.best_rates(peers.models, seconds), peers.steps(seconds)
    found = {
        (name, seed): peers.trained(name, best[name], seed, steps[name])
        for seed in SEEDS
        for name in peers.models
    }
    print("\n| model | parameters | steps | learning rate | mean of 10 frames | the last |")
    print("|---|---|---|---|---|---|")
    for name in peers.models:
        operator = peers.made(name, best[name], 0).surrogate.operator
        size = sum(p.numel() for p in operator.parameters())
        cells = [
            f"{statistics.mean(each):.4f} ± {statistics.stdev(each):.4f}"
            for each in zip(*(found[name, seed] for seed in SEEDS), strict=True)
        ]
        print(f"| {name} | {size:,} | {steps[name]:,} | {best[name]:g} | {' | '.join(cells)} |")
    mean, last = peers.persistence()
    print(f"| the last state stays | | | | {mean:.4f} | {last:.4f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="What else is given changes the configuration of all models, see `lrsa-geo train`.",
    )
    parser.add_argument(
        "seconds", type=float, nargs="?", default=240.0, help="of the processor, for each training"
    )
    parser.add_argument("--curve", type=float, nargs="+", metavar="SECONDS", help="budgets")
    parser.add_argument(
        "--models", nargs="+", metavar="NAME", default=list(MODELS), choices=list(MODELS)
    )
    parser.add_argument(
        "--file",
        type=Path,
        default=Path("runs/navier_stokes_peers.json"),
        help="keeps what is finished",
    )
    arguments, flags = parser.parse_known_args()
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    peers = Peers(arguments.file, arguments.models, flags)
    if arguments.curve:
        curve(peers, arguments.seconds, arguments.curve)
    else:
        study(peers, arguments.seconds)
