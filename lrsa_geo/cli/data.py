"""`lrsa-geo data`: make, look at, check and split stores."""

from __future__ import annotations

import dataclasses
import difflib
import sys
from textwrap import fill

from lrsa_geo.cli.file_names import mesh_files
from lrsa_geo.cli.look import STORE, check, info
from lrsa_geo.cli.parser import Parser

MAKE = """\
Make one file of graphs, a MeshStore; resumable. Three ways:

  data make elasticity                          simulate a data set that comes with the library;
                                                with --shard 2/4, the second of four files
  data make airfoil_geofno --from downloads/    convert a published one from the files you have
  data make --from 'cases/*.vtu' --targets p 'U [m/s]' --cond table.csv -o mine.h5
                                                your own results; with --series, of all steps
                                                of 'cases/*/case.pvd' or 'cases/*/step_*.vtu'

Simulated: {recipes}.
Published (see datasets/published/README.md):
{published}.
`data make NAME --help` tells the options of each.
"""


def data(argv: list[str]) -> None:
    """Run one action."""
    actions = {"make": _make, "info": info, "check": check, "split": _split}
    if argv and argv[0] in actions:
        actions[argv[0]](argv[1:])
        return
    parser = Parser("lrsa-geo data", "ACTION ...", "Make, look at, check and split stores.")
    parser.add_argument(
        "action",
        choices=list(actions),
        help="make: simulate, convert or collect graphs; info: what is in a store or a mesh file;"
        " check: what is wrong with a store or with mesh files; split: which graphs train and test",
    )
    parser.parse_args(argv)


def add_file_arguments(parser: Parser, step: int | None = 0) -> None:
    """What reading mesh files needs to be told; without a ``step`` it is that of the training."""
    parser.add_argument(
        "--cond",
        type=str,
        default=None,
        help="CSV table of parameters: first column the file's name, then one column each; of"
        " series, with a column 'time' and several rows for a file, functions of time",
    )
    parser.add_argument(
        "--step",
        type=int,
        default=step,
        help="step of a time series, -1 for the last"
        + (" (default: that of the training)" if step is None else ""),
    )
    parser.add_argument(
        "--skip-bad",
        dest="skip_bad",
        action="store_true",
        help="leave out files that cannot be read, and list them at the end",
    )


def _make(argv: list[str]) -> None:
    from lrsa_geo.data.datasets import PUBLISHED
    from lrsa_geo.simulate import RECIPES

    name = argv[0] if argv and not argv[0].startswith("-") else None
    if name in RECIPES:
        _make_recipe(name, argv[1:])
    elif name in PUBLISHED:
        _make_published(name, argv[1:])
    elif name is None and argv and "--help" not in argv and "-h" not in argv:
        _make_from_files(argv)
    else:
        parser = Parser(
            "lrsa-geo data make",
            "[NAME] [--from ...] [options]",
            MAKE.format(recipes=", ".join(RECIPES), published=fill(", ".join(PUBLISHED), 88)),
        )
        if name is not None:
            near = difflib.get_close_matches(name, [*RECIPES, *PUBLISHED], 1)
            parser.error(
                f"there is no data set '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")
            )
        _add_files_arguments(parser)
        parser.parse_args(argv or ["--help"])


def _make_recipe(name: str, argv: list[str]) -> None:
    from lrsa_geo.data import check_output
    from lrsa_geo.simulate import Shard, make_store, recipe_class

    parser = Parser(f"lrsa-geo data make {name}", "[options]", "Simulate a data set (resumable).")
    default = f"datasets/{name}/{name}.h5"
    _add_output(parser, default)
    parser.add_argument(
        "--shard",
        type=str,
        default=None,
        metavar="I/K",
        help="make the I-th of K files, which machines make side by side and 'NAME-*-of-K.h5' reads"
        f" as one store (default output: {name}-I-of-K.h5 beside it)",
    )
    parser.add_class_arguments(recipe_class(name), "recipe")
    values = parser.instantiate(parser.parse_args(argv))
    shard = None if values.shard is None else Shard.parse(values.shard)
    output = values.output
    if shard is not None and output == default:
        output = str(shard.beside(default))
    check_output(output, same={})
    store = make_store(values.recipe, output, values.processes, shard)
    print(f"{store.path}: {len(store)} graphs")


def _make_published(name: str, argv: list[str]) -> None:
    from lrsa_geo.data import check_output
    from lrsa_geo.data.datasets import PUBLISHED, convert_published

    parser = Parser(
        f"lrsa-geo data make {name}",
        "--from FOLDER [options]",
        f"Convert {name}, which you find at\n{PUBLISHED[name].card.source}.",
    )
    parser.add_argument(
        "--from", dest="source", type=str, required=True, help="folder of the files"
    )
    parser.add_argument(
        "-o", "--output", type=str, default=f"{name}.h5", help="file (default: %(default)s)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a store that was made in another way"
    )
    parser.add_argument(
        "--val-share",
        dest="val_share",
        type=float,
        default=0.05,
        help="share of the published training graphs for validation; 0 for none",
    )
    values = parser.parse_args(argv)
    check_output(values.output, values.overwrite, {"published": name})
    store = convert_published(name, values.source, values.output, values.val_share)
    print(f"{store.path}: {len(store)} graphs; the published split is beside it")


def _make_from_files(argv: list[str]) -> None:
    from lrsa_geo.data import CondTable, collect, describe_collection

    parser = Parser(
        "lrsa-geo data make", "--from PATTERN ... --targets NAME ... -o FILE.h5", "Your own files."
    )
    _add_files_arguments(parser)
    values = parser.parse_args(argv)
    if not values.source or not values.targets:
        parser.error("give --from and --targets, or the name of a data set")
    store, failures = collect(
        mesh_files(values.source, besides=values.cond),
        values.output,
        inputs=values.inputs,
        targets=values.targets,
        table=CondTable.read(values.cond, values.series) if values.cond else None,
        boundary=values.boundary,
        step=values.step,
        merge_nodes=values.merge_nodes,
        series=values.series,
        every=values.every,
        from_time=values.from_time,
        skip_bad=values.skip_bad,
        processes=values.processes,
        overwrite=values.overwrite,
    )
    if several := store.provenance.get("several_steps"):
        print(
            f"note: {several['files']} of {several['of']} files have more than one step, such as"
            f" {several['first']} with {several['steps']}; step {values.step} of each is taken:"
            " --step chooses another one, --series makes a graph of all steps",
            file=sys.stderr,
        )
    for failure in failures:
        print(f"left out: {failure.reason}")
    print(f"{describe_collection(store)}\n{len(failures)} files left out")


def _add_output(parser: Parser, default: str) -> None:
    parser.add_argument(
        "-o", "--output", type=str, default=default, help="file (default: %(default)s)"
    )
    parser.add_argument(
        "--processes", type=int, default=None, help="worker processes (default: one per core)"
    )


def _add_files_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        type=str,
        nargs="+",
        default=[],
        help="mesh files, patterns of them in quotes ('cases/**/*.vtu'), or a folder of them",
    )
    parser.add_argument(
        "--targets",
        type=str,
        nargs="+",
        default=[],
        help="fields to predict, of nodes or cells, perhaps with units: p 'U [m/s]'",
    )
    parser.add_argument(
        "--inputs",
        type=str,
        nargs="+",
        default=[],
        help="fields that are known, and from the cells: boundary_distance boundary_offset normal;"
        " of a field of materials a column for each, 'mat=1' 'mat=2'",
    )
    parser.add_argument(
        "--boundary",
        type=str,
        default="",
        help="field of whole numbers that marks kinds of boundary (default: 1 on it, 0 inside)",
    )
    add_file_arguments(parser)
    parser.add_argument(
        "--series",
        action="store_true",
        help="make one graph of all steps of a file (PVD, XDMF, Exodus, EnSight, OpenFOAM, ...) or"
        " of numbered files (case3/step_*.vtu), for models that step through time",
    )
    parser.add_argument(
        "--every", type=int, default=1, help="of a series, take every so many steps"
    )
    parser.add_argument(
        "--from-time",
        dest="from_time",
        type=float,
        default=None,
        help="of a series, leave out the steps before this time",
    )
    parser.add_argument(
        "--merge-nodes",
        dest="merge_nodes",
        type=float,
        default=None,
        metavar="TOLERANCE",
        help="make nodes one that are at most this far apart, in the files' units (0: at exactly"
        " one place); predictions do the same",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a store that was made in another way"
    )
    _add_output(parser, "data.h5")


def _split(argv: list[str]) -> None:
    from lrsa_geo.data import SplitConfig, make_split, open_store, split_path

    parser = Parser(
        "lrsa-geo data split",
        "FILE [options]",
        "Choose which graphs are for training, validation and test. FILE.split.json keeps it, and\n"
        "`lrsa-geo train FILE.h5` uses it.",
    )
    parser.add_argument("file", type=str, help=STORE)
    parser.add_class_arguments(SplitConfig)
    values = parser.instantiate(parser.parse_args(argv))
    config = SplitConfig(**{f.name: values[f.name] for f in dataclasses.fields(SplitConfig)})
    store = open_store(values.file)
    split = make_split(store, config)
    path = split_path(store.path)
    split.save(path)
    print(f"{path}: {split}")
