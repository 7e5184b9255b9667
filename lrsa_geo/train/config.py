"""Everything that repeats a training run, as typed dataclasses; in YAML and as flags alike."""

from __future__ import annotations

import dataclasses
import difflib
import math
from argparse import ArgumentError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser, Namespace

from lrsa_geo.data import (
    SeriesConfig,
    SplitConfig,
    names_store,
    open_store,
    split_path,
    store_name,
)
from lrsa_geo.files import atomic_path, shipped_datasets
from lrsa_geo.train.config_file import check_config_file
from lrsa_geo.train.objective import ObjectiveConfig, check_objective
from lrsa_geo.train.schedule import duration_of
from lrsa_geo.train.surrogate import ModelConfig

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true", "32", "16", "64", "bf16")
"""What trains: half precision for the matrix products alone, never for the whole model."""


@dataclass
class DataConfig:
    """Where the graphs come from.

    Args:
        path: MeshStore (.h5); or a pattern or folder of several that are read as one, such as
            "shards/*.h5".
        recipe: recipe that makes the file when it is missing, such as "elasticity".
        samples: graphs to make, instead of the recipe's own number.
        split: which graphs are for what.
        split_file: file of `lrsa-geo data split` that says it instead.
        batch_size: graphs per optimiser step and device.
        max_nodes: nodes per optimiser step and device, of graphs that differ in size: a batch has
            as many graphs as fit, one or more, and at most batch_size; null for no such limit.
        nodes_per_graph: nodes of each training graph that a step sees, drawn anew each time; null
            for all. A step costs less, and there are more of them in the same time. Validation and
            test are always on whole meshes. See RandomNodes of lrsa_geo.mesh.
        stratified: draw these evenly over the mesh, one of each run of neighbours; false draws
            regardless of where they are.
        patch: of models with message passing, draw them as patches of so many neighbouring nodes,
            with the nodes beside them whose messages they need (RandomPatches of lrsa_geo.mesh), so
            that message passing is that of the whole mesh; these come on top of nodes_per_graph and
            max_nodes. null draws single nodes, with the edges between them.
        num_workers: processes that read ahead; 0 is right for stores that fit in memory.
        in_memory: keep the graphs in memory after the first epoch.
        verify: read all of the store first, and refuse one whose contents are not those that were
            written; false saves minutes where it has hundreds of gigabytes.
        surface: boundary markers of the nodes on which the error is reported on its own; empty for
            all but 0.
        augment: transforms of the training graphs, name and arguments of each: "Mirror", those of
            lrsa_geo.mesh and of torch_geometric.transforms, such as [{name: RandomRotation}].
            Mirror doubles the graphs for every symmetry plane: {name: Mirror, planes: {x: 0.5}}.
    """

    path: str = "data.h5"
    recipe: str | None = None
    samples: int | None = None
    split: SplitConfig = field(default_factory=SplitConfig)
    split_file: str | None = None
    batch_size: int = 4
    max_nodes: int | None = None
    nodes_per_graph: int | None = None
    stratified: bool = True
    patch: int | None = None
    num_workers: int = 0
    in_memory: bool = True
    verify: bool = True
    surface: list[int] = field(default_factory=list)
    augment: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class OptimConfig:
    """Optimiser, with the OneCycle schedule (cosine warm-up, then a cosine to nearly zero).

    Args:
        method: "muon" (orthogonalised updates of the blocks' weight matrices, AdamW for the other
            parameters) or "adamw", which wants about a fifth of muon's learning rate.
        lr: highest learning rate.
        weight_decay: decoupled, as in AdamW.
        warmup: share of the steps with a rising learning rate.
        average: decay of an exponential moving average of the weights, such as 0.99, which is
            then validated, tested and saved; null for none.
    """

    method: Literal["muon", "adamw"] = "muon"
    lr: float = 1e-2
    weight_decay: float = 1e-5
    warmup: float = 0.2
    average: float | None = None


@dataclass
class TrainerConfig:
    """Flags of ``lightning.Trainer``, under its own names, and one of our own.

    Args:
        max_epochs: passes over the training graphs; -1 for as many as ``max_steps`` takes.
        max_steps: optimiser steps after which training ends; -1 for no such limit.
        max_time: time after which training ends, with its schedule of the learning rate, such as
            45m, 1h30m or DD:HH:MM:SS; whichever limit comes first.
        accelerator: "auto", "cpu", "gpu", ...
        devices: number of devices, or "auto".
        strategy: "auto", "ddp", ...
        num_nodes: machines.
        precision: "32-true", "bf16-mixed", "16-mixed", ...
        accumulate_grad_batches: batches per optimiser step.
        gradient_clip_val: largest norm of the gradient; null for none.
        check_val_every_n_epoch: epochs between two looks at the validation graphs.
        enable_progress_bar: show progress.
        compile: train the network as ``torch.compile`` makes it, which takes some minutes at the
            start, the first time, and less time for each step; best with graphs of one size, such
            as data.nodes_per_graph, for others are padded to the largest of a batch. max_time runs
            meanwhile. "auto" where it pays: for drawn nodes without message passing, where there
            is a compiler and no max_time. Ours.
    """

    max_epochs: int = 100
    max_steps: int = -1
    max_time: str | None = None
    accelerator: str = "auto"
    devices: int | str = "auto"
    strategy: str = "auto"
    num_nodes: int = 1
    precision: str = "32-true"
    accumulate_grad_batches: int = 1
    gradient_clip_val: float | None = 1.0
    check_val_every_n_epoch: int = 1
    enable_progress_bar: bool = True
    compile: bool | Literal["auto"] = False


@dataclass
class TrainConfig:
    """A training run.

    Args:
        name: names the run folder.
        seed: of the initial weights and the order of the batches.
        data: where the graphs come from.
        model: sizes of the network.
        objective: loss and reported errors.
        optim: optimiser and schedule.
        trainer: flags of ``lightning.Trainer``.
        series: how a model learns from series.
    """

    name: str = "run"
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    series: SeriesConfig = field(default_factory=SeriesConfig)


def add_config_arguments(parser: ArgumentParser) -> None:
    """Give a parser one flag per value of :class:`TrainConfig` and ``--config FILE``."""
    parser.add_argument(
        "--config", action="config", help="YAML file with any of the values below; may be repeated."
    )
    parser.add_class_arguments(TrainConfig)


def config_from(values: Namespace) -> TrainConfig:
    """The configuration among the (instantiated) values of a parser."""
    return TrainConfig(**{f.name: values[f.name] for f in dataclasses.fields(TrainConfig)})


def load_config(path: str | Path) -> TrainConfig:
    """Read a YAML file.

    Raises:
        ValueError: an unknown key or a value of the wrong type; the message names it.
    """
    return parse_config(["--config", str(path)])


def parse_config(arguments: list[str]) -> TrainConfig:
    """The configuration of command-line arguments, such as those of :func:`find_config`.

    Raises:
        ValueError: an unknown key or a value of the wrong type; the message names it.
    """
    parser = ArgumentParser(exit_on_error=False)
    add_config_arguments(parser)
    try:
        return config_from(parser.instantiate(parser.parse_args(arguments)))
    except ArgumentError as error:
        raise ValueError(f"{' '.join(arguments)}: {error.message}") from error


def check_config(config: TrainConfig) -> None:
    """Refuse what no training can be made of.

    Raises:
        ValueError: the training would never end, or never begin; a number is out of range, or there
            is no such loss.
    """
    check_objective(config.objective)
    epochs, steps = config.trainer.max_epochs, config.trainer.max_steps
    if config.trainer.max_time is not None:
        duration_of(config.trainer.max_time)
    elif epochs == steps == -1:
        raise ValueError(
            "trainer.max_epochs and trainer.max_steps are both -1, so the training would never end;"
            " set one of them"
        )
    for name, limit in (("max_epochs", epochs), ("max_steps", steps)):
        if limit < -1 or limit == 0:
            raise ValueError(f"trainer.{name} is {limit}, expected 1 or more, or -1 for no limit")
    for name, number, least in (
        ("data.nodes_per_graph", config.data.nodes_per_graph, 1),
        ("data.patch", config.data.patch, 1),
        ("data.batch_size", config.data.batch_size, 1),
        ("data.max_nodes", config.data.max_nodes, 1),
        ("data.num_workers", config.data.num_workers, 0),
        ("trainer.accumulate_grad_batches", config.trainer.accumulate_grad_batches, 1),
        ("trainer.check_val_every_n_epoch", config.trainer.check_val_every_n_epoch, 1),
        ("trainer.num_nodes", config.trainer.num_nodes, 1),
    ):
        if number is not None and number < least:
            null = ", or null for all" if "nodes" in name and name.startswith("data") else ""
            raise ValueError(f"{name} is {number}, expected {least} or more{null}")
    if config.data.patch is not None:
        drawn = config.data.nodes_per_graph
        if drawn is None or drawn < config.data.patch:
            raise ValueError(
                f"data.patch is {config.data.patch} and data.nodes_per_graph {drawn}, expected at"
                " least as many nodes as a patch has"
            )
        if config.model.chunk is not None:
            raise ValueError(
                f"data.patch is {config.data.patch} and model.chunk {config.model.chunk}: patches"
                " are small, and not worked on chunk by chunk; choose one of them"
            )
    average = config.optim.average
    if average is not None and not 0 < average < 1:
        raise ValueError(
            f"optim.average is {average}, expected more than 0 and less than 1, or null"
        )
    clip = config.trainer.gradient_clip_val
    if clip is not None and not clip > 0:
        raise ValueError(f"trainer.gradient_clip_val is {clip}, expected more than 0, or null")
    if config.trainer.precision not in PRECISIONS:
        raise ValueError(
            f"trainer.precision is '{config.trainer.precision}', expected one of"
            f" {', '.join(PRECISIONS)}; positions and sums need float32 beside half precision"
        )
    if config.trainer.compile is True and config.model.chunk is not None:
        raise ValueError(
            f"trainer.compile is true and model.chunk is {config.model.chunk}: what goes chunk by"
            " chunk is not compiled; choose one of them"
        )
    if not (config.optim.lr > 0 and math.isfinite(config.optim.lr)):
        raise ValueError(f"optim.lr is {config.optim.lr}, expected a number above 0")
    decay = config.optim.weight_decay
    if not (decay >= 0 and math.isfinite(decay)):
        raise ValueError(f"optim.weight_decay is {decay}, expected 0 or more")
    if not 0 <= config.seed < 2**32:
        raise ValueError(f"seed is {config.seed}, expected 0 to {2**32 - 1}")
    if not 0 <= config.optim.warmup < 1:
        raise ValueError(f"optim.warmup is {config.optim.warmup}, expected a share below 1")


def save_config(config: TrainConfig, path: str | Path) -> None:
    """Write all values to a YAML file."""
    with atomic_path(path) as temporary:
        temporary.write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))


def find_config(what: str, *, quick: bool = False) -> list[str]:
    """Arguments of the parser, later ones on top of earlier ones, for what a user names.

    Args:
        what: a data set that comes with the library, a MeshStore (.h5, or a pattern or folder of
            several), or a YAML file.
        quick: add the small variant.

    Returns:
        Such as ``["--config", "datasets/elasticity/train.yaml"]``.

    Raises:
        ValueError: there is no such thing, or the YAML file has faults.
    """
    shipped = shipped_datasets()
    names = sorted(path.parent.name for path in shipped.glob("*/train.yaml"))
    if what in names:
        files = [shipped / what / "train.yaml"]
    elif names_store(what):
        files = [shipped / ("series.yaml" if open_store(what).is_series else "store.yaml")]
    elif Path(what).suffix in (".yaml", ".yml") and Path(what).is_file():
        check_config_file(what, TrainConfig)
        files = [Path(what)]
    else:
        near = difflib.get_close_matches(what, names, 1)
        raise ValueError(
            f"'{what}' is no MeshStore (.h5), no YAML file and none of the data sets"
            f" {', '.join(names)}" + (f"; did you mean '{near[0]}'?" if near else "")
        )
    if quick:
        stem = files[0].stem
        files.append(files[0].with_stem("quick" if stem == "train" else f"{stem}-quick"))
        if not files[-1].exists():
            raise ValueError(f"there is no quick variant: {files[-1]} does not exist")
    arguments = [argument for file in files for argument in ("--config", str(file))]
    if what not in names and names_store(what):
        name = store_name(what) + ("-quick" if quick else "")
        arguments += ["--name", name, "--data.path", what]
        if split_path(what).exists():
            arguments += ["--data.split_file", str(split_path(what))]
    return arguments
