"""Graph-level parameters of many files, from a CSV file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.fields import split_unit

_FILE_COLUMNS = ("file", "files", "filename", "case", "cases", "mesh", "name", "path")


@dataclass(frozen=True)
class CondTable:
    """Graph-level parameters of many files, from a CSV file.

    Its first column is the file's name, with or without folders and extension, or the name of the
    folder that it is in; the others are parameters, their names perhaps with a unit:
    ``file,mach,angle [deg]``. Columns end at commas; or at semicolons or tabs, and then numbers may
    have decimal commas.

    Attributes:
        path: the CSV file.
        names: of the parameters, with units.
        rows: file -> values.
    """

    path: str = ""
    names: tuple[str, ...] = ()
    rows: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> CondTable:
        """Read it.

        Raises:
            ValueError: it cannot be read, has a value that is no number, a column or a file twice,
                or no names of columns.
        """
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                head = file.readline()
                delimiter = next((mark for mark in ";\t" if mark in head), ",")
                file.seek(0)
                reader = csv.reader(file, delimiter=delimiter)
                lines = [
                    [entry.strip() for entry in line]
                    for line in reader
                    if any(map(str.strip, line))
                ]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path}: cannot be read as CSV ({error})") from error
        if len(lines) < 2 or len(lines[0]) < 2:
            raise ValueError(
                f"{path}: expected a first line 'file,NAME,...' and one line for each mesh file"
            )
        names = tuple(lines[0][1:])
        _check_names(path, names)
        values = _numbers(path, names, lines, delimiter != ",")
        rows: dict[str, tuple[float, ...]] = {}
        for number, (line, row) in enumerate(zip(lines[1:], values, strict=True), 2):
            if line[0] in rows:
                raise ValueError(
                    f"{path}: row {number}: '{line[0]}' is there twice, expected every file once"
                )
            rows[line[0]] = row
        return cls(str(path), names, rows)

    @cached_property
    def _keys(self) -> dict[str, str]:
        return {_plain(key): key for key in self.rows}

    def key_of(self, file: str | Path) -> str:
        """The row of a mesh file: the one that has the most of the end of its path.

        Raises:
            MeshError: the table has no row for it.
        """
        parts = _plain(str(file)).split("/")
        ends = ["/".join(parts[i:]) for i in range(len(parts))]
        suffix = Path(parts[-1]).suffix
        folders = ["/".join(parts[i:-1]) for i in range(len(parts) - 1)]
        for group in ([(end, end.removesuffix(suffix)) for end in ends], [(f,) for f in folders]):
            for names in group:
                for name in names:
                    if name in self._keys:
                        return self._keys[name]
        raise MeshError(f"{file}: {self.path} has no row for it; add one named '{parts[-1]}'")

    def of(self, file: str | Path) -> dict[str, float] | None:
        """Parameters of a mesh file by name (without units); None for an empty table.

        Raises:
            MeshError: the table has no row for it.
        """
        if not self.names:
            return None
        plain = [split_unit(name)[0] for name in self.names]
        return dict(zip(plain, self.rows[self.key_of(file)], strict=True))

    def check(self, files: Iterable[str | Path]) -> None:
        """Refuse a table of which one row fits several files.

        Raises:
            MeshError: the message names two of them.
        """
        taken: dict[str, str | Path] = {}
        for file in files if self.names else ():
            try:
                key = self.key_of(file)
            except MeshError:
                continue  # refused when it is read
            if key in taken:
                raise MeshError(
                    f"{file}: row '{key}' of {self.path} fits {taken[key]} as well; write folder"
                    f" and file in the first column, such as '{'/'.join(Path(file).parts[-2:])}'"
                )
            taken[key] = file


def _plain(name: str) -> str:
    name = re.sub(r"/+", "/", name.strip().replace("\\", "/"))
    return re.sub(r"^(\./)+", "", name).strip("/")


def _check_names(path: str | Path, names: tuple[str, ...]) -> None:
    plain = [split_unit(name)[0] for name in names]
    for number, name in enumerate(plain, 2):
        if not name:
            raise ValueError(f"{path}: column {number} has no name; name it, or delete it")
        if plain.count(name) > 1:
            raise ValueError(
                f"{path}: has {plain.count(name)} columns called '{name}', expected one; rename or"
                " delete all but one"
            )
        if name.lower() in _FILE_COLUMNS[:3]:
            raise ValueError(f"{path}: the column '{name}' is number {number}; make it the first")
    if all(_is_number(name) for name in plain):
        raise ValueError(
            f"{path}: the first line is {', '.join(names)}, expected names; begin with a line"
            " 'file,NAME,...'"
        )


def _numbers(
    path: str | Path, names: tuple[str, ...], lines: list[list[str]], may_have_commas: bool
) -> list[tuple[float, ...]]:
    body = [line[1:] for line in lines[1:]]
    with_comma = next((v for line in body for v in line if "," in v), None)
    with_point = next((v for line in body for v in line if "." in v), None)
    if with_comma is not None and (with_point is not None or not may_have_commas):
        raise ValueError(
            f"{path}: has '{with_comma}'"
            + (f" and '{with_point}'" if with_point is not None else "")
            + ": what is the comma? Write numbers with a point, 0.5, and nothing between thousands"
        )
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(lines[0]):
            raise ValueError(
                f"{path}: row {number} has {len(line)} entries, expected {len(lines[0])} as in the"
                " first line"
            )
        for name, value in zip(names, line[1:], strict=True):
            if not _is_number(value.replace(",", ".")):
                raise ValueError(
                    f"{path}: row {number} ('{line[0]}'): could not convert '{value}' in column"
                    f" '{name}' to a number; leave columns of text out"
                )
        values = tuple(float(value.replace(",", ".")) for value in line[1:])
        if not np.isfinite(values).all():
            raise ValueError(f"{path}: row {number} ('{line[0]}') holds NaN or infinity")
        rows.append(values)
    return rows


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
