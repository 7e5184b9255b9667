"""Run: a folder with a life: claimed, trained, perhaps interrupted and resumed, finished.

config.yaml         all that is needed to repeat the run
checkpoints/        last.ckpt, from which a run resumes
model.safetensors   weights, sizes, normalisation and field names: enough to predict
history.csv         loss and validation errors of every epoch
metrics.json        test errors, sizes, times, memory, versions: the run is finished
pictures/
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from lrsa_geo.train.config import TrainConfig, TrainerConfig, load_config, save_config
from lrsa_geo.train.records import changes, file_stems, write_json
from lrsa_geo.train.schedule import duration_of

# What may change where a run is resumed; everything else makes it another run.
CHANGEABLE = ("trainer.", "data.num_workers", "data.in_memory")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a training; the message says what was kept and how to go on."""


@dataclass(frozen=True)
class Run:
    """The files of a run.

    Attributes:
        path: its folder.
    """

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
    def metrics_so_far(self) -> Path:
        """Figures of a run that was stopped."""
        return self.path / "metrics-stopped.json"

    def picture(self, name: str) -> Path:
        """Picture of the whole run: loss, error_against_nodes or error_over_time."""
        return self.path / "pictures" / f"{file_stems([name])[name]}.png"

    def pictures_of(self, fields: Iterable[str]) -> dict[str, Path]:
        """A picture for each field, whatever its name."""
        stems = file_stems(fields, taken=("loss", "error_against_nodes", "error_over_time"))
        return {name: self.path / "pictures" / f"{stem}.png" for name, stem in stems.items()}

    @classmethod
    def claim(cls, where: str | Path, config: TrainConfig) -> Run:
        """Begin a run in a folder that no other run has.

        Args:
            where: a ``Path`` is the folder itself; a name stands for ``runs/NAME``, or the first of
                ``runs/NAME-2``, ``-3``, ... that does not exist.
            config: kept in it.

        Raises:
            FileExistsError: the folder holds a run.
        """
        run = cls(where) if isinstance(where, Path) else cls._numbered(where)
        run.path.mkdir(parents=True, exist_ok=True)
        try:
            run.config.touch(exist_ok=False)  # one process alone succeeds
        except FileExistsError as error:
            raise _holds_a_run(run.path) from error
        try:
            save_config(config, run.config)
        except BaseException:
            run.abandon()
            raise
        return run

    @classmethod
    def _numbered(cls, name: str) -> Run:
        for number in itertools.count(1):
            folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return cls(folder)
        raise AssertionError  # the count never ends

    @staticmethod
    def check_place(where: str | Path) -> None:
        """Raise what :meth:`claim` would raise later, without making anything.

        Raises:
            FileExistsError: the folder holds a run.
            OSError: the folder cannot be written.
            ValueError: the name is a path.
        """
        if isinstance(where, str) and (not where or Path(where).name != where):
            raise ValueError(f"name is '{where}', expected the name of a folder in runs/")
        folder = where if isinstance(where, Path) else Path("runs", where)
        if isinstance(where, Path) and Run(where).config.exists():
            raise _holds_a_run(where)
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(f"{there} is no folder that can be written to")

    @classmethod
    def resume(cls, folder: Path, config: TrainConfig) -> Run:
        """Go on with a run; its ``config.yaml`` becomes this one.

        Raises:
            FileNotFoundError, ValueError: see :meth:`check_resume`.
        """
        run = cls(folder)
        run.check_resume(config)
        save_config(config, run.config)
        run.metrics.unlink(missing_ok=True)
        return run

    def check_resume(self, config: TrainConfig) -> None:
        """Whether the run can go on with this configuration; nothing is changed.

        Raises:
            FileNotFoundError: there is no run.
            ValueError: the configuration is another one, or there is nothing left to do.
        """
        if not self.config.exists():
            raise FileNotFoundError(f"{self.path} holds no run to resume")
        changed = changes(load_config(self.config), config, CHANGEABLE)
        if changed:
            raise ValueError(
                f"{self.path} cannot go on as another run: {'; '.join(changed)}. Only trainer.*,"
                " data.num_workers and data.in_memory can change; leave --resume out for a new run"
            )
        epochs, limit = self.progress()[0], config.trainer.max_epochs
        if 0 <= limit < epochs:
            raise ValueError(f"{self.path}: {epochs} epochs are done, max_epochs cannot be {limit}")
        if not self.goes_on(config.trainer):
            raise ValueError(
                f"{self.path} is finished after {epochs} epochs; raise --trainer.max_epochs (or"
                " max_steps, max_time) to go on"
            )

    def goes_on(self, trainer: TrainerConfig) -> bool:
        """Whether there is something left to do: the run is not finished, or its limits grew."""
        if not self.metrics.exists():
            return True
        epochs, steps = self.progress()
        in_time = trainer.max_time is None or self._elapsed() < duration_of(trainer.max_time)
        in_epochs = trainer.max_epochs == -1 or epochs < trainer.max_epochs
        return in_time and in_epochs and (trainer.max_steps == -1 or steps < trainer.max_steps)

    def _elapsed(self) -> timedelta:
        """Time that the checkpoint has behind it, if it was limited."""
        timer = self.state()["callbacks"].get("Timer", {}) if self.checkpoint.exists() else {}
        return timedelta(seconds=timer.get("time_elapsed", {}).get("train", 0))

    def progress(self) -> tuple[int, int]:
        """Epochs and optimiser steps that the checkpoint has behind it."""
        if not self.checkpoint.exists():
            return 0, 0
        state = self.state()
        return state["epoch"] + 1, state["global_step"]

    def state(self) -> dict[str, Any]:
        """What the checkpoint holds.

        Raises:
            ValueError: it cannot be read.
        """
        try:
            state: dict[str, Any] = torch.load(self.checkpoint, "cpu", weights_only=True)
        except (RuntimeError, EOFError, UnpicklingError, OSError, KeyError) as error:
            what = f"{self.checkpoint}: a damaged checkpoint ({type(error).__name__})"
            raise ValueError(f"{what}, from which nothing can go on; start a new run") from error
        return state

    def has_model(self) -> bool:
        """Whether there is a trained model, and no checkpoint of a training that went on since."""
        if not self.model.exists():
            return False
        is_last = self.metrics.exists() or not self.checkpoint.exists()
        return is_last or self.model.stat().st_mtime_ns >= self.checkpoint.stat().st_mtime_ns

    def share_done(self) -> str:
        """How far the checkpoint is, such as "12 of 100 epochs"."""
        epochs = self.progress()[0]
        limit = load_config(self.config).trainer.max_epochs
        return f"{epochs} of {limit} epochs" if limit > 0 else f"{epochs} epochs"

    def finish(self, report: dict[str, Any]) -> None:
        """Keep the figures: the run is finished."""
        write_json(report, self.metrics)
        self.metrics_so_far.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Give the folder back if no epoch was finished: a failed first try leaves nothing."""
        if self.checkpoint.exists() or self.model.exists():
            return
        for of_run in (self.config, self.history):
            of_run.unlink(missing_ok=True)
        for folder in (self.checkpoint.parent, self.path / "tensorboard"):
            shutil.rmtree(folder, ignore_errors=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()
            if self.path.parent == Path("runs") and not any(self.path.parent.iterdir()):
                self.path.parent.rmdir()

    def interrupted(self) -> Interrupted:
        """What to tell who pressed Ctrl-C."""
        again = f"lrsa-geo train {self.config} --resume --run {self.path}"
        if self.has_model() and not self.metrics.exists():
            return Interrupted(f"the trained model is kept; `{again}` tests it")
        epochs = self.progress()[0]
        if not epochs:
            return Interrupted("no epoch was finished, so nothing was kept; start again")
        return Interrupted(
            f"{self.share_done()} are kept in {self.checkpoint}; `{again}` goes on, `lrsa-geo"
            f" predict {self.path}` takes them as they are"
        )

    @classmethod
    def named(cls, name: str, root: str | Path = "runs") -> list[Run]:
        """The runs of that name, the newest first."""
        runs = [
            run
            for run in map(cls, Path(root).glob("*"))
            if re.fullmatch(rf"{re.escape(name)}(-\d+)?", run.path.name) and run.config.exists()
        ]
        return sorted(runs, key=lambda run: run.config.stat().st_mtime_ns, reverse=True)

    @classmethod
    def last(
        cls, name: str, config_of: Callable[[Run], TrainConfig], root: str | Path = "runs"
    ) -> Run:
        """The newest run of that name that can go on.

        Args:
            name: of the run.
            config_of: with which configuration a run would go on.
            root: folder of the runs.

        Raises:
            FileNotFoundError: there is none.
        """
        for run in cls.named(name, root):
            try:
                load_config(run.config)
                run.progress()
                goes_on = run.goes_on(config_of(run).trainer)
            except (ValueError, OSError) as error:
                print(f"{run.path} cannot go on: {error}", file=sys.stderr)
                continue
            if goes_on:
                return run
        raise FileNotFoundError(
            f"no unfinished run of '{name}' in {root}/; start one without --resume, or go on with a"
            " finished one by a higher --trainer.max_epochs"
        )


def _holds_a_run(folder: Path) -> FileExistsError:
    return FileExistsError(f"{folder} holds a run already; resume it, or name another folder")
