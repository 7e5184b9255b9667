"""Read the steps of a simulation, one after the other."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats import Format, RawMesh
from lrsa_geo.mesh.formats.base import check_file
from lrsa_geo.mesh.formats.child_process import KeptChildren
from lrsa_geo.mesh.formats.lists import SUFFIXES as LISTS
from lrsa_geo.mesh.formats.lists import read_list
from lrsa_geo.mesh.mesh_data import MeshData
from lrsa_geo.mesh.read import Reading, explained, format_of, reading_of
from lrsa_geo.mesh.series_files import WITH_STEPS, series_files, times_of_files

_ARRAYS = ("cells", "cell_types", "edge_index")


def open_series(source: str | Path | Sequence[str | Path], one_step: bool = False) -> MeshSeries:
    """Open a series of meshes: a file with steps, or numbered files.

    Times of numbered files are those of a ``.series`` beside them, or what the files say
    (``TimeValue``), or else their numbers, of which none may be missing.

    Args:
        source: a file with steps (``.pvd``, ``.xdmf``, ``.e``, ``.case``, ``.foam``, ``.vtkhdf``,
            ``.vtu.series``, ...); a pattern of numbered files, ``"case3/step_*.vtu"``; or a list of
            these files.
        one_step: a file without steps is a series of one, at the time 0.

    Raises:
        MeshError: it has no steps, a file of a step is missing, or the times do not
            grow.
    """
    if not isinstance(source, str | Path):
        files = [Path(file) for file in source]
        if len(files) == 1:
            return open_series(files[0], one_step)
        groups = series_files(files)
        if len(groups) != 1:
            listed = ", ".join(list(groups)[:3]) or "none"
            raise MeshError(f"{listed}: are {len(groups)} series of files, expected one")
        name, group = next(iter(groups.items()))
        return _of_files(name, [Path(file) for file in group])
    path = Path(source)
    if not path.exists() and "*" in path.name:
        found = sorted(glob.glob(str(path)))
        if not found:
            raise MeshError(f"{source}: matches no file; check the pattern")
        return open_series(found, one_step)
    return _of_one_file(path, one_step)


class MeshSeries:
    """Steps of one simulation on one mesh, whose nodes may move.

    Made by :func:`open_series`. Every step has the nodes and cells of the first; a step that has
    others is refused when it is read.

    Attributes:
        name: of the file, or pattern of the files, for messages.
        times: ``[T]`` float64, growing; the file's times, or numbers of steps where it has none.
        first: mesh of the first step.
    """

    def __init__(
        self, name: str, times: np.ndarray, files: Sequence[Path], formats: Sequence[Format]
    ) -> None:
        self.name = name
        self.times: Tensor = torch.from_numpy(times.astype(np.float64))
        self._files = files
        self._formats = formats
        self._check_times()
        reading = next(self._readings([0]))
        for note in reading.left_out:
            warnings.warn(f"{name}: {note}", stacklevel=4)
        self.first: MeshData = reading.mesh

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[MeshData]:
        return self.meshes()

    def __repr__(self) -> str:
        return f"MeshSeries({self.name}, {len(self)} steps)"

    def mesh(self, step: int) -> MeshData:
        """The mesh of one step, -1 for the last, as :func:`read_mesh` gives it.

        Raises:
            MeshError: there is no such step, it cannot be read, or its nodes or cells are not those
                of the first.
        """
        return next(self.meshes([step]))

    def meshes(self, steps: Iterable[int] | None = None) -> Iterator[MeshData]:
        """Meshes of steps, all by default, one after the other: faster than :meth:`mesh` for each.

        Raises:
            MeshError: see :meth:`mesh`.
        """
        wanted = list(range(len(self))) if steps is None else [self._number(s) for s in steps]
        for step, reading in zip(wanted, self._readings(wanted), strict=True):
            mesh = reading.mesh
            if self.first.pos.shape[1] == 3 and mesh.pos.shape[1] == 2:  # it happens to be flat
                mesh.pos = torch.nn.functional.pad(mesh.pos, (0, 1))
            self._check_mesh(step, mesh)
            yield mesh

    def where(self, step: int) -> str:
        """Name of a step for messages: file, number and time."""
        file = "" if len(self._files) == 1 else f" ({self._files[step].name})"
        return f"{self.name}, step {step}{file} at time {float(self.times[step]):g}"

    def _number(self, step: int) -> int:
        if not -len(self) <= step < len(self):
            raise MeshError(f"{self.name}: has the steps 0 to {len(self) - 1}, got `step` {step}")
        return step % len(self)

    def _readings(self, steps: list[int]) -> Iterator[Reading]:
        """Read steps; programs that read files of other libraries stay until the last one."""
        children = KeptChildren()
        raws = self._raws(steps)
        try:
            for step in steps:
                path = self._files[step if len(self._files) > 1 else 0]
                with children.used(), self._at(step, path), explained(path):
                    reading = reading_of(path, next(raws))
                yield reading
        finally:
            children.end()

    def _raws(self, steps: list[int]) -> Iterator[RawMesh]:
        if len(self._files) > 1:
            for step in steps:
                format_ = self._formats[step]
                check_file(self._files[step])
                if format_.check is not None:
                    format_.check(self._files[step])
                yield format_.read(self._files[step], 0)
            return
        path, format_ = self._files[0], self._formats[0]
        if format_.read_steps is not None:
            yield from format_.read_steps(path, steps)
            return
        for step in steps:
            yield format_.read(path, step)

    @contextmanager
    def _at(self, step: int, path: Path) -> Iterator[None]:
        """Errors say in which step they are."""
        try:
            yield
        except MeshError as error:
            text = str(error).removeprefix(f"{path}: ")
            raise MeshError(f"{self.where(step)}: {text}") from error

    def _check_times(self) -> None:
        times = self.times.tolist()
        if not np.isfinite(times).all():
            raise MeshError(f"{self.name}: has times that are NaN or infinite; write them again")
        for step, (before, after) in enumerate(pairwise(times), 1):
            if after <= before:
                what = "repeats" if after == before else "runs back behind"
                raise MeshError(
                    f"{self.name}: the time {after:g} of step {step} {what} the time {before:g} of"
                    f" step {step - 1}, expected times that grow; leave out what was written"
                    " before a restart"
                )

    def _check_mesh(self, step: int, mesh: MeshData) -> None:
        """Refuse other nodes or cells than those of the first step."""
        found, expected = list(mesh.pos.shape), list(self.first.pos.shape)
        if found != expected:
            is_flat = found[0] == expected[0]
            raise MeshError(
                f"{self.where(step)}: positions have shape {found}, expected {expected} as in step"
                " 0; "
                + (
                    "a plane mesh that leaves its plane is not read as a series: write it with a"
                    " first step that is not flat"
                    if is_flat
                    else "a mesh that changes its nodes (refinement, a moving part that is meshed"
                    " anew) is no series: carry the fields over to one mesh, in ParaView with"
                    " Resample With Dataset"
                )
            )
        for array in _ARRAYS:
            now, first = mesh.get(array), self.first.get(array)
            if (now is None) != (first is None) or (
                now is not None and not torch.equal(now, first)
            ):
                raise MeshError(
                    f"{self.where(step)}: has other cells than step 0, expected the same at all"
                    " steps; carry the fields over to one mesh, in ParaView with Resample With"
                    " Dataset"
                )


def _of_one_file(path: Path, one_step: bool) -> MeshSeries:
    format_ = format_of(path)
    if path.suffix.lower() in LISTS:
        with explained(path):
            _check_listed(path)
    with explained(path):
        times = format_.read(path, 0).times
    if times is None and one_step:
        times = np.zeros(1)
    if times is None or not len(times):
        remedy = (
            "write it with the times of its steps, the same for all of its fields"
            if path.suffix.lower() in WITH_STEPS
            else "give the pattern of all files of the series, such as"
            f" '{path.parent / 'NAME_*'}{path.suffix}', or a .pvd that lists them"
        )
        raise MeshError(f"{path}: is no series, expected a file with steps; {remedy}")
    return MeshSeries(str(path), times, [path], [format_])


def _check_listed(path: Path) -> None:
    listed = read_list(path)
    for time, parts in zip(listed.times, listed.files, strict=True):
        for file in parts.values():
            if not file.exists():
                raise MeshError(
                    f"{path}: lists {file.name} for the time {time:g}, and there is no such file in"
                    f" {file.parent}; copy it, or delete its line"
                )


def _of_files(name: str, files: list[Path]) -> MeshSeries:
    for file in files:
        check_file(file)
    formats: list[Format] = [format_of(files[0])] * len(files)
    return MeshSeries(name, times_of_files(name, files), files, formats)
