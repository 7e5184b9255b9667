"""Train a surrogate, from the data to the pictures."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from lrsa_geo import plot
from lrsa_geo.train.config import TrainConfig, save_config
from lrsa_geo.train.datamodule import StoreDataModule, prepare_store
from lrsa_geo.train.evaluate import evaluate, write_json
from lrsa_geo.train.folder import RunFolder
from lrsa_geo.train.module import History, SurrogateModule
from lrsa_geo.train.surrogate import Signature, Surrogate


def train(config: TrainConfig, folder: Path, *, resume: bool = False) -> dict[str, Any]:
    """Train, test, draw; everything ends up in ``folder``.

    Args:
        config: what to do.
        folder: run folder; it must not hold a run yet, unless that is resumed.
        resume: go on from the checkpoint in ``folder``. The weights at the end are those of an
            unbroken run on the same machine.

    Returns:
        The contents of ``metrics.json``.

    Raises:
        FileExistsError: there is a run in ``folder`` and ``resume`` is false.
        FileNotFoundError: there is none and ``resume`` is true.
        NonFiniteLossError: the loss became NaN.
    """
    run = RunFolder(folder)
    if run.config.exists() and not resume:
        raise FileExistsError(f"{folder} holds a run already; resume it, or name another folder")
    if resume and not run.config.exists():
        raise FileNotFoundError(f"{folder} holds no run to resume")
    started = time.monotonic()
    store = prepare_store(config.data)
    seconds = {"data": time.monotonic() - started}
    save_config(config, run.config)

    lightning.seed_everything(config.seed, verbose=False)
    surrogate = Surrogate(config.model, Signature.of_store(store, config.model))
    module = SurrogateModule(surrogate, config.optim, config.objective)
    arrays = surrogate.arrays + module.objective.arrays
    loaders = StoreDataModule(store, config.data, arrays, config.seed)
    surrogate.normalizer.fit(
        store, loaders.split.train, relative_positions=config.model.relative_positions
    )
    history = History(run.history)
    with _without_chatter():
        trainer = _trainer(config, run, history)
        trainer.fit(
            module,
            datamodule=loaders,
            ckpt_path=run.checkpoint if resume and run.checkpoint.exists() else None,
            weights_only=True,
        )
    history.read()  # with several devices, the training happened in other processes
    seconds["train"] = history.rows[-1]["seconds"]
    surrogate.cpu().save(run.model)
    plot.loss_curves(history.rows, run.pictures / "loss.png")

    report = evaluate(folder)
    report["seconds"] = {k: round(v, 1) for k, v in (seconds | report["seconds"]).items()}
    write_json(report, run.metrics)
    return report


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep Lightning's tips, and its warnings about what is meant to be so, off the screen."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for text in (
            "does not have many workers",  # right for stores in memory
            "Checkpoint directory .* exists and is not empty",  # a resumed run
            "is smaller than the logging interval",  # figures are logged per epoch
            "isinstance.treespec, LeafSpec.",  # Lightning's own
        ):
            warnings.filterwarnings("ignore", f".*{text}")
        yield
    log.setLevel(level)


def _trainer(config: TrainConfig, run: RunFolder, history: History) -> lightning.Trainer:
    flags = dict(vars(config.trainer))
    if flags["devices"] == "auto" and not torch.cuda.is_available():
        flags["devices"] = 1  # one process with all cores, the same as Lightning's own choice
    logger = None
    if find_spec("tensorboard"):
        logger = TensorBoardLogger(run.path, name=None, version="tensorboard")
    callbacks: list[lightning.Callback] = [
        history,
        ModelCheckpoint(run.checkpoint.parent, run.checkpoint.stem, enable_version_counter=False),
    ]
    if config.trainer.enable_progress_bar:
        callbacks.append(TQDMProgressBar(refresh_rate=10))  # drawing takes time, too
    return lightning.Trainer(
        **flags,
        default_root_dir=run.path,
        logger=logger or False,
        callbacks=callbacks,
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )
