"""Train a surrogate, from the data to the pictures."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lrsa_geo.files import disk_is_full
from lrsa_geo.process import keep_freed_memory
from lrsa_geo.train.assembly import assemble
from lrsa_geo.train.averaging import MovingAverage
from lrsa_geo.train.compiled import Compiled, compiles, why_not_compiled
from lrsa_geo.train.config import TrainConfig, check_config
from lrsa_geo.train.datamodule import prepare_store
from lrsa_geo.train.disk import AtomicCheckpointIO, check_room, full_disk
from lrsa_geo.train.evaluate import evaluate
from lrsa_geo.train.module import History
from lrsa_geo.train.notes import hint_on
from lrsa_geo.train.pictures import draw_loss
from lrsa_geo.train.processes import FOLLOW, Processes
from lrsa_geo.train.rehearsal import rehearse
from lrsa_geo.train.run import Run
from lrsa_geo.train.schedule import Progress, duration_of


def train(
    config: TrainConfig, folder: Path | None = None, *, resume: bool = False
) -> dict[str, Any]:
    """Train, test, draw; everything ends up in a run folder.

    All that can be known to be wrong is found before the folder is made. With several processes the
    first one does everything but the training.

    Args:
        config: what to do.
        folder: run folder; it must not hold a run yet, unless that is resumed. By default
            ``runs/NAME``, numbered if that exists.
        resume: go on from the checkpoint in ``folder``. The weights at the end are those of an
            unbroken run on the same machine; where the number of steps has changed, a new schedule
            of the learning rate leads over the rest.

    Returns:
        The contents of ``metrics.json``, and the ``folder``; nothing in processes that are not the
        first.

    Raises:
        FileExistsError: there is a run in ``folder`` and ``resume`` is false.
        FileNotFoundError: there is none and ``resume`` is true.
        ValueError: the configuration makes no sense, or is not that of the run to be resumed.
        NonFiniteLossError: the loss became NaN.
        Interrupted: Ctrl-C; the message says what was kept.
    """
    check_config(config)
    keep_freed_memory()
    place: str | Path = config.name if folder is None else folder
    with _without_chatter():
        training = _Training(config, place, resume)
        try:
            report = training.run_to_the_end()
        except KeyboardInterrupt as error:
            raise training.interrupted() from error
        except BaseException as error:
            full = training.disk_full(error) if disk_is_full(error) else None
            training.abandon()
            if full is not None:
                raise full from error
            raise
        finally:
            os.environ.pop(FOLLOW, None)
    return report


class _Training:
    """What a training needs; made without writing a file."""

    def __init__(self, config: TrainConfig, place: str | Path, resume: bool) -> None:
        self.config = config
        self.place = place
        self.resume = resume
        self.run: Run | None = None
        self.history = History()
        self.checkpoint = ModelCheckpoint(
            filename="last",
            enable_version_counter=False,
            save_on_train_epoch_end=True,  # also where no validation graph is looked at
        )
        self.trainer = _trainer(config, [self.history, self.checkpoint])
        self.processes = Processes(self.trainer)
        if self.processes.first:
            self._check_place()
        self.compiled = compiles(config, self.trainer.strategy.root_device)
        if self.compiled:
            self.trainer.callbacks.insert(0, Compiled())  # type: ignore[attr-defined]
        started = time.monotonic()
        store = self.processes.in_turn(lambda: prepare_store(config.data))
        self.seconds = {"data": time.monotonic() - started}
        lightning.seed_everything(config.seed, verbose=False)
        kept = Run(Path(place)).state().get("surrogate") if self._goes_on() else None
        parts = assemble(config, store, kept, compiled=self.compiled)
        self.surrogate, self.module, self.loaders = parts.surrogate, parts.module, parts.loaders
        self.module.new_optimizer()
        self.loaders.check()
        markers = self.surrogate.signature.num_markers
        self.processes.first_alone(
            lambda: rehearse(self.loaders, self.module.objective, config.data, markers)
        )
        folder = Path(place) if isinstance(place, Path) else Path("runs", place)
        check_room(folder, self.module, Run(folder).checkpoint if resume else None)

    def _goes_on(self) -> bool:
        return self.resume and Run(Path(self.place)).checkpoint.exists()

    def _check_place(self) -> None:
        if not self.resume:
            Run.check_place(self.place)
        else:
            Run(Path(self.place)).check_resume(self.config)

    def _claim(self) -> Path:
        if self.resume:
            self.run = Run.resume(Path(self.place), self.config)
            epochs = self.run.progress()[0]
            print(f"run folder: {self.run.path}, going on after epoch {epochs}")
        else:
            self.run = Run.claim(self.place, self.config)
            stepping = self.surrogate.signature.stepping
            split = str(self.loaders.split)
            if stepping is not None:
                split = f"{split.removesuffix('graphs')}series; {stepping}"
            print(f"run folder: {self.run.path}; {split}")
            if self.config.model.fourier_octaves == "auto":
                octaves = self.surrogate.config.fourier_octaves
                print(f"position encoding: {octaves} octaves, by the spacing of the training nodes")
            if hint := hint_on(self.config, self.loaders.dataset("train").sizes):
                print(hint)
        if self.compiled:
            print("the network is compiled first (trainer.compile): minutes, the first time")
        elif self.config.trainer.compile == "auto":
            reason = why_not_compiled(self.config, self.trainer.strategy.root_device)
            print(f"steps are not compiled (trainer.compile: auto): {reason}")
        return self.run.path

    def run_to_the_end(self) -> dict[str, Any]:
        run = self.run = Run(self.processes.folder(self._claim))
        self.history.path = run.history
        self.checkpoint.dirpath = str(run.checkpoint.parent)
        if find_spec("tensorboard"):
            self.trainer.logger = TensorBoardLogger(run.path, name=None, version="tensorboard")
        with _keyboard_interrupts(self.trainer):
            self.trainer.fit(
                self.module,
                datamodule=self.loaders,
                ckpt_path=run.checkpoint if self._goes_on() else None,
                weights_only=True,
            )
        if not self.processes.first:
            return {}
        self.history.read()  # processes that were spawned had a history of their own
        self.seconds["train"] = self.history.rows[-1]["seconds"]
        self.surrogate.cpu().save(run.model)

        draw_loss(run, self.history.rows)
        figures = {"steps": self.trainer.global_step, "compiled": self.compiled}
        report = evaluate(run.path, {"seconds": self.seconds, **figures})
        return report | {"folder": str(run.path)}

    def abandon(self) -> None:
        if self.processes.first and self.run is not None and not self.resume:
            self.run.abandon()

    def disk_full(self, error: BaseException) -> OSError | None:
        return None if self.run is None else full_disk(self.run, error)

    def interrupted(self) -> KeyboardInterrupt:
        if not self.processes.first or self.run is None:
            return KeyboardInterrupt()
        what_was_kept = self.run.interrupted()
        self.abandon()
        return what_was_kept


@contextmanager
def _keyboard_interrupts(trainer: lightning.Trainer) -> Iterator[None]:
    """Let Ctrl-C be a KeyboardInterrupt: Lightning makes it `exit(1)` and ignores the next ones."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if trainer.interrupted:
            raise KeyboardInterrupt from error
        raise
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep Lightning's tips, and its warnings about what is meant to be so, off the screen."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for text in (
                "does not have many workers",  # right for stores in memory
                "Checkpoint directory .* exists and is not empty",  # a resumed run
                "is smaller than the logging interval",  # figures are logged per epoch
                "isinstance.treespec, LeafSpec.",  # Lightning's own
                "Total length of `list` across ranks is zero",  # no validation graphs
                "The dirpath has changed from",  # a run folder was moved, or named another way
            ):
                warnings.filterwarnings("ignore", f".*{text}")
            yield
    finally:
        log.setLevel(level)


def _trainer(config: TrainConfig, callbacks: list[lightning.Callback]) -> lightning.Trainer:
    """Lightning's trainer, without a folder to write to.

    Raises:
        ValueError: Lightning cannot make sense of its flags.
    """
    flags = dict(vars(config.trainer))
    del flags["compile"]  # ours
    if flags["devices"] == "auto" and not torch.cuda.is_available():
        flags["devices"] = 1  # one process with all cores, the same as Lightning's own choice
    if flags["max_time"] is not None:
        flags["max_time"] = duration_of(flags["max_time"])
    if config.trainer.enable_progress_bar:
        callbacks = [*callbacks, Progress()]
    if config.optim.average is not None:
        callbacks = [MovingAverage(config.optim.average), *callbacks]
    try:
        return lightning.Trainer(
            **flags,
            logger=False,
            callbacks=callbacks,
            plugins=[AtomicCheckpointIO()],
            num_sanity_val_steps=0,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ImportError, TypeError, ValueError) as error:
        accelerator = f"accelerator {config.trainer.accelerator}, devices {config.trainer.devices}"
        raise ValueError(
            f"trainer: {error} ({accelerator}; --trainer.accelerator auto takes what there is)"
        ) from error
