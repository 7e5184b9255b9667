"""A run folder and its files.

config.yaml         all that is needed to repeat the run
checkpoints/        last.ckpt, from which a killed run resumes
model.safetensors   weights, sizes, normalisation and field names: enough to predict
history.csv         loss and validation errors of every epoch
metrics.json        test errors, sizes, times, memory, versions
pictures/
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The files of a run."""

    path: Path

    @property
    def config(self) -> Path:
        """Configuration."""
        return self.path / "config.yaml"

    @property
    def checkpoint(self) -> Path:
        """State of the training after the last whole epoch."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def model(self) -> Path:
        """The trained surrogate."""
        return self.path / "model.safetensors"

    @property
    def history(self) -> Path:
        """Figures of every epoch."""
        return self.path / "history.csv"

    @property
    def metrics(self) -> Path:
        """Figures of the finished run."""
        return self.path / "metrics.json"

    @property
    def pictures(self) -> Path:
        """Pictures."""
        return self.path / "pictures"


def unused_run(name: str, root: str | Path = "runs") -> Path:
    """``runs/NAME``, or the first of ``runs/NAME-2``, ``-3``, ... that does not exist."""
    for number in itertools.count(1):
        folder = Path(root) / (name if number == 1 else f"{name}-{number}")
        if not folder.exists():
            return folder
    raise AssertionError  # the count never ends


def resumable_run(name: str, root: str | Path = "runs") -> Path:
    """The newest run of that name that was begun and is not finished.

    Raises:
        FileNotFoundError: there is none.
    """
    unfinished = [
        run
        for run in map(RunFolder, Path(root).glob(f"{name}*"))
        if re.fullmatch(rf"{re.escape(name)}(-\d+)?", run.path.name)
        and run.config.exists()
        and not run.metrics.exists()
    ]
    if not unfinished:
        raise FileNotFoundError(
            f"no unfinished run of '{name}' in {root}/; start one without --resume"
        )
    return max(unfinished, key=lambda run: run.config.stat().st_mtime).path
