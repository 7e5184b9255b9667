"""The commands `train`, `evaluate` and `predict`: parse, call, print."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from lrsa_geo import __version__
from lrsa_geo.cli.benchmark import benchmark as _benchmark
from lrsa_geo.cli.data import add_file_arguments, mesh_files
from lrsa_geo.cli.data import data as _data
from lrsa_geo.cli.errors import run_command
from lrsa_geo.cli.measure import decay as _decay
from lrsa_geo.cli.measure import precision as _precision
from lrsa_geo.cli.measure import spectrum as _spectrum
from lrsa_geo.cli.parser import Parser
from lrsa_geo.cli.report import print_report
from lrsa_geo.cli.study import ablate as _ablate
from lrsa_geo.cli.study import compare as _compare

DESCRIPTION = """\
Train neural operators on meshes: geometry in, field out.

  lrsa-geo train elasticity --quick      the whole road on a small set, in three minutes
  lrsa-geo train elasticity              the same in earnest (or airfoil, or bracket3d)
  lrsa-geo evaluate runs/elasticity      test errors and pictures of a finished run
  lrsa-geo predict runs/elasticity datasets/elasticity/elasticity.h5:1000 -o cell.vtu

  lrsa-geo data make --from 'cases/*.vtu' --targets p U -o mine.h5    your own results
  lrsa-geo train mine.h5
  lrsa-geo predict runs/mine 'new/*.vtu' -o out/

  lrsa-geo data make --from 'cases/*/case.pvd' --series --targets U p -o flow.h5    in time
  lrsa-geo train flow.h5
  lrsa-geo predict runs/flow new/case.pvd --steps 200 -o out.pvd

  lrsa-geo compare study.yaml            models x data sets x seeds, with tests
  lrsa-geo spectrum runs/elasticity      is what a model mixes of low rank? and the operators?
  lrsa-geo benchmark --quick             time and memory of LRSA and its peers on this machine

Errors are one line; --traceback, of any command, shows where they come from.
"""


def run(argv: list[str]) -> int:
    """Run one command, see :func:`lrsa_geo.cli.main`."""
    commands: dict[str, Callable[[list[str]], None]] = {
        "data": _data,
        "train": _train,
        "evaluate": _evaluate,
        "predict": _predict,
        "compare": _compare,
        "ablate": _ablate,
        "spectrum": _spectrum,
        "decay": _decay,
        "precision": _precision,
        "benchmark": _benchmark,
    }
    if argv and argv[0] in commands:
        return run_command(commands[argv[0]], argv[1:])
    parser = Parser("lrsa-geo", "COMMAND ...", DESCRIPTION)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "command",
        choices=list(commands),
        help="data: make and look at stores; train; evaluate; predict; compare models; ablate LRSA;"
        " spectrum: singular values; decay: where low rank is not enough; precision: of 16 bits;"
        " benchmark: time and memory."
        " `lrsa-geo COMMAND --help` tells the rest.",
    )
    parser.parse_args(argv)
    return 0


def _train(argv: list[str]) -> None:
    from lrsa_geo.train import (
        Run,
        TrainConfig,
        add_config_arguments,
        config_from,
        find_config,
        followed_folder,
        train,
    )

    parser = Parser(
        "lrsa-geo train",
        "WHAT [options]",
        "Train a surrogate, test it, draw what it does. WHAT is a data set that comes with the\n"
        "library (elasticity), a MeshStore of your own (mine.h5, or several that are read as one:\n"
        "'shards/*.h5') or a YAML configuration. Every value below is a key of the YAML file and\n"
        "a flag; flags win. --max-time 45m ends the training and its schedule of the learning\n"
        "rate after that time.",
    )
    parser.add_argument("what", type=str, help="name, store or config.yaml; comes first")
    parser.add_argument("--quick", action="store_true", help="less of everything, to see it work")
    parser.add_argument(
        "--run", type=str, default=None, help="run folder (default: runs/NAME, numbered)"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with --run, or with the last unfinished run of that name",
    )
    add_config_arguments(parser)
    if not argv or argv[0].startswith("-"):
        parser.parse_args(argv)
        parser.error("WHAT comes first")
    what = argv[0]
    rest = [re.sub(r"^--max-time(?==|$)", "--trainer.max_time", flag) for flag in argv[1:]]
    layers = find_config(what, quick="--quick" in rest)

    def config_of(run: Run | None = None) -> TrainConfig:
        """The layers of configuration, those of a run that is resumed, flags."""
        saved = ["--config", str(run.config)] if run and run.config.exists() else []
        values = parser.parse_args([what, *layers, *saved, *rest])
        return config_from(parser.instantiate(values))

    config = config_of()
    given = followed_folder() or parser.parse_args([what, *layers, *rest]).run
    folder = Path(given) if given else None
    resume = "--resume" in rest
    if resume:
        run = Run(folder) if folder else Run.last(config.name, config_of)
        folder, config = run.path, config_of(run)
    report = train(config, folder, resume=resume)
    if report:  # processes that only help have none
        print_report(report)


def _evaluate(argv: list[str]) -> None:
    from lrsa_geo.train import evaluate

    parser = Parser(
        "lrsa-geo evaluate", "RUN", "Test a trained model on its held-out graphs; draw pictures."
    )
    parser.add_argument("run", type=str, help="run folder")
    folder = Path(parser.parse_args(argv).run)
    print_report(evaluate(folder) | {"folder": folder})


def _predict(argv: list[str]) -> None:
    from lrsa_geo.data import CondTable, open_store
    from lrsa_geo.train import (
        load_surrogate,
        predict_files,
        predict_graph,
        predict_series,
        predict_series_graph,
    )

    parser = Parser(
        "lrsa-geo predict",
        "RUN INPUT ... -o OUT",
        "Predict the fields of meshes and write them to mesh files. INPUT is\n"
        "  mesh files, or patterns of them in quotes ('new/*.vtu'): each becomes OUT/NAME.vtu, or\n"
        "    OUT itself if that ends in .vtu, .vtk or .xdmf and there is one; or\n"
        "  FILE.h5:NUMBER, a graph of a MeshStore ('shards/*.h5:12', of several read as one).\n"
        "A result holds the mesh with its own fields, F_predicted for each predicted field F, and\n"
        "where the truth is known F_error = F_predicted - F; they replace those of an earlier\n"
        "prediction. A run that was stopped predicts from its last checkpoint. An earlier result\n"
        "at OUT is replaced, another file only with --overwrite, the meshes that are read never.\n"
        "A model of series rolls a case out from the first states that INPUT has, a file with\n"
        "steps, numbered files or one mesh, and writes OUT/NAME.pvd, which ParaView plays.",
    )
    parser.add_argument("run", type=str, help="run folder, or a model.safetensors")
    parser.add_argument("input", type=str, nargs="+", help="mesh files or FILE.h5:NUMBER")
    parser.add_argument("-o", "--output", type=str, required=True, help="folder, or a mesh file")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files at OUT that are no results of predict",
    )
    add_file_arguments(parser, step=None)
    parser.add_argument(
        "--steps",
        type=int,
        default=None,
        help="of a model of series: steps to predict (default: as INPUT has, or as the training)",
    )
    values = parser.parse_args(argv)
    file, _, number = values.input[0].rpartition(":")
    graph_of_store = re.search(r"\.h5(:|$)", values.input[0]) is not None and len(values.input) == 1
    if graph_of_store and not (file.endswith(".h5") and number.isdecimal()):
        raise ValueError(f"INPUT is '{values.input[0]}', expected FILE.h5:NUMBER")
    surrogate = load_surrogate(Path(values.run))
    of_series = surrogate.signature.stepping is not None
    if values.steps is not None and (not of_series or values.steps < 1):
        found = "it was trained on steady graphs" if not of_series else "expected 1 or more"
        raise ValueError(f"--steps is {values.steps}, for a model of series; {found}")
    if of_series and values.step is not None:
        raise ValueError("--step is of steady models; a model of series begins with the first step")
    options = {"overwrite": values.overwrite, **({"steps": values.steps} if of_series else {})}
    if graph_of_store:
        store = open_store(file)
        store.verify()
        of_graph = predict_series_graph if of_series else predict_graph
        results = iter([of_graph(surrogate, store, int(number), values.output, **options)])
    else:
        options |= {} if of_series else {"step": values.step}
        of_files = predict_series if of_series else predict_files
        results = of_files(
            surrogate,
            mesh_files(values.input, besides=values.cond),
            values.output,
            table=CondTable.read(values.cond, in_time=of_series) if values.cond else None,
            skip_bad=values.skip_bad,
            **options,
        )
    for result in results:
        for clause in result.outside:
            print(f"warning: {result.output}: outside of the training: {clause}", file=sys.stderr)
        errors = ", ".join(f"{name} {error:.4f}" for name, error in result.errors.items())
        size = f"{result.num_nodes} nodes" + (f", {result.steps} steps" if result.steps else "")
        print(f"{result.output}: {size}" + (f"; error {errors}" if errors else ""))
