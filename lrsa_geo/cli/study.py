"""The command `compare`: parse, call, print."""

from __future__ import annotations

from pathlib import Path

from lrsa_geo.cli.parser import Parser

DESCRIPTION = """\
Compare models: data sets x models x seeds at equal time or equal steps, with tests.

STUDY is a YAML file:
  data: {elasticity: {}, darcy: {data.samples: 400}}   as for `lrsa-geo train`, with changes
  models:                               the others are tested against the first
    LRSA: {model.mixer: lrsa}
    Transolver: {model.mixer: transolver}
  seeds: [0, 1, 2]
  seconds: 120                          processor seconds of each training; or `steps: 1000`
  learning_rates: [0.005, 0.01, 0.02]   each model gets the best on the validation graphs
  tuning: 0.4                           share of the budget that each rate is tried with
  quick: true                           the data sets' small variants

Results: results.csv, table.md and table.tex in the folder. An interrupted study goes on where it
stopped when the command is given again.
"""


def compare(argv: list[str]) -> None:
    """Run a study, see ``lrsa-geo compare --help``."""
    from lrsa_geo.study import Study, run_study

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
    values = parser.parse_args(argv)
    if values.jobs < 1:
        raise ValueError(f"--jobs is {values.jobs}, expected at least 1")
    study = Study.load(values.study)
    folder = Path(values.output or Path("runs/studies") / study.name)
    run_study(study, folder, values.jobs)
    print()
    print((folder / "table.md").read_text(), end="")
    print(f"\nall runs: {folder}/results.csv; for LaTeX: {folder}/table.tex")
