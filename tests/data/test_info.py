"""`data info` of mesh files: cells, fields, blocks and steps."""

import meshio
import numpy as np
import pytest

from lrsa_geo.cli import main
from lrsa_geo.data import describe_mesh


def test_a_mesh_file(tmp_path, capsys):
    path = tmp_path / "a.vtu"
    cells = [("triangle", [[0, 1, 2]])]
    fields = {"T": np.array([1.0, 2, np.nan])}
    meshio.Mesh(np.eye(3), cells, fields, {"mat": [np.array([7])]}).write(path)
    text = describe_mesh(path)
    assert "3 nodes in [0, 1] x [0, 1] x [0, 1]" in text
    assert "cells: 1 of VTK type 5" in text
    assert "1 to 2  (1 NaN or infinite)" in text
    assert "mat" in text
    main(["data", "info", str(path)])
    assert capsys.readouterr().out.strip() == text


def test_blocks_and_steps_of_exodus(tmp_path, capsys):
    netcdf = pytest.importorskip("netCDF4")
    path = tmp_path / "a.e"
    with netcdf.Dataset(path, "w", format="NETCDF3_64BIT_OFFSET") as file:
        sizes = {"num_nodes": 3, "num_el_in_blk1": 1, "num_nod_per_el1": 3, "time_step": None}
        sizes |= {"num_nod_var": 1, "len_name": 33, "num_el_blk": 1}
        for name, size in sizes.items():
            file.createDimension(name, size)
        file.createVariable("time_whole", "f8", ("time_step",))[:] = [0.0, 2.5]
        for axis, values in zip("xy", ([0, 1, 0], [0, 0, 1]), strict=True):
            file.createVariable(f"coord{axis}", "f8", ("num_nodes",))[:] = values
        connect = file.createVariable("connect1", "i4", ("num_el_in_blk1", "num_nod_per_el1"))
        connect.elem_type, connect[:] = "TRI3", [[1, 2, 3]]
        for kind, name in (("name_nod_var", "T"), ("eb_names", "steel")):
            dimension = "num_nod_var" if name == "T" else "num_el_blk"
            letters = np.frombuffer(name.encode().ljust(33, b"\0"), "S1")
            file.createVariable(kind, "S1", (dimension, "len_name"))[0, :] = letters
        values = file.createVariable("vals_nod_var1", "f8", ("time_step", "num_nodes"))
        values[:] = [[0, 1, 2], [10, 11, 12]]
    main(["data", "info", str(path), "--step", "-1"])
    text = capsys.readouterr().out
    assert "block 1 'steel': 1 cells TRI3" in text
    assert "2 steps, at times 0 to 2.5" in text
    assert "10 to 12" in text
