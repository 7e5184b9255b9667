"""Test a trained surrogate."""

from __future__ import annotations

import json
import platform
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data import MeshStore, match_store
from lrsa_geo.train.baselines import Baselines
from lrsa_geo.train.config import load_config
from lrsa_geo.train.datamodule import StoreDataModule, prepare_store
from lrsa_geo.train.notes import notes_on
from lrsa_geo.train.objective import Objective
from lrsa_geo.train.pictures import draw_test
from lrsa_geo.train.predict import load_surrogate
from lrsa_geo.train.quantities import engineering_report
from lrsa_geo.train.records import write_json
from lrsa_geo.train.run import Run
from lrsa_geo.train.surrogate import Surrogate, layout_of

LIBRARIES = ("lrsa_geo", "torch", "torch-geometric", "lightning", "numpy")


def evaluate(folder: Path) -> dict[str, Any]:
    """Test the model of a run on its test graphs and draw what it does.

    A run that was stopped is tested with the weights of its last checkpoint; its figures go to
    ``metrics-stopped.json``, so that it can still go on.

    Returns:
        Test errors, what they are worth (see :class:`Baselines`), sizes, times, memory, versions;
        also written to ``metrics.json``. Without test graphs there are no errors in it.

    Raises:
        FileNotFoundError: the run has no model and no checkpoint.
        MismatchError: the store lacks a field of the model, or holds other graphs.
    """
    run = Run(folder)
    surrogate = load_surrogate(folder)
    if not run.config.exists():
        raise FileNotFoundError(f"{run.path} is no run folder: it has no config.yaml")
    config = load_config(run.config)
    store = match_store(prepare_store(config.data), surrogate.signature.fields)
    surrogate.signature.check_graphs(store)
    objective = surrogate.objective(config.objective)
    arrays = surrogate.arrays + objective.arrays
    loaders = StoreDataModule(
        store, config.data, arrays, config.seed, partial(layout_of, config=surrogate.config)
    )
    graphs = loaders.split.test
    started = time.monotonic()
    predictions, errors = _test(surrogate, objective, loaders)
    seconds = {"test": time.monotonic() - started}
    by_field = {f.name: errors[:, i].numpy() for i, f in enumerate(objective.fields)}
    report = {
        "test": {name: _summary(error) for name, error in by_field.items() if graphs},
        "error": config.objective.error,
        **engineering_report(
            store, graphs, predictions, objective, config.data.recipe, config.data.surface
        ),
        **_worth(surrogate, store, loaders, objective, predictions),
        "test_graphs": graphs,
        "test_nodes": store.num_nodes[graphs].tolist(),
        "train_graphs": len(loaders.split.train),
        "val_graphs": len(loaders.split.val),
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
    if run.has_model():
        run.finish(report)
    else:
        report["stopped_after"] = run.share_done()
        write_json(report, run.metrics_so_far)
    if graphs:
        draw_test(run, store, graphs, predictions, by_field)
    return report


def _worth(
    surrogate: Surrogate,
    store: MeshStore,
    loaders: StoreDataModule,
    objective: Objective,
    predictions: list[np.ndarray],
) -> dict[str, Any]:
    """What the errors are worth: baselines, notes, and test graphs outside of the training."""
    graphs, train = loaders.split.test, loaders.split.train
    if not graphs:
        return {"baselines": None, "notes": [], "outside_of_training": {}}
    surrogate, ranges = surrogate.cpu(), surrogate.signature.ranges
    read = ["pos", *(a for a in ("x", "cond") if a in surrogate.signature.fields)]
    outside = {}
    for graph in graphs if ranges is not None else ():
        assert ranges is not None
        if clauses := ranges.outside(Data(**store.arrays_of(graph, read))):
            outside[graph] = clauses
    return {
        "baselines": Baselines(surrogate, store, train, graphs).report(objective),
        "notes": notes_on(store, graphs, predictions, objective),
        "outside_of_training": outside,
    }


def _summary(errors: np.ndarray) -> dict[str, Any]:
    """Figures of a field's errors; graphs without a truth have NaN and do not count."""
    known = errors[~np.isnan(errors)] if np.isfinite(errors).any() else errors
    return {
        "mean": float(known.mean()),
        "median": float(np.median(known)),
        "worst": float(known.max()),
        "per_mesh": [float(f"{e:.6g}") for e in errors],
    }


def _test(
    surrogate: Surrogate, objective: Objective, loaders: StoreDataModule
) -> tuple[list[np.ndarray], Tensor]:
    """Predictions of every test graph and their errors ``[graphs, fields]``."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    surrogate = surrogate.to(device)
    predictions: list[np.ndarray] = []
    errors = [torch.empty(0, len(objective.fields))]
    with torch.inference_mode():
        for batch in loaders.test_dataloader():
            batch = batch.to(device)
            guess = surrogate(batch)
            errors.append(objective.errors(guess, batch).cpu())
            sizes = batch.ptr.diff().tolist()
            predictions += [part.numpy() for part in guess.cpu().split(sizes)]
    return predictions, torch.cat(errors)


def _peak_memory_mib() -> dict[str, int]:
    """Peak memory of this process (where the system tells it), and of the GPU if there is one."""
    peak = {}
    try:
        import resource  # not on Windows

        unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
        peak["process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
    except ImportError:
        pass
    if torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated() >> 20
    return peak
