"""What rollouts of the wake keep: `python datasets/cylinder/shedding.py RUN [RUN ...]`.

For each trained run, over its test flows: the mean error of the velocity over the first 100
predicted steps and persistence's (of `metrics.json`), the deviation of the Strouhal number, the
amplitude of the oscillation over the true one, and the share of rollouts that stay stable for 500
steps.

Frequency and amplitude are those of the velocity across the channel at the node where the true
one swings most, over all predicted steps; the amplitude counts in their second half.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from lrsa_geo.simulate.cylinder_checks import frequency
from lrsa_geo.train import load_config, load_surrogate, matched, prepare_store
from lrsa_geo.train.assembly import loaders_of
from lrsa_geo.train.rollout_report import roll_out, stable_steps

STEPS = 100
LONG = 500


def main(folder: Path) -> None:
    """Print the figures of a run."""
    config = load_config(folder / "config.yaml")
    surrogate = load_surrogate(folder)
    view = matched(prepare_store(config.data), surrogate.signature)
    test = loaders_of(config, view, surrogate).split.test
    objective, start = surrogate.objective(config.objective), surrogate.signature.of_series.history
    long = np.array(stable_steps(surrogate, view, test, objective, start))
    rows = []
    for series, steps in zip(test, long, strict=True):
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
            f" {100 * rows[-1][0]:+.1f} %, amplitude x {rows[-1][1]:.2f}, stable for {steps} steps",
            flush=True,
        )
    errors = json.loads((folder / "metrics.json").read_text())["rollout"]["error_at"]["velocity"]
    model, persistence = (np.mean(errors[kind][:STEPS]) for kind in ("model", "persistence"))
    off, amplitude = np.array(rows).T
    print(
        f"{folder.name}: error over {STEPS} steps {model:.4f}, persistence {persistence:.4f} (x"
        f" {model / persistence:.2f}); Strouhal number off by"
        f" {100 * np.nanmedian(np.abs(off)):.1f} % (median; {np.isnan(off).sum()} without);"
        f" amplitude x {np.median(amplitude):.2f}; stable for {LONG} steps"
        f" {(long >= LONG).mean():.0%}"
    )


if __name__ == "__main__":
    for run in sys.argv[1:]:
        main(Path(run))
