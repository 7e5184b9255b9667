"""How a surrogate is trained, for Lightning."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR
from torch_geometric.data import Batch

from lrsa_geo.files import atomic_path
from lrsa_geo.train.config import OptimConfig
from lrsa_geo.train.muon import Muon
from lrsa_geo.train.objective import ObjectiveConfig
from lrsa_geo.train.schedule import OneCycleInTime, share_done, timer_of
from lrsa_geo.train.surrogate import Surrogate


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite; the message names the batch."""


class _LossCheck:
    """Looks whether losses are finite, each when the next one is there.

    By then a GPU has the work of the next step, and does not idle while the host waits for the
    loss: an event tells when its copy on the CPU is complete. The optimiser has made its step with
    the gradients of that loss, so that after an error the weights are lost.
    """

    def __init__(self) -> None:
        self._waiting: tuple[Tensor, torch.cuda.Event | None, int, int, Tensor] | None = None

    def next(self, loss: Tensor, epoch: int, batch_index: int, graphs: Tensor) -> None:
        """Look at the loss before this one.

        Raises:
            NonFiniteLossError: it is not finite.
        """
        self.last()
        copied = None
        value = loss.detach().to("cpu", non_blocking=loss.is_cuda)
        if loss.is_cuda:
            copied = torch.cuda.Event()
            copied.record()
        self._waiting = value, copied, epoch, batch_index, graphs

    def last(self) -> None:
        """Look at the loss that was given last, if that was not done.

        Raises:
            NonFiniteLossError: it is not finite.
        """
        if self._waiting is None:
            return
        value, copied, epoch, batch_index, graphs = self._waiting
        self._waiting = None
        if copied is not None:
            copied.synchronize()
        loss = float(value.numpy())  # on the CPU by now: no look at the device
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"the loss is {loss} in epoch {epoch}, batch {batch_index}, graphs"
                f" {graphs.tolist()} of the store (or those of another process); look for NaN with"
                " `lrsa-geo data check`, or lower optim.lr"
            )


class SurrogateModule(lightning.LightningModule):
    """Minimises an objective of the predictions in physical units.

    Args:
        surrogate: the model, with its normalisation fitted.
        optim: optimiser and schedule.
        objective: loss and errors; relative L2 by default.
    """

    def __init__(
        self, surrogate: Surrogate, optim: OptimConfig, objective: ObjectiveConfig | None = None
    ) -> None:
        super().__init__()
        self.surrogate = surrogate
        self.optim = optim
        self.objective = surrogate.objective(objective)
        self._planned: int | str | None = None  # where the schedule of a resumed run was to end
        self._since = (0.0, 0)  # time and step at which it began
        self._check = _LossCheck()

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a batch."""
        return self.objective.loss(self.surrogate(batch), batch)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One batch's loss.

        Raises:
            NonFiniteLossError: that of the batch before is not a number. The last one of an epoch
                is looked at where that ends, and before anything is saved.
        """
        loss = self.loss(batch)
        share, graphs, of_all = self._share(batch, loss)
        self._check.next(of_all, self.current_epoch, batch_index, batch.graph)
        self._log("loss", loss * share, graphs, prog_bar=True)
        return loss * share

    def _share(self, batch: Batch, loss: Tensor) -> tuple[Tensor | float, Tensor | int, Tensor]:
        """What a batch counts for among those of all processes, and the sums of graphs and losses.

        Processes average their gradients, and sum_r (W_r / sum_s W_s) l_r is the loss of all their
        batches in one, l_r and W_r being loss and weight of each: so l_r is multiplied by W_r over
        the mean weight.
        """
        processes = self.trainer.world_size
        if processes == 1:
            return 1.0, batch.num_graphs, loss
        weight = self.objective.weight(batch)
        parts = [weight, weight.new_full((), batch.num_graphs), loss.detach().to(weight.dtype)]
        total, graphs, losses = self.trainer.strategy.reduce(torch.stack(parts), reduce_op="sum")
        smallest = torch.finfo(total.dtype).tiny
        return processes * weight / total.clamp(min=smallest), graphs, losses

    def on_fit_start(self) -> None:
        """Forget a loss of a training that was interrupted."""
        self._check = _LossCheck()

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_index: int) -> None:
        """Look at the last loss of an epoch."""
        if self.trainer.is_last_batch:
            self._check.last()

    def on_train_end(self) -> None:
        """Look at the last loss of a training that ends within an epoch."""
        self._check.last()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Log the error of each field."""
        errors = self.objective.errors(self.surrogate(batch), batch).nanmean(0)
        for field, error in zip(self.objective.fields, errors, strict=True):
            self._log(f"val_{field.name}", error, batch.num_graphs, prog_bar=True)

    def _log(self, name: str, value: Tensor, graphs: Tensor | int, prog_bar: bool) -> None:
        self.log(
            name,
            value,
            prog_bar=prog_bar,
            on_step=False,
            on_epoch=True,
            batch_size=cast(int, graphs),  # which Lightning multiplies by, and no more
            sync_dist=True,
        )

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimiser, and OneCycle over the whole run: its steps, or its time."""
        # Lightning does not clip gradients in mixed precision with the fused form.
        optimizer = self.new_optimizer(fused="mixed" not in str(self.trainer.precision))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self._one_cycle(optimizer), "interval": "step"},
        }

    def _last_step(self) -> int:
        return max(4, int(self.trainer.estimated_stepping_batches))

    def _plan(self) -> int | str:
        """The step, or the time, at which the schedule ends."""
        timer = timer_of(self.trainer)
        if timer is None:
            return self._last_step()
        return f"{timer.time_elapsed() + (timer.time_remaining() or 0):.0f} s"

    def _one_cycle(self, optimizer: torch.optim.Optimizer, done: int = 0) -> OneCycleLR:
        if timer_of(self.trainer) is not None:
            return OneCycleInTime(optimizer, self.optim.lr, self.optim.warmup)
        steps = max(4, self._last_step() - done)
        warmup = max(self.optim.warmup, 2 / steps)  # PyTorch divides by zero at a single step
        return OneCycleLR(optimizer, self.optim.lr, total_steps=steps, pct_start=warmup)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """One step on; in a run that ends after a time, to where the first process's clock is."""
        if isinstance(scheduler, OneCycleInTime):
            share = share_done(self.trainer, self._since)
            scheduler.go_to(self.trainer.strategy.broadcast(share))
        else:
            scheduler.step()

    def on_train_start(self) -> None:
        """In a resumed run with another end, begin a new schedule over the rest."""
        plan, done = self._plan(), self.trainer.global_step
        timer = timer_of(self.trainer)
        goes_on = timer is not None or done < self._last_step()
        if self._planned not in (None, plan) and goes_on:
            schedule = self.trainer.lr_scheduler_configs[0]
            schedule.scheduler = self._one_cycle(self.trainer.optimizers[0], done)
            self._since = (timer.time_elapsed() if timer else 0.0, done)
            if self.trainer.is_global_zero:
                left = timer.time_remaining() or 0 if timer else 0
                rest = f"{left:.0f} seconds" if timer else f"{self._last_step() - done} steps"
                print(f"a new one-cycle schedule of the learning rate over the other {rest}")
        self._planned = plan

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where the schedule begins and ends, and what prediction needs to be told."""
        self._check.last()
        checkpoint["last_step"] = self._planned
        checkpoint["since"] = self._since
        checkpoint["surrogate"] = self.surrogate.about()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember where the schedule was to begin and to end."""
        self._planned = checkpoint.get("last_step", checkpoint["lr_schedulers"][0]["total_steps"])
        self._since = tuple(checkpoint.get("since", (0.0, 0)))

    def new_optimizer(self, *, fused: bool = True) -> torch.optim.Optimizer:
        """Muon for the blocks' matrices and AdamW for the rest, or AdamW, ``fused`` or not."""
        lr, weight_decay = self.optim.lr, self.optim.weight_decay
        if self.optim.method not in ("muon", "adamw"):
            raise ValueError(f"optim.method is '{self.optim.method}', expected muon or adamw")
        if self.optim.method == "adamw":
            return torch.optim.AdamW(self.parameters(), lr, weight_decay=weight_decay, fused=fused)
        return Muon.of(self, self.surrogate.operator.blocks, lr, weight_decay=weight_decay)


class History(lightning.Callback):
    """One row of figures per epoch, in a CSV file; errors on the validation graphs where they ran.

    The rows are part of the checkpoint, so a resumed run continues those of the run that was
    killed. ``seconds`` adds up over both.

    Args:
        path: CSV file, written anew after every epoch; known before the training starts.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        self._started = 0.0
        self._validated = False

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Start the clock."""
        self._started = time.monotonic() - (self.rows[-1]["seconds"] if self.rows else 0)

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Remember that there are new errors; Lightning keeps showing those of epochs before."""
        self._validated = True

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Note the epoch's figures."""
        figures = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if self._validated or not name.startswith("val_")
        }
        self._validated = False
        seconds = round(time.monotonic() - self._started, 1)
        self.rows.append({"epoch": trainer.current_epoch + 1, "seconds": seconds, **figures})
        if trainer.is_global_zero:
            self._write()

    def _write(self) -> None:
        assert self.path is not None
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_path(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            # A cell without a number is empty, such as the error of a field that nobody knows.
            writer.writerows(
                {name: "" if math.isnan(value) else value for name, value in row.items()}
                for row in self.rows
            )

    def read(self) -> None:
        """Take the rows from the file."""
        assert self.path is not None
        with open(self.path, newline="") as file:
            self.rows = [
                {name: float(value) for name, value in row.items() if value}
                for row in csv.DictReader(file)
            ]

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.rows = state_dict["rows"]
