"""The learning rate over a run that ends after a time, and how long a run still takes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import lightning
from lightning.pytorch.callbacks import Timer, TQDMProgressBar
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

_PARTS = 100_000  # of a schedule in time
_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


def duration_of(text: str) -> timedelta:
    """A time such as ``"45m"``, ``"1h30m"`` or, as Lightning has it, ``"00:00:45:00"``.

    Raises:
        ValueError: it is none.

    Examples:
        >>> from lrsa_geo.train.schedule import duration_of
        >>> print(duration_of("1h30m"), duration_of("00:01:30:00"))
        1:30:00 1:30:00
    """
    seconds = 0.0
    if match := re.fullmatch(r"(\d+):(\d+):(\d+):(\d+)", text.strip()):
        values = zip(match.groups(), _UNITS.values(), strict=True)
        seconds = float(sum(int(value) * unit for value, unit in values))
    elif re.fullmatch(r"(\s*\d+(\.\d+)?\s*[dhms])+\s*", text):
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([dhms])", text)
        seconds = sum(float(value) * _UNITS[unit] for value, unit in parts)
    if not seconds > 0:
        raise ValueError(
            f"trainer.max_time is '{text}', expected a time such as 45m, 1h30m or DD:HH:MM:SS"
        )
    return timedelta(seconds=seconds)


class OneCycleInTime(OneCycleLR):
    """OneCycle by the share of a run that is done, not by the number of steps.

    Args:
        optimizer: whose learning rate it sets.
        max_lr: highest learning rate.
        warmup: share with a rising one.
    """

    def __init__(self, optimizer: Optimizer, max_lr: float, warmup: float) -> None:
        warmup = max(warmup, 2 / _PARTS)
        super().__init__(optimizer, max_lr, total_steps=_PARTS, pct_start=warmup)

    def go_to(self, share: float) -> None:
        """Set the learning rate for what comes after ``share`` of the run; never back."""
        there = min(round(share * _PARTS), _PARTS - 1)
        self.last_epoch = max(self.last_epoch, there) - 1  # the step adds one
        self.step()


def timer_of(trainer: lightning.Trainer) -> Timer | None:
    """Lightning's clock of a run that ends after a time; it counts what was before a resume."""
    timers = [c for c in trainer.callbacks if isinstance(c, Timer)]  # type: ignore[attr-defined]
    return timers[0] if timers else None


def share_done(trainer: lightning.Trainer, since: tuple[float, int] = (0.0, 0)) -> float:
    """Share of a run that is done, by its time or its steps, whichever ends first.

    Args:
        trainer: in training.
        since: time and step that count as the beginning.
    """
    seconds, step = since
    rest = float(trainer.estimated_stepping_batches) - step
    share = (trainer.global_step - step) / max(rest, 1)
    timer = timer_of(trainer)
    if timer is not None and (remaining := timer.time_remaining()) is not None:
        elapsed = timer.time_elapsed() - seconds
        share = max(share, elapsed / max(elapsed + remaining, 1e-9))
    return min(share, 1.0)


class Progress(TQDMProgressBar):
    """Lightning's progress bar, which has the rest of the epoch, and the rest of the whole run."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10)  # drawing takes time, too
        self._clock = Timer()
        self._begun = 0.0  # share that was done before

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._begun = share_done(trainer)
        self._clock.on_train_start(trainer, pl_module)

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """The figures beside the bar, and the time that the run still takes."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        share = share_done(trainer)
        if share > self._begun:
            seconds = self._clock.time_elapsed() * (1 - share) / (share - self._begun)
            metrics = {"run_left": str(timedelta(seconds=round(seconds))), **metrics}
        return metrics
