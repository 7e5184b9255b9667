"""Write mesh files: VTU, legacy VTK and XDMF, the formats that hold every cell and every field."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.files import atomic_path
from lrsa_geo.mesh.cells import VERTEX, to_blocks
from lrsa_geo.mesh.checks import check_cells, check_field
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import RawMesh, own_meshio
from lrsa_geo.mesh.mesh_data import table_of

WRITTEN_SUFFIXES = (".vtu", ".vtk", ".xdmf")
"""Extensions of the files that are written."""


def write_mesh(path: str | Path, data: Data, fields: Mapping[str, Tensor] | None = None) -> None:
    """Write a mesh with its own data and new fields; the file appears complete or not at all.

    Positions in the plane get z = 0, new vectors ``[N, 2]`` a third component 0, so that ParaView
    draws them as vectors. Legacy VTK pads the file's own ``[N, 2]`` arrays too. Tensors
    ``[N, 3, 3]`` become ``[N, 9]``, bool becomes uint8. A point cloud gets one vertex cell per
    node, without which ParaView draws nothing. XDMF puts its arrays into ``<path>.h5``.

    Args:
        path: ending in ``.vtu`` (the usual choice), ``.vtk`` or ``.xdmf``.
        data: from :func:`read_mesh`, or with ``pos [N, D]`` and perhaps ``cells [K, V]``.
        fields: name -> values ``[N]`` or ``[N, C]``.

    Raises:
        MeshError: unknown extension, or a field of the wrong length, with an impossible name or
            with the name of one that the mesh has.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN_SUFFIXES:
        raise MeshError(
            f"{path}: cannot write '{path.suffix}', expected one of {' '.join(WRITTEN_SUFFIXES)};"
            " other formats lose fields or cells"
        )
    raw = as_raw(path, data, fields or {})
    spell = {".vtu": _for_xml, ".vtk": _for_vtk}.get(suffix, str)
    raw.point_data = {spell(name): values for name, values in raw.point_data.items()}
    raw.cell_data = {spell(name): values for name, values in raw.cell_data.items()}
    try:
        with np.errstate(all="ignore"):
            mesh = own_meshio.to_meshio(raw)
            if suffix == ".xdmf":
                check_xdmf(path, raw, mesh)
                _write_xdmf(path, mesh)
            else:
                with atomic_path(path) as temporary:
                    own_meshio.module(suffix[1:]).write(temporary, mesh)
    except MeshError:
        raise
    except (Exception, SystemExit) as error:
        raise MeshError(
            f"{path}: cannot be written ({type(error).__name__}: {error}); check the folder and its"
            " permissions, and that the format can hold these cells and names: VTU holds the most"
        ) from error


def _for_xml(name: str) -> str:
    """meshio puts names into a VTU as they are."""
    return html.escape(name).encode("ascii", "xmlcharrefreplace").decode()


def _for_vtk(name: str) -> str:
    """Legacy VTK splits at spaces; VTK itself reads and writes them as %20."""
    return quote(name, safe="!#$&'()*+,-./:;<=>?@[]^_`{|}~")


def check_xdmf(path: Path, raw: RawMesh, mesh: Any) -> None:
    """Refuse cells that XDMF has no word for."""
    common = own_meshio.module("xdmf.common")
    is_mixed = len(raw.blocks) > 1
    known = common.meshio_type_to_xdmf_index if is_mixed else common.meshio_to_xdmf_type
    for (number, _), block in zip(raw.blocks, mesh.cells, strict=True):
        if block.type not in known:
            raise MeshError(
                f"{path}: XDMF has no cells '{block.type}' (VTK type {number}); write a .vtu, which"
                " holds all"
            )


def _write_xdmf(path: Path, mesh: Any) -> None:
    """meshio puts the arrays beside the file; here that second file has a name that says so."""
    arrays = path.with_name(path.name + ".h5")
    with atomic_path(path) as temporary, atomic_path(arrays) as temporary_arrays:
        written = temporary.with_suffix(".h5")
        try:
            own_meshio.module("xdmf").write(temporary, mesh)
            written.replace(temporary_arrays)
        finally:
            written.unlink(missing_ok=True)
        text = temporary.read_text(encoding="utf-8")
        name = html.escape(arrays.name)
        temporary.write_text(text.replace(written.name + ":", name + ":"), encoding="utf-8")


def as_raw(path: Path, data: Data, fields: Mapping[str, Tensor]) -> RawMesh:
    """A mesh with new fields as writers take it; see :func:`write_mesh`."""
    pos = _array(data.pos)
    if pos.ndim != 2 or pos.shape[1] not in (2, 3) or not len(pos):
        raise MeshError(f"{path}: `pos` has shape {list(pos.shape)}, expected [N, 2] or [N, 3]")
    cells, cell_types = table_of(data, path)
    blocks = to_blocks(cells, cell_types)
    if not blocks:
        blocks = [(VERTEX, np.arange(len(pos))[:, None])]
    for number, nodes in blocks:
        check_cells(path, number, nodes, len(pos))
    raw = RawMesh(pos, blocks)
    for kind, target, rows in (
        ("point_data", raw.point_data, len(pos)),
        ("cell_data", raw.cell_data, len(cells)),
    ):
        for name, values in (data.get(kind) or {}).items():
            target[name] = _array(values)
            check_field(path, kind, name, target[name].shape, rows)
    for name, values in fields.items():
        if name in raw.point_data:
            raise MeshError(
                f"{path}: the mesh already has a node field '{name}'; give the new one another"
                f" name, such as '{name}_predicted'"
            )
        array = _array(values)
        check_field(path, "node", name, array.shape, len(pos))
        is_plane_vector = array.ndim == 2 and array.shape[1] == 2
        raw.point_data[name] = np.pad(array, ((0, 0), (0, 1))) if is_plane_vector else array
    return raw


def _array(values: Tensor) -> np.ndarray:
    values = torch.as_tensor(values).detach().cpu()
    return (values.float() if values.dtype in (torch.bfloat16, torch.half) else values).numpy()
