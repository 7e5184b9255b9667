"""Where a store may go, and what `data make` says that it took.

Kinds: a mesh, another file, a folder, a store of other files or made in another way as the output;
the same command again; a name without .h5; a folder that cannot be written; a disk too small;
fields of nodes and cells with units, parameters, markers, the step, nodes that are merged.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from specimens import plate, save

from lrsa_geo.cli import main
from lrsa_geo.data import MeshStore, StoreError, check_output, collect
from lrsa_geo.data.output import check_space


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        pos, cells = plate(i)
        heat = np.arange(len(cells), dtype=float)
        save(
            tmp_path / f"a{i}.vtu",
            pos,
            [("triangle", cells)],
            {"heat": [heat]},
            wall=lambda wave: (wave > 0).astype(np.int32),
        )
    return tmp_path


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name[0] != "."}


MAKE = ["data", "make", "--from", "a*.vtu", "--targets", "p", "--processes", "0"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("a0.vtu", "a0.vtu: a store's name ends in .h5 or .hdf5, got '.vtu'; write -o a0.h5"),
        ("new", "new: a store's name ends in .h5 or .hdf5, got ''; write -o new.h5"),
        ("mesh.h5", "mesh.h5: exists and is not a store, so it is not replaced"),
        ("folder.h5", "folder.h5: is a folder, expected the name of a file"),
        ("a0.vtu/s.h5", "a0.vtu/s.h5: nothing can be written into"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_what_a_user_has_is_not_replaced(folder, capsys, output, message, more):
    (folder / "mesh.h5").write_bytes(b"something else")
    (folder / "folder.h5").mkdir()
    before = contents(folder)
    assert main([*MAKE, "-o", output, *more]) == 1
    assert message in capsys.readouterr().err
    assert contents(folder) == before
    assert not list(folder.glob("*.parts"))


@pytest.mark.parametrize("name", [["elasticity"], ["pipe_geofno", "--from", "."]])
def test_no_way_of_making_replaces_a_mesh(folder, capsys, name):
    before = contents(folder)
    assert main(["data", "make", *name, "-o", "a0.vtu"]) == 1
    assert "a0.vtu: a store's name ends in .h5" in capsys.readouterr().err
    assert contents(folder) == before


@pytest.mark.parametrize(
    "change", [["--targets", "heat"], ["--inputs", "heat"], ["--from", "a0.vtu"]]
)
def test_a_store_is_replaced_by_the_same_command_alone(folder, capsys, change):
    assert main([*MAKE, "-o", "s.h5"]) == 0
    before = MeshStore("s.h5").sha256
    assert main([*MAKE, "-o", "s.h5"]) == 0
    assert MeshStore("s.h5").sha256 == before
    assert main([*MAKE, "-o", "s.h5", *change]) == 1
    assert "s.h5: exists and was made in another way" in capsys.readouterr().err
    assert MeshStore("s.h5").sha256 == before
    assert main([*MAKE, "-o", "s.h5", *change, "--overwrite"]) == 0
    assert MeshStore("s.h5").sha256 != before


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_full_disk_says_so_and_can_be_gone_on_from(folder, small_disk, capsys, processes):
    for i in range(3, 30):
        shutil.copy(folder / "a0.vtu", folder / f"a{i}.vtu")
    command = [*MAKE[:-1], processes, "-o", "small/s.h5"]
    assert main(command) == 1
    assert "small/s.h5: " in (error := capsys.readouterr().err)
    assert "the disk is full" in error
    assert not (small_disk / "s.h5").exists()
    assert not list(small_disk.glob(".*.h5"))
    (small_disk / "ballast").unlink()
    assert main(command) == 0
    assert len(MeshStore("small/s.h5")) == 30
    assert not (small_disk / "s.h5.parts").exists()


def test_a_small_disk_is_seen_before_it_is_full(tmp_path):
    check_space(tmp_path / "s.h5", 1e3)
    with pytest.raises(StoreError, match=r"s\.h5: needs about 1,000,000,000,000 MB .* MB are free"):
        check_space(tmp_path / "new/s.h5", 1e18)


def test_the_room_that_is_asked_for_is_what_is_used(folder):
    """Twice the graphs: their parts and the store."""
    from lrsa_geo.data.collect import _Collection
    from lrsa_geo.data.cond_table import CondTable
    from lrsa_geo.data.reader import reader_for
    from lrsa_geo.data.sources import Sources

    files = tuple(str(path) for path in sorted(folder.glob("*.vtu")))
    task = _Collection(Sources.of(files, CondTable(), None, 0), folder / "s.h5", False)
    task.first_reader(lambda mesh, where: reader_for(mesh, targets=["p"], where=where))
    store, _ = collect(files, folder / "s.h5", targets=["p"], processes=0)
    arrays = sum(store.read(name).nbytes for name in store.arrays)
    assert task.size_when_made() == pytest.approx(2 * arrays, rel=0.02)


def test_it_says_what_it_took(folder, capsys):
    (folder / "t.csv").write_text("file,mach,angle [deg]\na0,1,2\na1,2,3\na2,4,5\n")
    arguments = ["--inputs", "heat [W]", "boundary_distance", "--targets", "p [Pa]"]
    more = ["--cond", "t.csv", "--boundary", "wall", "--merge-nodes", "1e-6", "-o", "s.h5"]
    assert main([*MAKE[:4], *arguments, *more, "--step", "-1", "--processes", "0"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "s.h5: 3 graphs of 25 to 25 nodes in 2 dimensions",
        "  target    p [Pa], of the nodes",
        "  input     heat [W], averaged from cells to nodes",
        "  input     boundary_distance [no unit], worked out from the cells",
        "  parameter mach [no unit], from t.csv",
        "  parameter angle [deg], from t.csv",
        "  boundary  field 'wall'",
        "  step      the last of each file",
        "  nodes     up to 1e-06 apart are made one",
        "0 files left out",
    ]


def test_files_that_are_left_out_are_counted(folder, capsys):
    (folder / "a3.vtu").write_text("<VTKFile")
    assert main([*MAKE, "-o", "s.h5", "--skip-bad"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("left out: a3.vtu: cannot be read")
    assert printed[-1] == "1 files left out"
    assert len(MeshStore("s.h5")) == 3


def test_a_store_may_be_made_again_by_name(folder):
    collect(["a0.vtu"], "s.h5", targets=["p"], processes=0)
    check_output("s.h5", same={"files": ["a0.vtu"]})
    check_output("s.h5", overwrite=True)
    for same in (None, {"files": ["a1.vtu"]}, {"files": ["a0.vtu"], "unknown": 1}):
        with pytest.raises(StoreError, match="made in another way"):
            check_output("s.h5", same=same)
