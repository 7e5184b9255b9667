"""The commands `compare` and `ablate`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lrsa_geo.cli.parser import Parser

if TYPE_CHECKING:
    from lrsa_geo.study import Rows, Study

DESCRIPTION = """\
Compare models: data sets x models x seeds at equal time, steps or epochs, with tests.

STUDY is a YAML file:
  data: {elasticity: {}, darcy: {data.samples: 400}}   as for `lrsa-geo train`, with changes
  models:                               the others are tested against the first
    LRSA: {model.mixer: lrsa}
    Transolver: {model.mixer: transolver}
  seeds: [0, 1, 2]
  seconds: 120                          processor seconds of each training, without compiling; or
                                        `steps: 1000`, or `epochs: 20`
  curve: [30, 60]                       other budgets, each with trainings of its own
  learning_rates: [0.005, 0.01, 0.02]   each model gets the best on the validation graphs, or one
                                        further out where that is the smallest or the largest
  tuning: 0.4                           share of the budget that each rate is tried with
  quick: true                           the data sets' small variants

Results: results.csv, table.md, table.tex and errors.png (against parameters, and budgets where
there are several) in the folder. An interrupted study goes on where it stopped when the command
is given again.
"""


def compare(argv: list[str]) -> None:
    """Run a study, see ``lrsa-geo compare --help``."""
    from lrsa_geo.study import Study

    parser = Parser(
        "lrsa-geo compare",
        "STUDY.yaml [options]",
        DESCRIPTION,
    )
    parser.add_argument("study", type=str, help="YAML file")
    parser.add_argument(
        "-o", "--output", type=str, default=None, help="folder (default: runs/studies/NAME)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, a thread each")
    parser.add_argument(
        "--size",
        type=Literal["study", "published"],
        default="study",
        help="published: networks of 128 channels and 8 blocks, AdamW, 500 epochs on all of each"
        " data set, for a GPU",
    )
    values = parser.parse_args(argv)
    study = Study.load(values.study)
    if values.size == "published":
        study = study.published()
    _run(study, values.output, values.jobs)


def ablate(argv: list[str]) -> None:
    """Change one thing of LRSA at a time, see ``lrsa-geo ablate --help``."""
    from lrsa_geo.study import ablation, plot_sensitivity
    from lrsa_geo.study.ablation import BASES

    parser = Parser(
        "lrsa-geo ablate",
        "DATA [options]",
        "Change one thing of LRSA at a time: the number of latents, heads, blocks, Transformer\n"
        "blocks on the latents, and the parts of the layer. DATA is what `lrsa-geo train` takes;\n"
        "its configuration is the model that the others are tested against, without compiling.\n"
        "Results as of `lrsa-geo compare`, and sensitivity.png: the error against each size and\n"
        "part.",
    )
    parser.add_argument("data", type=str, help="name, store or config.yaml")
    parser.add_argument("--seconds", type=float, default=120, help="processor seconds of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--mixer",
        type=Literal[tuple(BASES)],
        default=None,
        help="the layer that is changed (default: that of the configuration); lrsa: the paper's",
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=None,
        help="of all models (default: that of the configuration, which may be meant for far longer"
        " trainings)",
    )
    parser.add_argument("--quick", action="store_true", help="the data set's small variant")
    parser.add_argument(
        "-o",
        "--output",
        type=str,
        default=None,
        help="folder (default: runs/studies/ablation-DATA)",
    )
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, a thread each")
    values = parser.parse_args(argv)
    given = {"model.mixer": values.mixer, "optim.lr": values.learning_rate}
    changes = {name: value for name, value in given.items() if value is not None}
    seeds = tuple(values.seeds)
    study = ablation(values.data, values.seconds, seeds, quick=values.quick, changes=changes)
    results, folder = _run(study, values.output, values.jobs)
    plot_sensitivity(study, results, folder / "sensitivity.png")


def _run(study: Study, output: str | None, jobs: int) -> tuple[dict[str, Rows], Path]:
    """Run, print the table; the results and their folder."""
    from lrsa_geo.study import run_study

    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}, expected at least 1")
    folder = Path(output or Path("runs/studies") / study.name)
    results = run_study(study, folder, jobs)
    print()
    print((folder / "table.md").read_text(), end="")
    print(f"\nall runs: {folder}/results.csv; for LaTeX: {folder}/table.tex")
    return results, folder
