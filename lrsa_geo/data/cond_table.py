"""Graph-level parameters of many files, from a CSV file."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from lrsa_geo.data.course import TIME, Course, courses_of
from lrsa_geo.data.units import NO_UNIT, Conversion, UnitError, conversion
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.fields import Fields, scalars_of, split_unit
from lrsa_geo.mesh.read import MESH_SUFFIXES

_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")  # or a decimal comma
_FILE_COLUMNS = ("file", "files", "filename", "case", "cases", "mesh", "name", "path")


@dataclass(frozen=True)
class CondTable:
    """Graph-level parameters of many files, from a CSV file.

    Its first column is the file's name, with or without folders and extension, or the name of the
    folder that it is in; the others are parameters, their names perhaps with a unit:
    ``file,mach,angle [deg]``. A vector has a column for each component, ``force_x [N]``. Columns
    end at commas; or at semicolons or tabs, and then numbers may have decimal commas, but none that
    could as well be a mark between thousands (1,500).

    Attributes:
        path: the CSV file.
        names: of the parameters, with units.
        rows: file -> values; of functions of time those at the first time.
        courses: file -> its parameters as functions of time, if they are (:meth:`read`).
    """

    path: str = ""
    names: tuple[str, ...] = ()
    rows: dict[str, tuple[float, ...]] = field(default_factory=dict)
    courses: dict[str, Course] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path, in_time: bool = False) -> CondTable:
        """Read it.

        Args:
            path: the CSV file.
            in_time: its files are series: if there is a column ``time``, a file may have several
                rows, and the other columns are functions of time.

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
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: is no text in UTF-8 ({error}); save it as such") from error
        except (OSError, csv.Error) as error:
            raise ValueError(f"{path}: cannot be read as CSV ({error})") from error
        if len(lines) < 2 or len(lines[0]) < 2:
            raise ValueError(
                f"{path}: expected a first line 'file,NAME,...' and one line for each mesh file"
            )
        names = tuple(lines[0][1:])
        _check_names(path, names)
        values = _numbers(path, names, lines, delimiter != ",")
        files = [line[0] for line in lines[1:]]
        plain = [split_unit(name)[0] for name in names]
        if in_time and TIME in plain and len(plain) > 1:
            courses = courses_of(str(path), names, files, values)
            kept = tuple(name for name, of in zip(names, plain, strict=True) if of != TIME)
            return cls(str(path), kept, {f: c.values[0] for f, c in courses.items()}, courses)
        _check_files(path, files)
        return cls(str(path), names, dict(zip(files, values, strict=True)))

    def in_units(self, fields: Fields) -> CondTable:
        """The table with its values in the units of a model's parameters.

        A column that names no unit has that of the model, as fields of mesh files have.

        Raises:
            ValueError: a column has a unit that cannot be converted.
        """
        wanted = {field.name: field.unit for field in scalars_of(fields)}
        names, units = [], []
        for name, unit in map(split_unit, self.names):
            to = wanted.get(name, unit)
            try:
                units.append(conversion(unit, to) if unit != NO_UNIT else Conversion())
            except UnitError as error:
                raise ValueError(
                    f"{self.path}: column '{name} [{unit}]': the model was trained with"
                    f" '{name} [{to}]', {error}; give the values in that unit"
                ) from error
            names.append(f"{name} [{to}]")
        rows = {
            file: tuple(v * u.factor + u.offset for v, u in zip(row, units, strict=True))
            for file, row in self.rows.items()
        }
        factors, offsets = [u.factor for u in units], [u.offset for u in units]
        courses = {file: course.scaled(factors, offsets) for file, course in self.courses.items()}
        return CondTable(self.path, tuple(names), rows, courses)

    @cached_property
    def _keys(self) -> dict[str, str]:
        return {_plain(key): key for key in self.rows}

    def key_of(self, file: str | Path) -> str:
        """The row of a mesh file: the one that has the most of the end of its path.

        Numbered files of a series, ``runs/hot_*.vtu``, have the row ``hot`` or that of the folder.

        Raises:
            MeshError: the table has no row for it.
        """
        parts = re.sub(r"[-_.]*\*", "", _plain(str(file))).split("/")
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

    def course(self, file: str | Path) -> Course | None:
        """Parameters of a series as functions of time; None if the table has none.

        Raises:
            MeshError: the table has no row for it.
        """
        return self.courses[self.key_of(file)] if self.courses else None

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


def _check_files(path: str | Path, files: list[str]) -> None:
    rows: dict[str, int] = {}
    for number, name in enumerate(map(_plain, files), 2):
        if name in rows:
            raise ValueError(
                f"{path}: row {number}: '{name}' is there twice, expected every file once"
            )
        rows[name] = number
    for name, number in rows.items():
        stem = name.removesuffix(Path(name).suffix)
        if Path(name).suffix.lower() in MESH_SUFFIXES and stem in rows:
            raise ValueError(
                f"{path}: rows {rows[stem]} and {number}: '{stem}' and '{name}' are one file,"
                " expected every file once"
            )


def _numbers(
    path: str | Path, names: tuple[str, ...], lines: list[list[str]], may_have_commas: bool
) -> list[tuple[float, ...]]:
    body = [line[1:] for line in lines[1:]]
    with_commas = [v for line in body for v in line if "," in v]
    with_comma = next(iter(with_commas), None)
    with_point = next((v for line in body for v in line if "." in v), None)
    is_clear = may_have_commas and not all(_THOUSANDS.fullmatch(v) for v in with_commas)
    if with_comma is not None and (with_point is not None or not is_clear):
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
    return "_" not in text  # which Python takes for nothing
