"""Test a trained surrogate."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data import MeshStore, StepView
from lrsa_geo.process import processor_name
from lrsa_geo.train.assembly import loaders_of, matched
from lrsa_geo.train.baselines import Baselines
from lrsa_geo.train.config import DataConfig, load_config
from lrsa_geo.train.datamodule import StoreDataModule, prepare_store
from lrsa_geo.train.notes import notes_on
from lrsa_geo.train.objective import Objective
from lrsa_geo.train.pictures import draw_rollouts, draw_test
from lrsa_geo.train.predict import load_surrogate
from lrsa_geo.train.quantities import engineering_report
from lrsa_geo.train.records import summary_of, write_json
from lrsa_geo.train.rollout_report import roll_out, rollout_report
from lrsa_geo.train.run import Run
from lrsa_geo.train.surrogate import Surrogate

LIBRARIES = ("lrsa_geo", "torch", "torch-geometric", "lightning", "numpy")
OF_TRAINING = ("seconds", "peak_memory_mib", "steps", "compiled")
"""Figures that a test does not measure again, or of which it adds its own share."""


def evaluate(folder: Path, training: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Test the model of a run on its test graphs and draw what it does.

    A run that was stopped is tested with the weights of its last checkpoint; its figures go to
    ``metrics-stopped.json``, so that it can still go on.

    Args:
        folder: of the run.
        training: figures of the training that has just ended, some of :data:`OF_TRAINING`; by
            default those of the run's ``metrics.json``, if it has one.

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
    store = matched(prepare_store(config.data), surrogate.signature)
    surrogate.signature.check_graphs(store)
    objective = surrogate.objective(config.objective)
    loaders = loaders_of(config, store, surrogate)
    graphs = loaders.split.test
    figures, draw = (
        _test_series(surrogate, store, graphs, objective, config.data.surface)
        if isinstance(store, StepView)
        else _test_graphs(surrogate, store, loaders, objective, config.data)
    )
    sizes = store.series.num_nodes if isinstance(store, StepView) else store.num_nodes
    report = {
        **figures,
        "error": config.objective.error,
        "test_graphs": graphs,
        "test_nodes": sizes[graphs].tolist(),
        "train_graphs": len(loaders.split.train),
        "val_graphs": len(loaders.split.val),
        "parameters": sum(p.numel() for p in surrogate.parameters()),
        "seed": config.seed,
        "peak_memory_mib": _peak_memory_mib(),
        "versions": {library: version(library) for library in LIBRARIES},
        "machine": {
            "processor": processor_name(),
            "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }
    if training is None:
        training = json.loads(run.metrics.read_text()) if run.metrics.exists() else {}
    seconds = {**training.get("seconds", {}), **report["seconds"]}
    report |= {name: training[name] for name in OF_TRAINING if name in training}
    report["seconds"] = {name: round(value, 1) for name, value in seconds.items()}
    if run.has_model():
        run.finish(report)
    else:
        report["stopped_after"] = run.share_done()
        write_json(report, run.metrics_so_far)
    if graphs:
        draw(run)
    return report


def _test_graphs(
    surrogate: Surrogate,
    store: MeshStore,
    loaders: StoreDataModule,
    objective: Objective,
    config: DataConfig,
) -> tuple[dict[str, Any], Callable[[Run], None]]:
    """Figures of the test graphs, and what draws them."""
    graphs = loaders.split.test
    started = time.monotonic()
    predictions, errors = _test(surrogate, objective, loaders)
    seconds = time.monotonic() - started
    by_field = {f.name: errors[:, i].numpy() for i, f in enumerate(objective.fields)}
    figures = {
        "test": {name: summary_of(error) for name, error in by_field.items() if graphs},
        **engineering_report(store, graphs, predictions, objective, config.recipe, config.surface),
        **_worth(surrogate, store, loaders, objective, predictions),
        "seconds": {"test": seconds},
    }
    return figures, lambda run: draw_test(run, store, graphs, predictions, by_field)


def _test_series(
    surrogate: Surrogate,
    view: StepView,
    series: list[int],
    objective: Objective,
    surface: list[int],
) -> tuple[dict[str, Any], Callable[[Run], None]]:
    """Figures of the rollouts of the test series, and what draws them."""
    surrogate = surrogate.to("cuda" if torch.cuda.is_available() else "cpu")
    started = time.monotonic()
    report = rollout_report(surrogate, view, series, objective, surface=surface)
    seconds = time.monotonic() - started
    surrogate = surrogate.cpu()
    first = {number: view.example(number, view.stepping.history) for number in series}
    outside = _outside(surrogate, view, first)
    cases = {
        name: series[int(np.argsort(error["per_mesh"])[len(series) // 2])]
        for name, error in report["test"].items()
    }

    def draw(run: Run) -> None:
        def states_of(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            times, truth, guess = roll_out(surrogate, view, number, report["rollout"]["first_step"])
            return times.numpy(), truth.numpy(), guess.numpy()

        draw_rollouts(run, view, report["rollout"], states_of, cases)

    return {**report, "outside_of_training": outside, "seconds": {"test": seconds}}, draw


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
        return {"baselines": None, "notes": [], "not_finite": 0, "outside_of_training": {}}
    surrogate = surrogate.cpu()
    return {
        "baselines": Baselines(surrogate, store, train, graphs).report(objective),
        "notes": notes_on(store, graphs, predictions, objective),
        "not_finite": sum(not np.isfinite(p).all() for p in predictions),
        "outside_of_training": _outside(surrogate, store, {graph: graph for graph in graphs}),
    }


def _outside(
    surrogate: Surrogate, store: MeshStore, graphs: dict[int, int]
) -> dict[int, list[str]]:
    """What of some graphs, by what they are called, lies outside of the training."""
    ranges = surrogate.signature.ranges
    read = ["pos", *(a for a in ("x", "cond") if a in surrogate.signature.fields)]
    if ranges is None:
        return {}
    clauses = {
        name: ranges.outside(Data(**store.arrays_of(graph, read))) for name, graph in graphs.items()
    }
    return {name: found for name, found in clauses.items() if found}


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
