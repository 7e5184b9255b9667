"""The command `lrsa-geo`: parse, call, print."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from lrsa_geo import __version__

DESCRIPTION = """\
Train neural operators on meshes: geometry in, field out.

  lrsa-geo train elasticity --quick      the whole road on a small set, in three minutes
  lrsa-geo train elasticity              the same in earnest
  lrsa-geo evaluate runs/elasticity      test errors and pictures of a finished run
  lrsa-geo predict runs/elasticity datasets/elasticity/elasticity.h5:1000 -o cell.vtu
"""


class HelpFormatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Leaves the line breaks of a description as they are."""


class Parser(ArgumentParser):
    """Errors in one line, with the nearest valid name where a name is unknown."""

    def __init__(self, prog: str, usage: str, description: str) -> None:
        super().__init__(
            prog=prog,
            usage=f"{prog} {usage}",
            description=description,
            formatter_class=HelpFormatter,
        )

    def error(self, message: str, *_: Any) -> NoReturn:
        """Print and leave with status 2."""
        names = [f"--{action.dest}" for action in self._actions]
        unknown = re.search(r"unrecognized arguments: --(\S+)", message)
        if unknown is None:
            group = re.search(r"Group '(\S+)' does not accept option '(\S+)'", message)
            unknown = group and re.match(r"(.*)", ".".join(group.groups()))
        hint = ""
        if unknown is not None:
            near = difflib.get_close_matches("--" + unknown[1].split("=")[0], names, 1, 0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
        print(f"{self.prog}: error: {message.strip()}{hint}", file=sys.stderr)
        print(f"See `{self.prog} --help`.", file=sys.stderr)
        sys.exit(2)


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 for an error of the command, 2 for a wrong call."""
    argv = list(sys.argv[1:] if argv is None else argv)
    commands: dict[str, Callable[[list[str]], None]] = {
        "data": _data,
        "train": _train,
        "evaluate": _evaluate,
        "predict": _predict,
    }
    if argv and argv[0] in commands:
        return _run(commands[argv[0]], argv[1:])
    parser = Parser("lrsa-geo", "COMMAND ...", DESCRIPTION)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "command",
        choices=list(commands),
        help="data: make and look at stores; train; evaluate; predict."
        " `lrsa-geo COMMAND --help` tells the rest.",
    )
    parser.parse_args(argv)
    return 0


def _run(command: Callable[[list[str]], None], argv: list[str]) -> int:
    try:
        command(argv)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        print(f"lrsa-geo: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _data(argv: list[str]) -> None:
    actions = {"make": _data_make, "info": _data_info}
    if argv and argv[0] in actions:
        return actions[argv[0]](argv[1:])
    parser = Parser("lrsa-geo data", "ACTION ...", "Make and look at stores of graphs.")
    parser.add_argument("action", choices=list(actions), help="`make NAME` or `info FILE`")
    parser.parse_args(argv)
    return None


def _data_make(argv: list[str]) -> None:
    from lrsa_geo.simulate import RECIPES, make_store, recipe_class

    parser = Parser(
        "lrsa-geo data make", "NAME [options]", "Simulate a data set into one file (resumable)."
    )
    parser.add_argument("name", choices=list(RECIPES), help="which one")
    parser.add_argument(
        "-o", "--output", type=str, help="file (default: datasets/NAME/NAME.h5)", default=None
    )
    parser.add_argument(
        "--processes", type=int, help="worker processes (default: one per core)", default=None
    )
    if argv and argv[0] in RECIPES:
        parser.add_class_arguments(recipe_class(argv[0]), "recipe")
    values = parser.instantiate(parser.parse_args(argv))
    path = values.output or f"datasets/{values.name}/{values.name}.h5"
    store = make_store(values.recipe, path, values.processes)
    print(f"{store.path}: {len(store)} graphs")


def _data_info(argv: list[str]) -> None:
    from lrsa_geo.data import MeshStore, describe

    parser = Parser("lrsa-geo data info", "FILE", "What a store holds; checks its digest.")
    parser.add_argument("file", type=str, help="MeshStore (.h5)")
    print(describe(MeshStore(parser.parse_args(argv).file)))


def _train(argv: list[str]) -> None:
    from lrsa_geo.train import (
        add_config_arguments,
        config_from,
        find_config,
        resumable_run,
        train,
        unused_run,
    )

    parser = Parser(
        "lrsa-geo train",
        "WHAT [options]",
        "Train a surrogate, test it, draw what it does. WHAT is a data set that comes with the\n"
        "library (elasticity) or a YAML configuration. Every value below is a key of the YAML\n"
        "file and a flag; flags win.",
    )
    parser.add_argument("what", type=str, help="name or config.yaml; comes first")
    parser.add_argument("--quick", action="store_true", help="small set, small model, minutes")
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
    what, rest = argv[0], argv[1:]
    quick = "--quick" in rest
    layers = find_config(what, quick=quick)
    name = config_from(parser.instantiate(_parse(parser, what, layers, rest))).name
    given = parser.parse_args([what, *rest]).run
    resume = "--resume" in rest
    if resume:
        folder = Path(given) if given else resumable_run(name)
        saved = folder / "config.yaml"
        layers = [*layers, *([str(saved)] if saved.exists() else [])]
    else:
        folder = Path(given) if given else unused_run(name)
    config = config_from(parser.instantiate(_parse(parser, what, layers, rest)))
    print(f"run folder: {folder}")
    report = train(config, folder, resume=resume)
    _print_report(report, folder)


def _parse(parser: Parser, what: str, layers: list[str], rest: list[str]) -> Namespace:
    """The layers of configuration in order, then the flags of the command line."""
    return parser.parse_args([what, *(a for file in layers for a in ("--config", file)), *rest])


def _evaluate(argv: list[str]) -> None:
    from lrsa_geo.train import evaluate

    parser = Parser(
        "lrsa-geo evaluate", "RUN", "Test a trained model on its held-out graphs; draw pictures."
    )
    parser.add_argument("run", type=str, help="run folder")
    folder = Path(parser.parse_args(argv).run)
    _print_report(evaluate(folder), folder)


def _predict(argv: list[str]) -> None:
    from lrsa_geo.data import MeshStore, write_mesh
    from lrsa_geo.train import load_surrogate, predict, result_fields

    parser = Parser(
        "lrsa-geo predict",
        "RUN FILE.h5:NUMBER -o OUT.vtu",
        "Predict the fields of one graph and write them to a mesh file (VTU, VTK or XDMF): for\n"
        "each field F the columns F_predicted and, where the truth is known, F and F_error.",
    )
    parser.add_argument("run", type=str, help="run folder")
    parser.add_argument("input", type=str, help="FILE.h5:NUMBER, a graph of a MeshStore")
    parser.add_argument(
        "-o", "--output", type=str, required=True, help="mesh file, such as out.vtu"
    )
    values = parser.parse_args(argv)
    file, _, number = values.input.rpartition(":")
    if not number.isdecimal():
        raise ValueError(f"INPUT is '{values.input}', expected FILE.h5:NUMBER")
    store = MeshStore(file)
    if int(number) >= len(store):
        raise ValueError(f"{file} has the graphs 0 to {len(store) - 1}, asked for is {number}")
    surrogate = load_surrogate(Path(values.run))
    data = store[int(number)]
    result = result_fields(predict(surrogate, data), data, surrogate.signature.fields["y"])
    write_mesh(values.output, data, result)
    print(f"{values.output}: {data.num_nodes} nodes, fields {', '.join(result)}")


def _print_report(report: dict[str, Any], folder: Path) -> None:
    graphs = len(report["test_graphs"])
    print(f"\nrelative L2 on {graphs} test meshes   mean   median    worst")
    for name, error in report["test"].items():
        print(f"  {name:30s} {error['mean']:8.4f} {error['median']:8.4f} {error['worst']:8.4f}")
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in report["seconds"].items())
    print(f"{report['parameters']:,} parameters; {seconds}")
    print(f"figures and pictures: {folder}/metrics.json, {folder}/pictures/")


if __name__ == "__main__":
    sys.exit(main())
