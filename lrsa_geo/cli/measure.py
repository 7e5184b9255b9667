"""The commands `spectrum`, `decay` and `precision`: parse, call, print."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrsa_geo.cli.parser import Parser

if TYPE_CHECKING:
    from lrsa_geo.study import Spectrum

SPECTRUM = """\
Is low rank enough? Singular values of operators, and how many hold 90, 99 and 99.9 % of their
Frobenius norm: the effective rank. WHAT is one of

  green        Green's functions on a line: diffusion, transport, waves
  FILE.h5      a store whose graphs share one mesh (such as darcy): the linear operator that leads
               from the fields x to the fields y, by ridge regression, and the fields y themselves
  RUN          a trained model (a run folder, or a model.safetensors): what each of its blocks mixes
               on a graph, which is the derivative of the mixer through its latents

Results: spectrum.csv, spectrum.md and spectrum.png in the folder.
"""

DECAY = """\
Where is low rank not enough? A signal on a periodic line is shifted and smoothed; the less it is
smoothed, the slower the singular values of this operator decay, down to none at all at rate 0.
Small models with each mixer are trained on it with the same inputs and steps, and held against
full attention, which knows no rank. Results: decay.csv, decay.md and decay.png in the folder.
"""

PRECISION = """\
What do 16 bits cost? Small models are trained on a CPU with products in each precision (autocast):
their errors, how far gradients are from those in float64, which trainings diverge, and whether the
sums over many nodes are still numbers. Results: precision.csv, sums.csv, precision.md and
precision.png in the folder.
"""


def spectrum(argv: list[str]) -> None:
    """Measure singular values, see ``lrsa-geo spectrum --help``."""
    from lrsa_geo.data import names_store, store_name
    from lrsa_geo.study import write_spectra

    parser = Parser("lrsa-geo spectrum", "WHAT [options]", SPECTRUM)
    parser.add_argument("what", type=str, help="green, FILE.h5 or RUN")
    parser.add_argument("--nodes", type=int, default=1024, help="green: points on the line")
    parser.add_argument(
        "--peclet", type=float, default=100.0, help="green: transport over diffusion"
    )
    parser.add_argument(
        "--half-waves", dest="half_waves", type=int, default=40, help="green: waves on the line"
    )
    parser.add_argument(
        "--graphs", type=int, default=None, help="FILE.h5: the first so many (default: all)"
    )
    parser.add_argument(
        "--graph",
        type=str,
        default=None,
        help="RUN: FILE.h5:NUMBER (default: the run's first test graph)",
    )
    parser.add_argument("--count", type=int, default=64, help="RUN: singular values of each block")
    _add_output(parser, "spectrum-WHAT")
    values = parser.parse_args(argv)
    name = store_name(values.what) or "run"
    if values.what == "green":
        spectra, about = _green(values)
    elif names_store(values.what) or values.what.endswith(".h5"):  # which is missing
        spectra, about = _data(values)
    else:
        spectra, about = _model(values)
    folder = _folder(values.output, f"spectrum-{name}")
    _print(write_spectra(spectra, folder, about), folder / "spectrum.png")


def _green(values: Any) -> tuple[list[Spectrum], str]:
    from lrsa_geo.study import green_spectra

    if not values.peclet > 0:
        raise ValueError(f"--peclet is {values.peclet}, expected more than 0")
    spectra = green_spectra(values.nodes, 1 / values.peclet, values.half_waves)
    return spectra, f"Green's functions on the unit interval, {values.nodes} midpoints."


def _data(values: Any) -> tuple[list[Spectrum], str]:
    from lrsa_geo.data import open_store
    from lrsa_geo.study import empirical_kernel

    if values.graphs is not None and values.graphs < 3:
        raise ValueError(f"--graphs is {values.graphs}, expected at least 3")
    store = open_store(values.what)
    fit = empirical_kernel(store, values.graphs)
    about = (
        f"Linear fit of y by x on {fit.kernel.limit + 1 if fit.kernel.limit else 0} graphs of"
        f" {values.what}. Relative L2 error on graphs that are left out: {fit.error:.4f} (1: no"
        f" better than their mean; ridge {fit.ridge:g} of the inputs' largest squared singular"
        " value). The rank is below the number of graphs, whatever the operator is."
    )
    return [fit.kernel, fit.targets], about


def _model(values: Any) -> tuple[list[Spectrum], str]:
    from lrsa_geo.data import open_store
    from lrsa_geo.study import mixing_spectra
    from lrsa_geo.train import graph_for, load_surrogate

    if values.count < 1:
        raise ValueError(f"--count is {values.count}, expected at least 1")
    surrogate = load_surrogate(Path(values.what))
    file, number = _graph(values.graph, Path(values.what))
    store = open_store(file)
    store.verify()
    data = graph_for(surrogate, store, number)
    weighed = "by their measure" if surrogate.config.use_measure else "all alike"
    about = (
        f"Mixing of {values.what} ({surrogate.config.mixer}) on graph {number} of {file},"
        f" {len(data.pos)} nodes: the derivative of each mixer through its latents, nodes weighed"
        f" {weighed}; what is not among the largest {values.count} singular values is estimated."
    )
    return mixing_spectra(surrogate, data, values.count), about


def _graph(given: str | None, run: Path) -> tuple[str, int]:
    """File and number of the graph that was asked for, or of the run's first test graph."""
    from lrsa_geo.train import Run, load_config

    if given is not None:
        match = re.fullmatch(r"(.+\.h5):(\d+)", given)
        if match is None:
            raise ValueError(f"--graph is '{given}', expected FILE.h5:NUMBER")
        return match[1], int(match[2])
    of_run = Run(run)
    if not of_run.config.exists():
        raise ValueError(f"{run} is no run folder, which would know a graph; give --graph")
    path = load_config(of_run.config).data.path
    if not of_run.metrics.exists():
        return path, 0
    test_graphs = json.loads(of_run.metrics.read_text())["test_graphs"]
    return path, test_graphs[0] if test_graphs else 0


def decay(argv: list[str]) -> None:
    """Turn the decay of a spectrum, see ``lrsa-geo decay --help``."""
    from lrsa_geo.study import DecayStudy, LineTraining, run_decay

    default = DecayStudy  # its defaults
    parser = Parser("lrsa-geo decay", "[options]", DECAY)
    parser.add_argument(
        "--rates",
        type=float,
        nargs="+",
        default=[*default.rates],
        help="r of the singular values exp(-r j) or (1 + j)^-r of the wave number j",
    )
    parser.add_argument("--law", type=str, default=default.law, help="exponential or power")
    _add_mixers(parser, [*default.mixers], [*default.seeds], LineTraining.steps)
    parser.add_argument(
        "--latents", type=int, nargs="+", default=[*default.latents], help="M of each mixer"
    )
    _add_output(parser, "decay")
    values = parser.parse_args(argv)
    study = DecayStudy(
        values.rates,
        values.law,
        values.mixers,
        values.latents,
        values.seeds,
        training=LineTraining(values.steps),
    )
    folder = _folder(values.output, "decay")
    _print(run_decay(study, folder), folder / "decay.png")


def precision(argv: list[str]) -> None:
    """Compare precisions, see ``lrsa-geo precision --help``."""
    from lrsa_geo.study import PrecisionStudy, run_precision

    default = PrecisionStudy
    parser = Parser("lrsa-geo precision", "[options]", PRECISION)
    parser.add_argument(
        "--precisions",
        type=str,
        nargs="+",
        default=[*default.precisions],
        help="of float32, bfloat16, float16",
    )
    _add_mixers(parser, [*default.mixers], [*default.seeds], default.steps)
    parser.add_argument(
        "--nodes",
        type=int,
        nargs="*",
        default=[*default.nodes],
        help="sizes of the graphs whose latents are looked at; a million take 200 MB",
    )
    _add_output(parser, "precision")
    values = parser.parse_args(argv)
    study = PrecisionStudy(
        values.mixers, values.precisions, values.seeds, values.steps, values.nodes
    )
    folder = _folder(values.output, "precision")
    _print(run_precision(study, folder), folder / "precision.png")


def _add_mixers(parser: Parser, mixers: list[str], seeds: list[int], steps: int) -> None:
    parser.add_argument("--mixers", type=str, nargs="+", default=mixers, help="to train")
    parser.add_argument("--seeds", type=int, nargs="+", default=seeds, help="of each training")
    parser.add_argument("--steps", type=int, default=steps, help="of each training")


def _add_output(parser: Parser, name: str) -> None:
    parser.add_argument(
        "-o", "--output", type=str, default=None, help=f"folder (default: runs/studies/{name})"
    )


def _folder(output: str | None, name: str) -> Path:
    return Path(output or Path("runs/studies") / name)


def _print(text: str, picture: Path) -> None:
    print()
    print(text, end="")
    print(f"\nnumbers and picture: {picture.parent}/, {picture.name}")
