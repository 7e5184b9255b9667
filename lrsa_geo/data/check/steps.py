"""What may be wrong with a field of a series, seen over its steps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lrsa_geo.data.check.findings import Findings, Kind
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.series import open_series

BROKEN = Kind(
    "series that cannot be read through",
    "error",
    "`data make --series` stops at the first of them; --skip-bad leaves them out",
)
LATE = Kind(
    "values that are NaN or infinite at later steps",
    "warning",
    "as an input or target such a field is refused: the solver has diverged, or repair it",
)
STILL = Kind(
    "fields that never change",
    "note",
    "there is nothing to learn from one as a target of `data make --series`: make it an input",
)
JUMP = Kind(
    "jumps between two steps",
    "warning",
    "check for a restart, another setting or a start-up: --from-time leaves the first steps out",
)

_JUMP = 50.0  # of the median change between two steps
_LARGE = 0.1  # of the field's size, below which no change is a jump
_FEW = 4  # changes, of which no usual one is known


@dataclass
class _Field:
    last: np.ndarray
    size: float = 0.0
    changes: list[float] = field(default_factory=list)
    is_bad: bool = False


class StepStatistics:
    """Changes of the fields of one series, gathered step by step.

    Args:
        findings: where to put what is wrong.
        where: name of the series.
    """

    def __init__(self, findings: Findings, where: str) -> None:
        self.findings = findings
        self.where = where
        self.fields: dict[str, _Field] = {}
        self.times: list[float] = []

    def begin(self, time: float) -> None:
        """Go on to the next step."""
        self.times.append(time)

    def add(self, name: str, values: np.ndarray) -> None:
        """Take the values ``[N, C]`` of a field at the step."""
        values = values.astype(np.float64)
        bad = ~np.isfinite(values)
        about = self.fields.get(name)
        if about is None:
            self.fields[name] = _Field(values, _rms(values), is_bad=bool(bad.any()))
            return
        if bad.any() and not about.is_bad:
            about.is_bad = True
            what = f"'{name}' has {int(bad.sum()):,} of them from {self._at(-1)} on"
            self.findings.add(LATE, self.where, what)
        about.changes.append(_rms(values - about.last))
        about.size = max(about.size, _rms(values))
        about.last = values

    def judge(self) -> None:
        """Put what is wrong with the fields into the findings."""
        for name, about in self.fields.items():
            changes = np.array(about.changes)
            if about.is_bad or not len(changes):
                continue
            if not changes.any():
                self.findings.add(STILL, self.where, f"'{name}' is the same at all steps")
                continue
            usual = float(np.median(changes))
            step = int(changes.argmax())
            limit = max(_JUMP * usual, _LARGE * about.size)
            if len(changes) >= _FEW and changes[step] > limit:
                self.findings.add(
                    JUMP,
                    self.where,
                    f"'{name}' changes by {changes[step]:.3g} (root mean square) from"
                    f" {self._at(step)} to {self._at(step + 1)}, and usually by {usual:.3g}",
                )

    def _at(self, step: int) -> str:
        number = step % len(self.times)
        return f"step {number} (time {self.times[number]:g})"


def _rms(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    size = float(np.abs(known).max(initial=0.0))
    return size * float(np.sqrt(np.mean((known / size) ** 2))) if size else 0.0


def check_series(path: str, findings: Findings) -> None:
    """Look at all steps of a file: what is NaN later, never changes, or jumps."""
    try:
        series = open_series(path)
        about = StepStatistics(findings, path)
        for time, mesh in zip(series.times.tolist(), series, strict=True):
            about.begin(time)
            for name, values in (mesh.cell_data | mesh.point_data).items():
                if values.is_floating_point():
                    about.add(name, values.reshape(len(values), -1).numpy())
    except MeshError as error:
        findings.add(BROKEN, path, str(error).removeprefix(path).lstrip(":, "))
        return
    about.judge()
