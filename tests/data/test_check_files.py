"""`data check` of mesh files, before a store is made.

Kinds: one specimen of each fault that is known, in a folder; sound files; files that are all point
clouds; a step of a series.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from specimens import plate, save, write_specimens

from lrsa_geo.cli import main
from lrsa_geo.data import check_files
from lrsa_geo.data.check import fields, files, meshes


@pytest.fixture(scope="module")
def specimens(tmp_path_factory):
    folder = tmp_path_factory.mktemp("specimens")
    return folder, write_specimens(folder)


def test_every_kind_is_found_where_it_is(specimens):
    folder, wanted = specimens
    found = {f.kind.name: f for f in check_files(sorted(folder.iterdir()))}
    missing = {kind for kind, where in wanted.items() if where not in str(found.get(kind))}
    assert not missing
    assert found.keys() == wanted.keys()


def test_the_folder_has_all_kinds_of_the_catalogue(specimens):
    _, wanted = specimens
    known = {
        kind.name
        for part in (meshes, fields, files)
        for kind in vars(part).values()
        if type(kind).__name__ == "Kind"
    }
    of_stores = {"no nodes", "nodes without a target (NaN)", "values that are NaN or infinite"}
    assert known - wanted.keys() == of_stores


def test_the_command_prints_a_kind_once(specimens, capsys):
    folder, wanted = specimens
    with pytest.raises(SystemExit) as leaving:
        main(["data", "check", str(folder)])
    assert leaving.value.code == 1
    printed = capsys.readouterr().out
    heads = re.findall(r"^(?:error|warning|note): (.*) \([\d,]+\)$", printed, re.MULTILINE)
    assert sorted(heads) == sorted(wanted)
    assert len(re.findall(r"^    -> ", printed, re.MULTILINE)) == len(wanted)
    assert "--merge-nodes 1e-08" in printed
    assert re.search(r"^\d+ mesh files, \d+ kinds of errors, ", printed.splitlines()[-1])


def test_sound_files_have_no_findings(tmp_path, capsys):
    for i in range(4):
        pos, cells = plate(i)
        save(tmp_path / f"a{i}.vtu", pos, [("triangle", cells)])
    assert check_files(sorted(tmp_path.iterdir())) == []
    main(["data", "check", str(tmp_path / "*.vtu")])
    assert "4 mesh files, 0 kinds of errors, 0 of warnings, 0 of notes" in capsys.readouterr().out


def test_point_clouds_alone_are_sound(tmp_path):
    for i in range(3):
        rows = np.random.default_rng(i).random((20, 3)) - 0.5
        np.savetxt(tmp_path / f"a{i}.csv", rows, header="x,y,p", delimiter=",", comments="")
    assert check_files(sorted(tmp_path.iterdir())) == []
