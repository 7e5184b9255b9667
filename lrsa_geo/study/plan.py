"""A study: data sets x models x seeds, in a YAML file."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from lrsa_geo.nn import GeometryOperator
from lrsa_geo.study.compare import Variant, folder_name
from lrsa_geo.study.statistics import check_seeds
from lrsa_geo.train import TrainConfig, check_config, find_config, parse_config, read_yaml

UNITS = {"seconds": "processor seconds", "steps": "steps", "epochs": "epochs"}
"""The units of a budget, and how a reader is told of them."""

OURS = {"seed", "trainer.max_epochs", "trainer.max_steps", "trainer.max_time"} | {
    "trainer.check_val_every_n_epoch"
}
"""Values of a configuration that follow from a study's seeds and budget."""

_GROUPS = {
    f.name for f in dataclasses.fields(TrainConfig) if dataclasses.is_dataclass(f.default_factory)
}

EPOCHS_PUBLISHED = 500
PUBLISHED: dict[str, Any] = {
    "data.nodes_per_graph": None,
    "data.augment": [],
    "model.channels": 128,
    "model.depth": 8,
    "model.heads": 8,
    "model.num_latents": 64,
    "optim.method": "adamw",
    "optim.lr": 1e-3,
    "optim.weight_decay": 1e-5,
}
"""What the tables of LRSA (arXiv 2604.03582) and Transolver (arXiv 2402.02366) were made with, as
far as one setting serves all of their data sets: batch size and feed-forward ratio are those of a
data set's configuration."""


@dataclass(frozen=True)
class Study:
    """What is compared, and how; the keys of the YAML file.

    Args:
        name: of the folder for its runs.
        data: data sets as for `lrsa-geo train`, each with values to change in its configuration.
        models: values that make each model, such as ``{model.mixer: transolver}``. The first is
            the one that the others are tested against.
        seeds: of the weights and the order of the batches.
        seconds: processor seconds of each training.
        steps: optimiser steps of each training, in place of seconds.
        epochs: passes over the training graphs, in place of either.
        curve: other budgets, in the same unit, for which all is trained too, each with a schedule
            of its own: the error against the budget. The learning rates are those that were tuned
            for the first budget.
        learning_rates: of which each model gets the best on the validation graphs, or one further
            out where that is the smallest or the largest; empty for those of the configurations.
        tuning: share of the budget that each learning rate is tried with.
        quick: the data sets' small variants.
    """

    name: str
    data: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...] = (0, 1, 2)
    seconds: float | None = None
    steps: int | None = None
    epochs: int | None = None
    curve: tuple[float, ...] = ()
    learning_rates: tuple[float, ...] = ()
    tuning: float = 0.4
    quick: bool = False
    file: Path = field(default=Path("study.yaml"), compare=False)

    def __post_init__(self) -> None:
        """Refuse what no study can be made of.

        Raises:
            ValueError: naming the file, the key and the value.
        """
        for what in ("data", "models"):
            if not getattr(self, what):
                raise ValueError(f"{self.file}: `{what}` is empty")
        try:
            check_seeds(self.seeds)
        except ValueError as error:
            raise ValueError(f"{self.file}: {error}") from error
        if sum(getattr(self, unit) is not None for unit in UNITS) != 1:
            raise ValueError(f"{self.file}: expected one budget, {' or '.join(UNITS)}")
        for what in (*UNITS, "tuning"):
            value = getattr(self, what)
            if value is not None and not value > 0:
                raise ValueError(f"{self.file}: `{what}` is {value}, expected more than 0")
        if any(not budget > 0 for budget in self.curve):
            raise ValueError(f"{self.file}: `curve` is {[*self.curve]}, expected more than 0")
        if len({*self.curve, self.budget}) <= len(self.curve):
            raise ValueError(
                f"{self.file}: `curve` is {[*self.curve]}, expected budgets other than"
                f" {self.budget:g}, each once"
            )
        if any(not 0 < rate < math.inf for rate in self.learning_rates):
            raise ValueError(
                f"{self.file}: `learning_rates` is {[*self.learning_rates]}, expected more than 0"
            )
        if self.tuning > 1:
            raise ValueError(f"{self.file}: `tuning` is {self.tuning}, expected a share, at most 1")
        for entry in (*self.data.values(), *self.models.values()):
            if ours := sorted(OURS & set(entry)):
                raise ValueError(f"{self.file}: {', '.join(ours)}: the study says that itself")
        own = [name for name, entry in self.models.items() if "optim.lr" in entry]
        if own and self.learning_rates:
            raise ValueError(
                f"{self.file}: models {', '.join(own)} have an optim.lr of their own, and"
                " `learning_rates` are tried for each; leave one of them out"
            )
        for name in (self.name, *self.models):
            if not isinstance(name, str) or not re.fullmatch(r"\w[\w .,+()-]*", name):
                raise ValueError(
                    f"{self.file}: '{name}' is no name for a folder; use letters, digits, space"
                    " and . , + ( ) -"
                )
        folders = [self.folder(data) for data in self.data]
        if len(set(folders)) < len(folders):
            raise ValueError(f"{self.file}: two data sets would use one folder: {folders}")
        runs = [folder_name(name) for name in self.models]
        if len(set(runs)) < len(runs):
            raise ValueError(f"{self.file}: two models would use one folder: {runs}")

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read a YAML file; every configuration in it is checked.

        Raises:
            ValueError: no YAML; a key that is unknown or there twice; an unknown data set, mixer or
                value. The message names the file.
            OSError: the file cannot be read.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such file; expected a study, in YAML")
        values = read_yaml(path)
        if not isinstance(values, dict):
            raise ValueError(f"{path}: expected keys such as data, models and seconds")
        known = set(cls.__dataclass_fields__) - {"file"}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"{path}: unknown {', '.join(unknown)}, expected {sorted(known)}")
        values.setdefault("name", path.stem)
        lacking = sorted({"data", "models"} - set(values))
        if lacking:
            raise ValueError(f"{path}: has no {', '.join(lacking)}")
        for what in ("data", "models"):
            entries = values[what]
            if not isinstance(entries, dict) or not all(
                isinstance(changes, dict | None) for changes in entries.values()
            ):
                raise ValueError(f"{path}: `{what}` is no table of names with values to change")
            values[what] = {
                str(name): _by_dotted_names(f"{path}: `{what}`, '{name}'", changes or {})
                for name, changes in entries.items()
            }
        whole = {"steps", "epochs", "seeds"} | (
            {"curve"} if values.get("seconds") is None else set()
        )
        for what in (*UNITS, "tuning"):
            if what in values and (values[what] is not None or what == "tuning"):
                values[what] = _number(f"{path}: `{what}`", values[what], what in whole)
        for what in ("seeds", "learning_rates", "curve"):
            entries = values.get(what, [])
            if not isinstance(entries, list):
                raise ValueError(f"{path}: `{what}` is {entries!r}, expected a list of numbers")
            if what in values:
                where = f"{path}: `{what}` is {entries!r}, of which one"
                values[what] = tuple(_number(where, entry, what in whole) for entry in entries)
        if not isinstance(values.get("quick", False), bool):
            raise ValueError(f"{path}: `quick` is {values['quick']!r}, expected true or false")
        study = cls(**values, file=path)
        study.check()
        return study

    def check(self) -> None:
        """Make every configuration and network once, so that none is refused among finished runs.

        Raises:
            ValueError: naming the file, the data set and the model.
        """
        for data, model in product(self.data, self.models):
            config = self.config(data, model)
            try:
                check_config(config)
                with torch.device("meta"):  # no numbers are drawn
                    GeometryOperator(1, 1, 2, config=config.model, fourier_octaves=0)
            except ValueError as error:
                raise ValueError(f"{self.file}: data '{data}', model '{model}': {error}") from error

    @property
    def unit(self) -> str:
        """What budgets are counted in, one of :data:`UNITS`."""
        return next(unit for unit in UNITS if getattr(self, unit) is not None)

    @property
    def budget(self) -> float:
        """Of each training, in its unit."""
        return float(getattr(self, self.unit))

    def spending(self, budget: float) -> dict[str, Any]:
        """A budget of this unit as an argument of :func:`compare` and :func:`tune`."""
        return {self.unit: budget if self.unit == "seconds" else max(1, int(budget))}

    def published(self) -> Study:
        """The same models and data sets at the sizes of the published tables.

        :data:`PUBLISHED` replaces what the study says of a data set: sizes, optimiser, no
        augmentation, and all of its graphs and nodes; :data:`EPOCHS_PUBLISHED` is the budget. The
        learning rate is not tuned. What makes the models different stays.

        Raises:
            ValueError: a configuration that comes of it makes no sense.
        """
        smaller = re.compile(r"data\.(split|split_file|samples)(\..*)?")
        study = replace(
            self,
            name=f"{self.name}-published",
            data={
                name: {k: v for k, v in changes.items() if not smaller.fullmatch(k)} | PUBLISHED
                for name, changes in self.data.items()
            },
            seconds=None,
            steps=None,
            epochs=EPOCHS_PUBLISHED,
            curve=(),
            learning_rates=(),
            quick=False,
        )
        study.check()
        return study

    def config(self, data: str, model: str | None = None) -> TrainConfig:
        """The configuration of a data set, with a model if one is named.

        Raises:
            ValueError: something in it is unknown; the message names the file.
        """
        changes = {**self.data[data], **(self.models[model] if model is not None else {})}
        flags = [f"--{name}={_flag(value)}" for name, value in changes.items()]
        try:
            return parse_config([*find_config(data, quick=self.quick), *flags])
        except ValueError as error:
            of_model = "" if model is None else f", model '{model}'"
            raise ValueError(f"{self.file}: data '{data}'{of_model}: {error}") from error

    def folder(self, data: str) -> str:
        """Name of the folder for the runs on a data set: its name, or that of its file."""
        return Path(data).stem

    def variants(self, data: str) -> list[Variant]:
        """The models, as changes of a data set's configuration: values of the types that it has."""
        return [
            Variant(model, {name: _value(self.config(data, model), name) for name in changes})
            for model, changes in self.models.items()
        ]


def _value(config: TrainConfig, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


def _by_dotted_names(where: str, changes: Mapping[Any, Any]) -> dict[str, Any]:
    """Values of a configuration by their dotted names: ``optim: {lr: 0.1}`` is ``optim.lr: 0.1``.

    Raises:
        ValueError: one is there twice; the message begins with ``where``.
    """
    flat: dict[str, Any] = {}
    for name, value in changes.items():
        group = name in _GROUPS and isinstance(value, dict)
        values = {f"{name}.{k}": v for k, v in value.items()} if group else {str(name): value}
        for key, one in values.items():
            if key in flat:
                raise ValueError(f"{where}: {key} is there twice")
            flat[key] = one
    return flat


def _number(where: str, value: Any, whole: bool) -> float | int:
    """A number of a YAML file, which reads 1e-3 as a text.

    Raises:
        ValueError: it is none, not finite, or not whole; the message begins with ``where``.
    """
    expected = "a whole number" if whole else "a number"
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number) or (whole and number != int(number)):
        raise ValueError(f"{where} is {value!r}, expected {expected}")
    return int(number) if whole else number


def _flag(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)  # of dates
