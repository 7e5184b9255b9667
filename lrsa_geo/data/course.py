"""Parameters that are functions of time, from the rows of a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.fields import Fields, split_unit

TIME = "time"
"""Column of a table that makes its parameters functions of time."""
_ROUNDING = 1e-9  # of the span of times: by which a series may begin before the first row


@dataclass(frozen=True)
class Course:
    """Parameters of one series as functions of time, straight between the rows of a table.

    Attributes:
        path: of the table, for messages.
        names: of the parameters, without units.
        times: ``[R]``, growing.
        values: ``[R, P]``.
    """

    path: str
    names: tuple[str, ...]
    times: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def at(self, times: Tensor, fields: Fields, where: object) -> Tensor:
        """``[T, P]`` float64: the parameters of ``fields`` at times ``[T]``.

        Raises:
            MeshError: a time is before the first row or after the last, or a parameter is missing.
        """
        if missing := [f.name for f in fields if f.name not in self.names]:
            raise MeshError(f"{where}: {self.path} has no column '{missing[0]}', expected one")
        first, last = self.times[0], self.times[-1]
        room = _ROUNDING * (last - first)
        outside = (times < first - room) | (times > last + room)
        if outside.any():
            raise MeshError(
                f"{where}: {self.path} has its parameters from time {first:g} to {last:g}, and the"
                f" series has a step at {float(times[outside][0]):g}; add rows, or leave steps out"
                " (--from-time)"
            )
        table = np.array(self.values)
        columns = [
            np.interp(times.numpy(), self.times, table[:, self.names.index(f.name)]) for f in fields
        ]
        return torch.from_numpy(np.stack(columns, 1))

    def scaled(self, factors: list[float], offsets: list[float]) -> Course:
        """The parameters in other units."""
        rows = tuple(
            tuple(v * f + o for v, f, o in zip(row, factors, offsets, strict=True))
            for row in self.values
        )
        return Course(self.path, self.names, self.times, rows)


def courses_of(
    path: str, names: tuple[str, ...], files: list[str], rows: list[tuple[float, ...]]
) -> dict[str, Course]:
    """The rows of each file, in the order of their times.

    Args:
        path: of the table.
        names: of its columns, with units; one is the time.
        files: of the rows.
        rows: values.

    Raises:
        ValueError: a file has one time twice.
    """
    plain = [split_unit(name)[0] for name in names]
    place = plain.index(TIME)
    others = [column for column in range(len(plain)) if column != place]
    found: dict[str, dict[float, tuple[float, ...]]] = {}
    for file, row in zip(files, rows, strict=True):
        of_file = found.setdefault(file, {})
        if row[place] in of_file:
            raise ValueError(
                f"{path}: '{file}' has the time {row[place]:g} twice, expected it once; a jump is"
                " two rows at times close to each other"
            )
        of_file[row[place]] = tuple(row[column] for column in others)
    kept = tuple(plain[column] for column in others)
    return {
        file: Course(path, kept, tuple(sorted(of_file)), tuple(of_file[t] for t in sorted(of_file)))
        for file, of_file in found.items()
    }
