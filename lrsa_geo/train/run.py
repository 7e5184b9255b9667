"""A run folder: train, evaluate, predict.

config.yaml         all that is needed to repeat the run
checkpoints/        last.ckpt, from which a killed run resumes
model.safetensors   weights, sizes, normalisation and field names: enough to predict
history.csv         loss and validation errors of every epoch
metrics.json        test errors, sizes, times, memory, versions
pictures/
"""

from __future__ import annotations

import itertools
import json
import logging
import platform
import re
import resource
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo import plot
from lrsa_geo.data import Field, MeshStore, atomic_path, column_slices
from lrsa_geo.simulate import make_store, recipe_class
from lrsa_geo.train.config import DataConfig, TrainConfig, load_config, save_config
from lrsa_geo.train.datamodule import StoreDataModule
from lrsa_geo.train.metrics import relative_l2
from lrsa_geo.train.module import History, SurrogateModule
from lrsa_geo.train.surrogate import Signature, Surrogate

LIBRARIES = ("lrsa_geo", "torch", "torch-geometric", "lightning", "numpy")


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


def prepare_store(config: DataConfig) -> MeshStore:
    """Open the store of a configuration, made first if it is missing and a recipe is named.

    Raises:
        StoreError: the file is missing, damaged, or made by another recipe.
    """
    if config.recipe is None:
        return MeshStore(config.path)
    if not Path(config.path).exists():
        settings = {} if config.samples is None else {"samples": config.samples}
        recipe = recipe_class(config.recipe)(**settings)
        return make_store(recipe, config.path)
    store = MeshStore(config.path)
    store.verify()
    return store


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
    loaders = StoreDataModule(store, config.data, surrogate.arrays, config.seed)
    surrogate.normalizer.fit(store, loaders.split.train)
    history = History(run.history)
    module = SurrogateModule(surrogate, config.optim)
    with _without_chatter():
        trainer = _trainer(config, run, history)
        trainer.fit(
            module,
            datamodule=loaders,
            ckpt_path=run.checkpoint if resume and run.checkpoint.exists() else None,
            weights_only=True,
        )
    seconds["train"] = history.rows[-1]["seconds"]
    surrogate.cpu().save(run.model)
    plot.loss_curves(history.rows, run.pictures / "loss.png")

    report = evaluate(folder)
    report["seconds"] = {k: round(v, 1) for k, v in (seconds | report["seconds"]).items()}
    _write_json(report, run.metrics)
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
    return lightning.Trainer(
        **flags,
        default_root_dir=run.path,
        logger=logger or False,
        callbacks=[
            history,
            ModelCheckpoint(
                run.checkpoint.parent, run.checkpoint.stem, enable_version_counter=False
            ),
        ],
        num_sanity_val_steps=0,
        enable_model_summary=False,
    )


def evaluate(folder: Path) -> dict[str, Any]:
    """Test the model of a run on its held-out graphs and draw what it does.

    Returns:
        Test errors, sizes, times, memory, versions; also written to ``metrics.json``.
    """
    run = RunFolder(folder)
    surrogate = load_surrogate(folder)
    config = load_config(run.config)
    store = prepare_store(config.data)
    loaders = StoreDataModule(store, config.data, surrogate.arrays, config.seed)
    graphs = loaders.split.test
    fields = surrogate.signature.fields["y"]
    started = time.monotonic()
    predictions, errors = _test(surrogate, loaders)
    seconds = {"test": time.monotonic() - started}
    by_field = {f.name: errors[:, i].numpy() for i, f in enumerate(fields)}
    sizes = store.num_nodes[graphs]
    plot.error_against_size(sizes, by_field, run.pictures / "error_against_nodes.png")
    _draw_cases(run, store, graphs, predictions, by_field, fields)
    report = {
        "test": {
            name: {
                "mean": float(error.mean()),
                "median": float(np.median(error)),
                "worst": float(error.max()),
                "per_mesh": [round(float(e), 6) for e in error],
            }
            for name, error in by_field.items()
        },
        "test_graphs": graphs,
        "test_nodes": sizes.tolist(),
        "train_graphs": len(loaders.split.train),
        "parameters": sum(p.numel() for p in surrogate.parameters()),
        "seed": config.seed,
        "peak_memory_mib": _peak_memory_mib(),
        "seconds": seconds,
        "versions": {library: version(library) for library in LIBRARIES},
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }
    if run.metrics.exists():
        # Times and memory of the training are not measured again.
        before = json.loads(run.metrics.read_text())
        report["seconds"] = before["seconds"] | {"test": seconds["test"]}
        report["peak_memory_mib"] = before["peak_memory_mib"]
    _write_json(report, run.metrics)
    return report


def load_surrogate(folder: Path) -> Surrogate:
    """The trained model of a run folder.

    Raises:
        FileNotFoundError: the run has no finished model.
    """
    run = RunFolder(folder)
    if not run.model.exists():
        hint = "train it to the end with --resume" if run.config.exists() else "not a run"
        raise FileNotFoundError(f"{run.model} does not exist: {hint}")
    return Surrogate.load(run.model)


def predict(surrogate: Surrogate, data: Data) -> Tensor:
    """Fields at the nodes of one graph in physical units, ``[N, K]``."""
    with torch.inference_mode():
        return surrogate(data)


def result_fields(prediction: Tensor, data: Data, fields: Iterable[Field]) -> dict[str, Tensor]:
    """Named node fields for a mesh file: the prediction and, where truth is known, the error.

    ``von_mises`` is the truth, ``von_mises_predicted`` and ``von_mises_error`` what they say.
    """
    result = {}
    for name, columns in column_slices(fields).items():
        guess = prediction[:, columns]
        result[f"{name}_predicted"] = guess
        if data.get("y") is not None:
            result[name] = data.y[:, columns]
            result[f"{name}_error"] = guess - data.y[:, columns]
    return {name: values.squeeze(1) for name, values in result.items()}


def _test(surrogate: Surrogate, loaders: StoreDataModule) -> tuple[list[np.ndarray], Tensor]:
    """Predictions of every test graph and their errors ``[graphs, fields]``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    surrogate = surrogate.to(device)
    fields = surrogate.signature.fields["y"]
    predictions: list[np.ndarray] = []
    errors = []
    with torch.inference_mode():
        for batch in loaders.test_dataloader():
            batch = batch.to(device)
            guess = surrogate(batch)
            errors.append(relative_l2(guess, batch.y, batch.batch, batch.num_graphs, fields).cpu())
            sizes = batch.ptr.diff().tolist()
            predictions += [part.numpy() for part in guess.cpu().split(sizes)]
    return predictions, torch.cat(errors)


def _draw_cases(
    run: RunFolder,
    store: MeshStore,
    graphs: list[int],
    predictions: list[np.ndarray],
    by_field: dict[str, np.ndarray],
    fields: tuple[Field, ...],
) -> None:
    """Best, median and worst test mesh of each field."""
    for name, error in by_field.items():
        order = np.argsort(error)
        cases = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
        meshes = [
            (f"{case} ({error[i]:.2%})", store[graphs[i]], predictions[i])
            for case, i in cases.items()
        ]
        plot.compare(meshes, fields, name, run.pictures / f"{name}.png")


def _peak_memory_mib() -> dict[str, int]:
    """Peak memory of this process, and of the GPU where there is one."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    peak = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit}
    if torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated() >> 20
    return peak


def _write_json(values: dict[str, Any], path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n")
