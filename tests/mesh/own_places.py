"""Cells whose nodes sit at their places, and files of them written by hand."""

import numpy as np
import pytest

from lrsa_geo.mesh.topology import mesh_edges

# Corners of the reference cells, and their edges and facets in VTK's order of inner nodes:
# https://vtk.org/wp-content/uploads/2015/04/file-formats.pdf and the classes vtkQuadratic*.
CUBE = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
PRISM = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1]]
PYRAMID = [*CUBE[:4], [0.4, 0.4, 1]]
TETRA = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
RING4, RING3 = [(0, 1), (1, 2), (2, 3), (3, 0)], [(0, 1), (1, 2), (2, 0)]
BOTTOM_TOP_UP = {
    "cube": (RING4, [(4, 5), (5, 6), (6, 7), (7, 4)], [(0, 4), (1, 5), (2, 6), (3, 7)]),
    "prism": (RING3, [(3, 4), (4, 5), (5, 3)], [(0, 3), (1, 4), (2, 5)]),
}
SIDES = [(0, 3, 7, 4), (1, 2, 6, 5), (0, 1, 5, 4), (3, 2, 6, 7), (0, 1, 2, 3), (4, 5, 6, 7)]
WALLS = [(0, 1, 4, 3), (1, 2, 5, 4), (2, 0, 3, 5)]
TO_APEX = [(0, 4), (1, 4), (2, 4), (3, 4)]


def at_places(corners, *places):
    """Corners, and then the middles of these groups of corners."""
    corners = np.array(corners, float)
    middles = [corners[list(group)].mean(0) for groups in places for group in groups]
    return np.array([*corners, *middles])


def assert_at_places(data, lengths_of_edges=None):
    """Each inner node of each cell lies in the middle of what its place in VTK's order says."""
    groups = {
        21: [[(0, 1)]],
        22: [RING3],
        23: [RING4],
        24: [RING3, [(0, 3), (1, 3), (2, 3)]],
        25: BOTTOM_TOP_UP["cube"],
        26: BOTTOM_TOP_UP["prism"],
        27: [RING4, TO_APEX],
        28: [RING4, [(0, 1, 2, 3)]],
        29: [*BOTTOM_TOP_UP["cube"], SIDES, [tuple(range(8))]],
        32: [*BOTTOM_TOP_UP["prism"], WALLS],
        34: [RING3, [(0, 1, 2)]],
        74: [RING4, TO_APEX, [(0, 1, 2, 3)]],
    }
    counts = {21: 2, 22: 3, 34: 3, 23: 4, 28: 4, 24: 4, 25: 8, 29: 8, 26: 6, 32: 6, 27: 5, 74: 5}
    pos = data.pos.numpy()
    for cell, kind in zip(data.cells.tolist(), data.cell_types.tolist(), strict=True):
        nodes = [n for n in cell if n >= 0]
        if kind in groups:
            wanted = at_places(pos[nodes[: counts[kind]]], *groups[kind])
            np.testing.assert_allclose(pos[nodes], wanted, atol=1e-5)
    edges = mesh_edges(data.cells.numpy(), data.cell_types.numpy(), len(pos))
    if lengths_of_edges is not None:
        found = np.linalg.norm(pos[edges[:, 0]] - pos[edges[:, 1]], axis=1)
        np.testing.assert_allclose(found, lengths_of_edges, atol=1e-6)


def exodus(
    path, pos, blocks, node_fields=(), cell_fields=(), steps=(0.0,), node_sets=(), side_sets=()
):
    """An Exodus file.

    Args:
        path: file.
        pos: positions ``[N, D]``.
        blocks: element name and nodes from 0, of each block.
        node_fields: name and values ``[steps, N]``; a name may be bytes.
        cell_fields: name and {block from 0: values ``[steps, K]``}.
        steps: times.
        node_sets: name and nodes from 0.
        side_sets: name, cells and sides, both from 1.
    """
    netcdf = pytest.importorskip("netCDF4")
    pos = np.asarray(pos, float)
    with netcdf.Dataset(path, "w", format="NETCDF3_64BIT_OFFSET") as file:
        file.title = "cells"
        file.floating_point_word_size, file.file_size = np.int32(8), np.int32(1)
        file.api_version = file.version = np.float32(8.03)
        sizes = {"len_string": 33, "len_name": 33, "num_dim": pos.shape[1], "num_nodes": len(pos)}
        sizes |= {"num_el_blk": len(blocks), "time_step": None}
        sizes |= {"num_nod_var": len(node_fields), "num_elem_var": len(cell_fields)}
        for name, size in sizes.items():
            if size != 0:
                file.createDimension(name, size)
        file.createDimension("num_elem", sum(len(nodes) for _, nodes in blocks))
        file.createVariable("eb_prop1", "i4", ("num_el_blk",))[:] = 1 + np.arange(len(blocks))
        file.createVariable("time_whole", "f8", ("time_step",))[:] = np.array(steps)
        for axis, values in zip("xyz", pos.T, strict=False):
            file.createVariable(f"coord{axis}", "f8", ("num_nodes",))[:] = values
        for i, (kind, nodes) in enumerate(blocks, 1):
            rows = np.asarray(nodes) + 1
            dims = f"num_el_in_blk{i}", f"num_nod_per_el{i}"
            for dim, size in zip(dims, rows.shape, strict=True):
                file.createDimension(dim, size)
            connect = file.createVariable(f"connect{i}", "i4", dims)
            connect.elem_type = kind
            connect[:] = rows
        for kind, fields in (("nod", node_fields), ("elem", cell_fields)):
            if fields:
                names = file.createVariable(
                    f"name_{kind}_var", "S1", (f"num_{kind}_var", "len_name")
                )
                for i, (name, _) in enumerate(fields):
                    letters = name if isinstance(name, bytes) else name.encode()
                    names[i, :] = np.frombuffer(letters.ljust(33, b"\0"), "S1")
        for i, (_, values) in enumerate(node_fields, 1):
            file.createVariable(f"vals_nod_var{i}", "f8", ("time_step", "num_nodes"))[:] = values
        for i, (_, of_blocks) in enumerate(cell_fields, 1):
            for block, values in of_blocks.items():
                dims = "time_step", f"num_el_in_blk{block + 1}"
                name = f"vals_elem_var{i}eb{block + 1}"
                file.createVariable(name, "f8", dims)[:] = values
        for kind, word, sets in (("ns", "node", node_sets), ("ss", "side", side_sets)):
            if not sets:
                continue
            file.createDimension(f"num_{word}_sets", len(sets))
            tags = file.createVariable(f"{kind}_prop1", "i4", (f"num_{word}_sets",))
            tags[:] = 10 * np.arange(1, len(sets) + 1)
            names = file.createVariable(f"{kind}_names", "S1", (f"num_{word}_sets", "len_name"))
            for i, (name, *columns) in enumerate(sets, 1):
                names[i - 1, :] = np.frombuffer(name.encode().ljust(33, b"\0"), "S1")
                dim = f"num_nod_ns{i}" if kind == "ns" else f"num_side_ss{i}"
                file.createDimension(dim, len(columns[0]))
                shift = 1 if kind == "ns" else 0
                words = ("node_ns",) if kind == "ns" else ("elem_ss", "side_ss")
                for column, values in zip(words, columns, strict=True):
                    file.createVariable(f"{column}{i}", "i4", (dim,))[:] = np.array(values) + shift
