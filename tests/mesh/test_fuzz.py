"""A fuzz run over every reader: damaged files are read or refused, and end within time and memory.

Kinds: flipped, deleted and inserted bytes, truncated files, lines that changed places or come
twice, numbers that are others. Each file is read in a process of its own. It may be read, if what
comes is consistent (finite positions, cells of the right width with nodes that exist, fields with
a row for each node or cell), or refused with its name. It may not end the process, take longer or
need more memory than allowed.

A few files for each format run with the tests; for more of them::

    python tests/mesh/test_fuzz.py --files 200 --seed 1
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import meshio
import numpy as np
import pytest

from lrsa_geo.mesh import MESH_SUFFIXES, MeshError, read_mesh
from lrsa_geo.mesh.cells import expected_widths, is_known

sys.path.insert(0, str(Path(__file__).parent))
from own_places import CUBE, exodus
from test_results_of_solvers import ELEMENTS, MARKERS, POINTS, frd

SECONDS = 60
GIB = 1 << 30
# Readers of other libraries start a program for every file; a series has a file for each step.
SLOW = (
    ".msh",
    ".unv",
    ".mesh",
    ".cgns",
    ".case",
    ".foam",
    ".pvd",
    ".pvtu",
    ".pvtp",
    ".pvti",
    ".pvtr",
)
SLOW += (".pvts", ".vtm", ".vtkhdf", ".vti", ".vtr", ".vts")
NOT_FUZZED = (".foam", ".cgns", ".case", ".rmed", ".fem", ".nas", ".exo", ".ex2", ".exii", ".g")
NOT_FUZZED += (".pvti", ".pvtr", ".pvts", ".3mf", ".gltf", ".xmf")  # no writer, or alike others


def make_seeds(folder: Path) -> dict[str, Path]:
    """A real file of every format that can be written here, by its extension."""
    gmsh, pv, trimesh = map(pytest.importorskip, ("gmsh", "pyvista", "trimesh"))
    vtk = pytest.importorskip("vtk")
    seeds: dict[str, Path] = {}

    def take(name: str) -> Path:
        return seeds.setdefault(name, folder / name)

    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)
    square = gmsh.model.occ.addRectangle(0, 0, 0, 1, 1)
    gmsh.model.occ.synchronize()
    gmsh.model.addPhysicalGroup(2, [square], name="plate")
    gmsh.option.setNumber("Mesh.MeshSizeMax", 0.7)
    gmsh.model.mesh.generate(2)
    for version, binary in ((2.2, 0), (2.2, 1), (4.1, 0), (4.1, 1)):
        gmsh.option.setNumber("Mesh.MshFileVersion", version)
        gmsh.option.setNumber("Mesh.Binary", binary)
        gmsh.write(str(take(f"g{version}-{binary}.msh")))
    gmsh.option.setNumber("Mesh.Binary", 0)
    for suffix in (".bdf", ".inp", ".med", ".unv", ".mesh", ".vtk"):
        gmsh.write(str(take(f"g{suffix}")))
    gmsh.finalize()
    for suffix in (".stl", ".ply", ".obj", ".off", ".glb"):
        trimesh.creation.box().export(take(f"t{suffix}"))
    cloud = np.random.default_rng(0).random((9, 3))
    np.savez(take("c.npz"), pos=cloud, T=cloud[:, 0])
    np.savetxt(take("c.xyz"), cloud)
    np.savetxt(take("c.csv"), cloud, delimiter=",", header="x,y,z", comments="")
    image = pv.ImageData(dimensions=(3, 3, 2))
    image["p"], image.cell_data["c"] = np.arange(18.0), np.arange(4)
    grid = image.cast_to_structured_grid().cast_to_unstructured_grid()
    image.save(take("v.vti"))
    image.cast_to_structured_grid().save(take("v.vts"))
    image.cast_to_rectilinear_grid().save(take("v.vtr"))
    grid.extract_surface(algorithm="dataset_surface").save(take("v.vtp"))
    grid.save(take("v.vtk"))
    grid.save(take("v.vtu"))
    grid.save(take("va.vtu"), binary=False)
    meshio.Mesh(grid.points, [("hexahedron", grid.cells_dict[12])], {"p": grid["p"]}).write(
        take("m.xdmf"), data_format="XML"
    )
    writer = vtk.vtkHDFWriter()
    writer.SetInputData(grid)
    writer.SetFileName(str(take("v.vtkhdf")))
    writer.Write()
    pv.MultiBlock([grid]).save(take("v.vtm"))
    take("v.pvd").write_text(
        '<VTKFile type="Collection" version="0.1"><Collection>'
        '<DataSet timestep="0" part="0" file="v.vtu"/></Collection></VTKFile>'
    )
    take("v.vtu.series").write_text('{"files": [{"name": "v.vtu", "time": 0.5}]}')
    take("v.pvtu").write_text(
        '<VTKFile type="PUnstructuredGrid" version="0.1"><PUnstructuredGrid GhostLevel="0">'
        '<PPointData><PDataArray type="Float64" Name="p"/></PPointData><PPoints><PDataArray'
        ' type="Float32" NumberOfComponents="3"/></PPoints><Piece Source="v.vtu"/>'
        "</PUnstructuredGrid></VTKFile>"
    )
    take("v.pvtp").write_text(
        '<VTKFile type="PPolyData" version="0.1"><PPolyData GhostLevel="0"><PPoints><PDataArray'
        ' type="Float32" NumberOfComponents="3"/></PPoints><Piece Source="v.vtp"/>'
        "</PPolyData></VTKFile>"
    )
    exodus(take("e.e"), CUBE, [("HEX8", [range(8)])], [("T", [[1] * 8, [2] * 8])], (), (0, 1))
    results = [(1, 1.0, "T", ("T",), {i: [i] for i in range(8)})]
    frd(take("f.frd"), 1, CUBE, results)
    take("s.su2").write_text("NDIME= 2\n" + ELEMENTS + POINTS + MARKERS)
    return seeds


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The content with one to three faults."""
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(("cut", "flip", "delete", "insert", "swap", "twice", "number"))
        at = rng.randrange(max(len(content), 1))
        lines = content.split(b"\n")
        one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        if kind == "cut":
            content = content[: max(at, 1)]
        elif kind == "flip":
            content = content[:at] + rng.randbytes(rng.randint(1, 3)) + content[at + 3 :]
        elif kind == "delete":
            content = content[:at] + content[at + rng.randint(1, 40) :]
        elif kind == "insert":
            content = content[:at] + rng.choice((b"9" * 9, b"-1", b"\n", b" 0 ")) + content[at:]
        elif kind == "swap":
            lines[one], lines[other] = lines[other], lines[one]
            content = b"\n".join(lines)
        elif kind == "twice":
            content = b"\n".join([*lines[:one], lines[one], *lines[one:]])
        else:
            found = list(re.finditer(rb"\d+", content))
            if found:
                place = rng.choice(found)
                number = str(rng.choice((0, 1, 7, 4096, 2**31 - 1, 2**40))).encode()
                content = content[: place.start()] + number + content[place.end() :]
    return content or b"\0"


def verdict(path: Path) -> str:
    """ "read" for a sound mesh, "refused" by the file's name, or what is inconsistent."""
    try:
        data = read_mesh(path)
    except MeshError as error:
        named = str(path) in str(error)
        return "refused" if named else f"the refusal does not name the file: {error}"
    if not data.pos.isfinite().all():
        return "positions are not finite"
    num_cells = len(data.cells) if "cells" in data else 0
    for nodes, kind in (
        zip(data.cells.tolist(), data.cell_types.tolist(), strict=True) if (num_cells) else ()
    ):
        held = [node for node in nodes if node >= 0]
        if not is_known(kind) or expected_widths(kind, len(held)):
            return f"a cell of type {kind} has {len(held)} nodes"
        if max(held) >= len(data.pos):
            return f"a cell has node {max(held)} of {len(data.pos)}"
    for fields, rows in ((data.point_data, len(data.pos)), (data.cell_data, num_cells)):
        for name, values in fields.items():
            if len(values) != rows:
                return f"field '{name}' has {len(values)} rows, expected {rows}"
    return "read"


def outcome(path: Path) -> str:
    """The verdict of a process of its own, or how that ended."""
    note = path.with_name(f"{path.name}.verdict")
    reader = os.fork()
    if reader == 0:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 6 * GIB, hard))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            said = verdict(path)
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        note.write_text(said)
        os._exit(0)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(reader, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            if code:
                return f"the process ended with {code}"
            said = note.read_text()
            note.unlink()
            return said
        time.sleep(0.002)
    os.kill(reader, signal.SIGKILL)
    os.waitpid(reader, 0)
    return f"it took more than {SECONDS} s"


def fuzz(keep: Path, seed: Path, count: int, number: int) -> tuple[Counter[str], list[str]]:
    """How many damaged copies of a file were read and refused, and faults, whose files are kept."""
    rng = random.Random(f"{seed.name} {number}")
    content = seed.read_bytes()
    counts: Counter[str] = Counter()
    faults = []
    for i in range(count):
        path = seed.with_name(f"damaged-{number}-{i}-{seed.name}")
        path.write_bytes(damaged(content, rng))
        said = outcome(path)
        if said in ("read", "refused"):
            counts[said] += 1
            path.unlink()
        else:
            counts["faults"] += 1
            shutil.move(path, keep / path.name)
            faults.append(f"{path.name}: {said}")
    return counts, faults


def share(name: str, count: int) -> int:
    """How many copies of a file are damaged: fewer where each takes seconds to read."""
    return max(1, count // 12) if Path(name).suffix in SLOW else count


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    return make_seeds(tmp_path_factory.mktemp("seeds"))


def test_every_format_is_fuzzed(seeds):
    suffixes = {Path(name).suffix for name in seeds}
    assert suffixes | set(NOT_FUZZED) == set(MESH_SUFFIXES)
    for path in seeds.values():
        assert verdict(path) == "read"


def test_damaged_files_of_every_format(tmp_path, seeds):
    for name, path in seeds.items():
        _, faults = fuzz(tmp_path, path, share(name, 12), 0)
        assert not faults, "\n".join(faults)


def main() -> None:
    """Print counts, and keep what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--files", type=int, default=100, help="of each format; a twelfth of the slow ones"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="names that have this in them")
    parser.add_argument("--keep", default="fuzz-faults", help="folder of files that went wrong")
    given = parser.parse_args()
    keep = Path(given.keep)
    keep.mkdir(parents=True, exist_ok=True)
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, path in make_seeds(Path(folder)).items():
            if given.only not in name:
                continue
            start = time.monotonic()
            counts, faults = fuzz(keep, path, share(name, given.files), given.seed)
            total += counts
            print(f"{name:14s} {_words(counts)}, {time.monotonic() - start:.0f} s", flush=True)
            print("".join(f"    {fault}\n" for fault in faults), end="", flush=True)
    print(f"{total.total()} damaged files: {_words(total)}")


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[word]} {word}" for word in ("read", "refused", "faults"))


if __name__ == "__main__":
    main()
