"""`lrsa-geo data info` and `data check`: what stores and mesh files hold, and what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

from lrsa_geo.cli.file_names import mesh_files
from lrsa_geo.cli.parser import Parser

STORE = "a MeshStore (.h5), or a pattern in quotes ('shards/*.h5') or folder of several"


def info(argv: list[str]) -> None:
    """Print what a store or a mesh file holds."""
    from lrsa_geo.data import describe, describe_mesh, open_store
    from lrsa_geo.mesh import MESH_SUFFIXES

    parser = Parser(
        "lrsa-geo data info",
        "FILE",
        "What a store holds, whose digest is checked; or a mesh file: its cells, fields, blocks and"
        " steps.",
    )
    parser.add_argument("file", type=str, help=f"{STORE}, or a mesh file")
    parser.add_argument("--step", type=int, default=0, help="step of a mesh file's fields")
    values = parser.parse_args(argv)
    if Path(values.file).suffix.lower() in MESH_SUFFIXES:
        print(describe_mesh(values.file, values.step))
    else:
        print(describe(open_store(values.file)))


def check(argv: list[str]) -> None:
    """Print what is wrong with a store or with mesh files."""
    from lrsa_geo.data import (
        Finding,
        Split,
        check_files,
        check_store,
        open_store,
        split_path,
    )

    parser = Parser(
        "lrsa-geo data check",
        "FILE ...",
        "Look for what spoils a training: NaN, broken or repeated cells, nodes that part a mesh,\n"
        "fields whose offset hides their variation, outliers, meshes that are trained and\n"
        "tested on (if the store has been split). The exit status is 1 if there is an error.",
    )
    parser.add_argument(
        "file",
        type=str,
        nargs="+",
        help=f"{STORE}; or mesh files, patterns of them in quotes, or a folder of them",
    )
    parser.add_argument("--step", type=int, default=0, help="step of the mesh files' fields")
    values = parser.parse_args(argv)
    findings: list[Finding]
    if len(values.file) == 1 and _is_store(values.file[0]):
        store = open_store(values.file[0])
        splits = split_path(store.path)
        split = Split.load(splits, len(store)) if splits.exists() else None
        findings = check_store(store, split)
        about = f"{store.path}: {len(store):,} graphs"
        ending = f"; split of {splits}" if split else "; no split yet"
    else:
        files = mesh_files(values.file)
        findings = check_files(files, values.step)
        about, ending = f"{len(files):,} mesh files", ""
    for finding in findings:
        print(finding)
    count = dict.fromkeys(("error", "warning", "note"), 0)
    for finding in findings:
        count[finding.kind.level] += 1
    print(
        f"{about}, {count['error']} kinds of errors, {count['warning']} of warnings,"
        f" {count['note']} of notes{ending}"
    )
    if count["error"]:
        sys.exit(1)


def _is_store(name: str) -> bool:
    """Whether a name means a store; a folder with mesh files in it means those."""
    from lrsa_geo.data import names_store
    from lrsa_geo.data.store import SUFFIXES
    from lrsa_geo.mesh import MESH_SUFFIXES

    if not Path(name).is_dir():
        return Path(name).suffix.lower() in SUFFIXES
    has_meshes = any(file.suffix.lower() in MESH_SUFFIXES for file in Path(name).iterdir())
    return names_store(name) and not has_meshes
