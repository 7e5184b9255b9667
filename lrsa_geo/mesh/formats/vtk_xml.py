"""VTK's XML files of unstructured grids (``.vtu``) and surfaces (``.vtp``).

https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html. meshio's reader mixes up
the arrays of appended data and keeps the cells of the last piece alone, hence this one. Sizes are
compared before anything is unpacked, so a corrupt file costs no more memory than its length.
"""

from __future__ import annotations

import base64
import lzma
import zlib
from collections import Counter
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from lrsa_geo.mesh.cells import Blocks, blocks_from_offsets
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.base import RawMesh, only_step
from lrsa_geo.mesh.formats.vtk_process import read_with_vtk

_BITS = {
    f"{kind}{8 * size}": f"{kind[0].lower()}{size}"
    for kind in ("Int", "UInt")
    for size in (1, 2, 4, 8)
}
_DTYPES = {**_BITS, "Float32": "f4", "Float64": "f8"}
# Cells of a surface, in VTK's order: section -> VTK type by number of nodes, and else.
_SURFACE: dict[str, tuple[dict[int, int], int]] = {
    "Verts": ({1: 1}, 2),
    "Lines": ({2: 3}, 4),
    "Polys": ({3: 5, 4: 9}, 7),
    "Strips": ({}, 6),
}
Fields = dict[str, np.ndarray]


def read(path: Path, step: int) -> RawMesh:
    """Read all pieces, one after the other.

    Raises:
        MeshError: a field is there twice, or an array has not the size that the file declares.
        Exception: whatever Python's parsers say of a damaged file.
    """
    only_step(path, step)
    file = _File(path)
    # Python's library does not unpack LZ4; and faces of polyhedra come in several forms.
    if file.compressor == "vtkLZ4DataCompressor" or file.has_faces:
        return read_with_vtk(path, step)
    return RawMesh(*file.read())


def read_piece(path: Path) -> RawMesh:
    """Read a file that is a piece of a mesh, and may hold no nodes."""
    pieces = _File(path).root.iter("Piece")
    if all(int(piece.get("NumberOfPoints", "0")) == 0 for piece in pieces):
        return RawMesh(np.empty((0, 3)))
    return read(path, 0)


def time_of(path: Path) -> float | None:
    """The time that a file says it is of, ``TimeValue`` in its field data; None if it says none.

    Raises:
        Exception: whatever Python's parsers say of a damaged file.
    """
    with open(path, "rb") as head:
        start = head.read(_HEAD)
    if b"</VTKFile>" not in start and b"<FieldData" not in start:
        return None  # it comes before the pieces
    file = _File(path, any_type=True)
    for array in file.root.iterfind("*/FieldData/DataArray"):
        if array.get("Name", "").lower() in ("timevalue", "time"):
            count = int(array.get("NumberOfTuples", "1"))
            return float(file.array(array, count).reshape(-1)[0]) if count == 1 else None
    return None


_HEAD = 1 << 14  # bytes, of a file's beginning


class _File:
    def __init__(self, path: Path, any_type: bool = False) -> None:
        self.path = path
        text = path.read_bytes()
        start = text.find(b"<AppendedData")
        self.appended = b""
        if start >= 0:  # which may be raw bytes, no XML
            start = text.index(b">", start) + 1
            end = text.rindex(b"</AppendedData>")
            self.appended = text[text.index(b"_", start) + 1 : end]
            text = text[:start] + text[end:]
        root = ElementTree.fromstring(text)
        known = any_type or root.get("type") in ("UnstructuredGrid", "PolyData")
        if root.tag != "VTKFile" or not known:
            raise MeshError(
                f"{path}: is a {root.tag} of type {root.get('type')}, expected a VTKFile of type"
                " UnstructuredGrid or PolyData; save it as one in ParaView"
            )
        self.root = root
        order: Literal["<", ">"] = ">" if root.get("byte_order") == "BigEndian" else "<"
        self.order = order
        self.size_type = np.dtype(_DTYPES[root.get("header_type", "UInt32")]).newbyteorder(order)
        self.compressor = root.get("compressor")
        compressors = (None, *(f"vtk{name}DataCompressor" for name in ("ZLib", "LZMA", "LZ4")))
        if self.compressor not in compressors:
            raise MeshError(
                f"{path}: is compressed with {self.compressor}, expected zlib, LZMA or LZ4;"
                " save it again with zlib in ParaView"
            )
        section = root.find("AppendedData")
        self.appended_is_base64 = section is not None and section.get("encoding") == "base64"

    @property
    def has_faces(self) -> bool:
        """Whether its cells may be polyhedra."""
        arrays = self.root.iterfind("UnstructuredGrid/Piece/Cells/DataArray")
        return any(array.get("Name") in ("faces", "face_connectivity") for array in arrays)

    def read(self) -> tuple[np.ndarray, Blocks, Fields, Fields]:
        points: list[np.ndarray] = []
        blocks: Blocks = []
        fields: dict[str, list[Fields]] = {"PointData": [], "CellData": []}
        for piece in self.root.iter("Piece"):
            num_points = int(piece.get("NumberOfPoints", "0"))
            if num_points == 0:  # VTK writes empty pieces without their fields
                continue
            (positions,) = piece.iterfind("Points/DataArray")
            offset = sum(map(len, points))
            points.append(self.array(positions, num_points))
            cells = self.cells(piece)
            blocks += [(number, nodes + offset) for number, nodes in cells]
            num_cells = sum(len(nodes) for _, nodes in cells)
            for kind, rows in (("PointData", num_points), ("CellData", num_cells)):
                fields[kind].append(self.fields(piece, kind, rows))
        if not points:
            raise MeshError(f"{self.path}: has no nodes, expected at least one; export it again")
        point_data, cell_data = (self.joined(kind, parts) for kind, parts in fields.items())
        return np.concatenate(points), blocks, point_data, cell_data

    def cells(self, piece: Element) -> Blocks:
        num_cells = int(piece.get("NumberOfCells", "0"))
        if self.root.get("type") == "UnstructuredGrid":
            if num_cells == 0:
                return []
            arrays = {a.get("Name"): a for a in piece.iterfind("Cells/DataArray")}
            types = self.array(arrays["types"], num_cells).astype(np.int64)
            return self.blocks(arrays, num_cells, types)
        blocks = []
        for section, (numbers, otherwise) in _SURFACE.items():
            if count := int(piece.get(f"NumberOf{section}", "0")):
                arrays = {a.get("Name"): a for a in piece.iterfind(f"{section}/DataArray")}
                for _, nodes in self.blocks(arrays, count, np.zeros(count, dtype=np.int64)):
                    blocks.append((numbers.get(nodes.shape[1], otherwise), nodes))
        return blocks

    def blocks(self, arrays: dict[str | None, Element], count: int, types: np.ndarray) -> Blocks:
        ends = self.array(arrays["offsets"], count).astype(np.int64)
        starts = np.concatenate([[0], ends])
        if (np.diff(starts) < 1).any():
            raise MeshError(
                f"{self.path}: has cells without nodes, expected offsets that grow; the file is"
                " damaged: export it again"
            )
        nodes = self.array(arrays["connectivity"], int(ends[-1])).astype(np.int64)
        return blocks_from_offsets(types, starts, nodes)

    def fields(self, piece: Element, kind: str, rows: int) -> Fields:
        elements = piece.findall(f"{kind}/DataArray")
        for name, count in Counter(element.get("Name") for element in elements).items():
            if count > 1:
                raise MeshError(
                    f"{self.path}: has {count} arrays called '{name}' in {kind}, expected one;"
                    " rename all but one where the file was made"
                )
        return {element.get("Name", ""): self.array(element, rows) for element in elements}

    def joined(self, kind: str, parts: list[Fields]) -> Fields:
        for part in parts:
            if part.keys() != parts[0].keys():
                raise MeshError(
                    f"{self.path}: pieces differ in {kind}: {sorted(part)}, {sorted(parts[0])};"
                    " write all fields on all pieces"
                )
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def array(self, element: Element, rows: int) -> np.ndarray:
        """A DataArray as ``[rows]`` or ``[rows, components]``."""
        name = element.get("Name", "Points")
        dtype = np.dtype(_DTYPES[element.get("type", "")]).newbyteorder(self.order)
        components = int(element.get("NumberOfComponents") or 1)
        text = (element.text or "").strip()
        kind = element.get("format", "ascii")
        if kind == "ascii":
            values = np.array(text.split(), dtype=dtype)
        elif kind == "binary":
            values = self.decoded(name, memoryview(text.encode()), True, dtype, rows * components)
        else:
            source = memoryview(self.appended)[int(element.attrib["offset"]) :]
            values = self.decoded(name, source, self.appended_is_base64, dtype, rows * components)
        self.check_size(name, values.size, rows * components)
        # Only a vector says how many components it has; VTK may say so of a scalar as well.
        return values.reshape(rows, components) if components > 1 else values

    def decoded(
        self, name: str, source: memoryview, is_base64: bool, dtype: np.dtype, count: int
    ) -> np.ndarray:
        """Values behind a header of sizes: [bytes], or [blocks, block, last block, packed...]."""
        take = _from_base64 if is_base64 else _from_raw
        item = self.size_type.itemsize
        header = np.frombuffer(take(source, 0, item), self.size_type)
        if self.compressor is None:
            wanted = count * dtype.itemsize
            if is_base64 and _bytes_in(source) == item + wanted:  # GetFEM's header is a float
                return np.frombuffer(take(source, item, wanted), dtype)
            self.check_size(name, int(header[0]), wanted, "bytes")
            return np.frombuffer(take(source, item, int(header[0])), dtype)
        num_blocks = int(header[0])
        if not 0 <= num_blocks <= len(source):
            self.check_size(name, num_blocks, len(source), "packed blocks, at most")
        if num_blocks == 0:
            return np.empty(0, dtype)
        length = (3 + num_blocks) * item
        sizes = [int(n) for n in np.frombuffer(take(source, 0, length), self.size_type)]
        _, block, last, *packed = sizes
        unpacked = [block] * (num_blocks - 1) + [last or block]
        self.check_size(name, sum(unpacked), count * dtype.itemsize, "bytes")
        body, parts, start = take(source, length, sum(packed)), [], 0
        for size, wanted in zip(packed, unpacked, strict=True):
            part = body[start : start + size]
            if self.compressor == "vtkZLibDataCompressor":
                parts.append(zlib.decompressobj().decompress(part, wanted))
            else:
                parts.append(lzma.LZMADecompressor().decompress(part, wanted))
            start += size
        return np.frombuffer(b"".join(parts), dtype)

    def check_size(self, name: str, found: int, expected: int, what: str = "values") -> None:
        if found != expected:
            raise MeshError(
                f"{self.path}: array '{name}' has {found:,} {what}, expected {expected:,}; the file"
                " is truncated or corrupt: copy or export it again"
            )


def _bytes_in(source: memoryview) -> int:
    """How many bytes a base64 text stands for, if nothing follows it."""
    padding = source[-2:].tobytes().count(b"=")
    return len(source) // 4 * 3 - padding


def _from_raw(source: memoryview, start: int, size: int) -> bytes:
    return source[start : start + size].tobytes()


def _from_base64(source: memoryview, start: int, size: int) -> bytes:
    """Bytes after a header of ``start`` bytes, which was encoded alone or with the rest."""
    alone = -(-start // 3) * 4
    if start % 3 == 0 or source[alone - 1 : alone] == b"=":
        source, start = source[alone:], 0
    return base64.b64decode(source[: -(-(start + size) // 3) * 4])[start : start + size]
