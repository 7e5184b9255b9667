"""Checkpoints of FEniCS in XDMF: coefficients of finite elements, of which nodes have some.

``XDMFFile.write_checkpoint`` stores, beside the mesh, the numbers of the coefficients of each cell
(``cell_dofs``, cell k has those from ``x_cell_dofs[k]`` on), their values (``vector``) and the
numbers of the cells. Of a continuous Lagrange element the first coefficients of a cell, for each
component, are the values at its corners; of a constant one there is one for each cell.
"""

from __future__ import annotations

from math import comb
from pathlib import Path
from xml.etree.ElementTree import Element

import h5py
import numpy as np

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.base import RawMesh

_DIMENSIONS = {"interval": 1, "triangle": 2, "tetrahedron": 3}
_CONTINUOUS = ("CG", "P", "Lagrange")
_CONSTANT = ("DG", "DP", "Discontinuous Lagrange")


def is_function(attribute: Element) -> bool:
    """Whether a field is given by coefficients."""
    return attribute.get("ItemType") == "FiniteElementFunction"


def check_function(path: Path, attribute: Element) -> None:
    """Refuse elements without values at nodes or in cells."""
    family, degree, cell = (attribute.get(f"Element{n}", "") for n in ("Family", "Degree", "Cell"))
    known = cell in _DIMENSIONS and degree.isdigit() and len(attribute.findall("DataItem")) == 4
    if not known or not (family in _CONTINUOUS or (family in _CONSTANT and degree == "0")):
        raise MeshError(
            f"{path}: field '{attribute.get('Name')}' is a checkpoint of the finite element"
            f" '{family} {degree}' on cells '{cell}', whose coefficients are not values at nodes;"
            " interpolate the function into 'CG 1' first, or write it with `XDMFFile.write`"
        )


def add_function(path: Path, raw: RawMesh, attribute: Element) -> None:
    """Take the values of a function at nodes, or in cells, into a mesh of one kind of cells.

    Raises:
        MeshError: the numbers of its coefficients do not fit the mesh.
    """
    name = attribute.get("Name", "")
    dofs, vector, starts, numbers = (_values(item) for item in attribute.findall("DataItem"))
    nodes = raw.blocks[0][1] if len(raw.blocks) == 1 else np.empty((0, 1), dtype=np.int64)
    dim, degree = (
        _DIMENSIONS[attribute.get("ElementCell", "")],
        int(attribute.get("ElementDegree", "")),
    )
    corners, per_component = dim + 1, comb(dim + degree, dim)
    width = len(dofs) // max(len(nodes), 1)
    fits = (
        nodes.shape[1] == corners
        and np.array_equal(starts, np.arange(len(nodes) + 1) * width)
        and np.array_equal(numbers, np.arange(len(nodes)))
        and len(dofs) == width * len(nodes)
        and width % per_component == 0
        and 0 <= dofs.min() <= dofs.max() < len(vector)
    )
    if fits:
        of_cell = dofs.astype(np.int64).reshape(len(nodes), -1, per_component)
        if degree == 0:
            raw.cell_data[name] = vector[of_cell[:, :, 0]]
            return
        dof = np.full((len(raw.pos), of_cell.shape[1]), -1)
        dof[nodes] = of_cell[:, :, :corners].transpose(0, 2, 1)
        fits = np.array_equal(dof[nodes], of_cell[:, :, :corners].transpose(0, 2, 1))
    if not fits:
        raise MeshError(
            f"{path}: the coefficients of field '{name}' do not fit the cells, as in a checkpoint"
            " that several processes wrote; write it from one process, or with `XDMFFile.write`"
        )
    raw.point_data[name] = np.where(dof >= 0, vector[dof], np.nan)
    if degree > 1:
        raw.notes.append(
            f"of field '{name}', of degree {degree}, the values inside edges and cells are left out"
        )


def _values(item: Element) -> np.ndarray:
    """The numbers of a DataItem, whose file is named in full."""
    text = (item.text or "").strip()
    if item.get("Format") != "HDF":
        return np.array(text.split(), dtype=np.float64)
    name, _, inside = text.partition(":")
    with h5py.File(name, "r") as file:
        return np.asarray(file[inside]).reshape(-1)
