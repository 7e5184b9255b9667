"""Gmsh, ``.msh``, and what else its library reads right: ``.unv .mesh``."""

from __future__ import annotations

import importlib.util
import mmap
import re
import tempfile
from pathlib import Path

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import gmsh_child
from lrsa_geo.mesh.formats.base import RawMesh, check_counts, check_names, mapped
from lrsa_geo.mesh.formats.child_process import read_in_child


def read(path: Path, step: int) -> RawMesh:
    """Read it with Gmsh, in a process of its own.

    Cells get their physical group and entity as ``gmsh:physical`` and ``gmsh:geometrical``; nodes
    get a field of 0 and 1 for each physical group that has a name.

    Raises:
        MeshError: Gmsh's library is not installed.
        ValueError: the reader failed or died; the message is what it said last.
    """
    if importlib.util.find_spec("gmsh") is None:
        raise MeshError(
            f"{path}: reading it takes Gmsh's library, which is not installed; install it with"
            " `pip install gmsh`"
        )
    return read_in_child(gmsh_child.__file__, path, step, 20 + path.stat().st_size / 1e6, "Gmsh")


def read_unv(path: Path, step: int) -> RawMesh:
    """Read a copy without groups, whose reading ends Gmsh's process."""
    kept, left_out, dataset = [], 0, None  # type: list[bytes], int, list[bytes] | None
    for line in path.read_bytes().splitlines(keepends=True):
        if line.strip() != b"-1":
            (kept if dataset is None else dataset).append(line)
        elif dataset is None:
            dataset = [line]
        else:
            number = dataset[1].strip() if len(dataset) > 1 else b""
            left_out += number in _GROUPS
            kept += [] if number in _GROUPS else [*dataset, line]
            dataset = None
    if dataset is not None:
        raise MeshError(f"{path}: its last data set is not closed; the file is truncated")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "mesh.unv")
        copy.write_bytes(b"".join(kept))
        raw = read(copy, step)
    if left_out:
        raw.notes.append("leaves out its groups; to mark the boundary save it as .med or .msh")
    return raw


def check(path: Path) -> None:
    """Sections that are closed, what they declare, and names of fields."""
    with mapped(path) as text:
        version = re.search(rb"\$MeshFormat\s*\n\s*([\d.]+)\s+([01])\s", text)
        if version is None and (first := _VERSION_1.match(text)) is not None:
            _check_version_1(path, text, first)
            return
        if version is None:
            of_fluent = re.match(rb"\s*\((?:0|1|2)\s", text) is not None
            raise MeshError(
                f"{path}: no Gmsh $MeshFormat section; "
                + (
                    "it looks like a mesh of Fluent: export CGNS or EnSight there, or open it in"
                    " ParaView and save as VTU"
                    if of_fluent
                    else "is it a Gmsh mesh? If another program made it, save as VTU, MED or CGNS"
                )
            )
        names = []
        for section in re.finditer(rb"^\$(?!End)(\w+)[ \t\r]*\n", text, re.MULTILINE):
            kind = section[1].decode()
            if text.find(b"$End" + section[1], section.end()) < 0:
                raise MeshError(
                    f"{path}: section ${kind} is not closed; the file is truncated: copy or export"
                    " it again"
                )
            head = text[section.end() : section.end() + 400]
            if kind in ("Nodes", "Elements"):
                check_counts(path, [(kind, n) for n in _counts(head, version)])
            elif name := _FIELD.match(head):
                step = f" at step {int(name[2])}"
                names.append(f"{kind} {name[1].decode(errors='replace')}{step}")
        check_names(path, "fields", names)


_VERSION_1 = re.compile(rb"\s*\$NOD\s+(\d+)\s")


def _check_version_1(path: Path, text: mmap.mmap, nodes: re.Match[bytes]) -> None:
    """Sections of Gmsh before version 2."""
    elements = re.search(rb"\$ENDNOD\s+\$ELM\s+(\d+)\s", text)
    if elements is None or text.find(b"$ENDELM", elements.end()) < 0:
        raise MeshError(
            f"{path}: section $NOD or $ELM is not closed; the file is truncated: copy or export it"
            " again"
        )
    check_counts(path, [("nodes", int(nodes[1])), ("elements", int(elements[1]))])


_GROUPS = (b"752", b"2417", b"2429", b"2430", b"2432", b"2435", b"2452", b"2467", b"2477")
_FIELD = re.compile(rb'\s*\d+\s*"(.*?)"\s*\n\s*\d+\s*\n\s*\S+\s*\n\s*\d+\s*\n\s*(\d+)')


def _counts(head: bytes, version: re.Match[bytes]) -> list[int]:
    """What a section says of its size, where that is text: blocks and entries, or entries alone."""
    if float(version[1]) < 4:
        return [int(n) for n in head.split(None, 1)[:1]]
    return [int(n) for n in head.partition(b"\n")[0].split()[:2]] if version[2] == b"0" else []
