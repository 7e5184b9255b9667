"""What rollouts of the wake keep: `python datasets/cylinder/shedding.py [--errors] RUN [RUN ...]`.

Of the runs of each model (folders MODEL-SEED), from their `metrics.json`: mean and deviation over
the seeds of the error over the first 100 predicted steps, persistence's beside it, and the share of
rollouts that stay stable for five times the length of a series. Then, unless `--errors` is given,
for each run over its test flows: the deviation of the Strouhal number, and the amplitude of the
oscillation over the true one.

Frequency and amplitude are those of the velocity across the channel at the node where the true
one swings most, over all predicted steps; the amplitude counts in their second half.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lrsa_geo.simulate.cylinder_checks import frequency
from lrsa_geo.train import load_config, load_surrogate, matched, prepare_store
from lrsa_geo.train.assembly import loaders_of
from lrsa_geo.train.rollout_report import roll_out

STEPS = 100


def errors(folders: Sequence[Path]) -> None:
    """Print a table of the models, over their seeds."""
    models: dict[str, list[dict]] = defaultdict(list)
    for folder in folders:
        models[folder.name.rpartition("-")[0]].append(
            json.loads((folder / "metrics.json").read_text())["rollout"]
        )
    print(f"| model | seeds | velocity, {STEPS} steps | pressure | stable |\n|---|---|---|---|---|")
    for model, rollouts in models.items():
        cells = []
        for field in ("velocity", "pressure"):
            found = [np.mean(each["error_at"][field]["model"][:STEPS]) for each in rollouts]
            spread = f" ± {np.std(found, ddof=1):.4f}" if len(found) > 1 else ""
            cells.append(f"{np.mean(found):.4f}{spread}")
        stable = np.mean([each["stable"]["share"] for each in rollouts])
        print(f"| {model} | {len(rollouts)} | {' | '.join(cells)} | {stable:.0%} |")
    for rival in ("persistence", "linear"):
        found = [
            np.mean(rollouts[0]["error_at"][field][rival][:STEPS])
            for field in ("velocity", "pressure")
        ]
        print(f"| {rival} | | {found[0]:.4f} | {found[1]:.4f} | |")


def oscillation(folder: Path) -> None:
    """Print what a run keeps of the oscillation of each test flow."""
    config = load_config(folder / "config.yaml")
    surrogate = load_surrogate(folder)
    view = matched(prepare_store(config.data), surrogate.signature)
    start = surrogate.signature.of_series.history
    rows = []
    for series in loaders_of(config, view, surrogate).split.test:
        times, truth, guess = roll_out(surrogate, view, series, start)
        across = truth[:, :, 1]
        node = int((across.amax(0) - across.amin(0)).argmax())
        signals = [states[:, node, 1].numpy() for states in (truth, guess)]
        true, found = (frequency(signal, float(times[1] - times[0])) for signal in signals)
        swing, of_guess = (np.ptp(signal[len(signal) // 2 :]) for signal in signals)
        rows.append((found / true - 1, of_guess / swing))
        reynolds = float(view.series.arrays_of(series, ["cond"])["cond"][0, 0])
        print(
            f"{folder.name}, flow {series}, Re {reynolds:.0f}: Strouhal number"
            f" {100 * rows[-1][0]:+.1f} %, amplitude x {rows[-1][1]:.2f}",
            flush=True,
        )
    off, amplitude = np.array(rows).T
    print(
        f"{folder.name}: Strouhal number off by {100 * np.nanmedian(np.abs(off)):.1f} % (median;"
        f" {np.isnan(off).sum()} without); amplitude x {np.median(amplitude):.2f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--errors", action="store_true", help="no new rollouts")
    arguments = parser.parse_args()
    errors(arguments.runs)
    if not arguments.errors:
        for run in arguments.runs:
            oscillation(run)
