"""Comparison of models that are trained for equal time, with several seeds."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import io
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Batch

from lrsa_geo.data import Split
from lrsa_geo.process import end_with_parent
from lrsa_geo.study.statistics import check_once, check_seeds
from lrsa_geo.train import (
    NonFiniteLossError,
    StoreDataModule,
    SurrogateModule,
    TrainConfig,
    assemble,
    compiled,
    compiles,
    load_config,
    prepare_store,
    save_config,
    train,
    write_json,
)


@dataclass(frozen=True)
class Variant:
    """A model to compare.

    Args:
        name: in the table.
        changes: values of :class:`TrainConfig` by their dotted names.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    def of(self, config: TrainConfig) -> TrainConfig:
        """A copy of the configuration with the changes.

        Raises:
            AttributeError: there is no such value.
        """
        config = copy.deepcopy(config)
        for name, value in self.changes.items():
            *path, last = name.split(".")
            target: Any = config
            for part in path:
                target = target[part] if isinstance(target, dict) else getattr(target, part)
            value = copy.deepcopy(value)  # a later change must not reach other copies
            if isinstance(target, dict):
                target[last] = value
                continue
            if last not in {f.name for f in dataclasses.fields(target)}:
                raise AttributeError(f"{self.name}: the configuration has no value '{name}'")
            setattr(target, last, value)
        return config


_FURTHER = 3  # learning rates beyond those that are given


_MOST_ROUNDS = 60  # of a measurement
_NO_BETTER = 1e-6  # a relative error that is as good as none in float32


def seconds_per_step(
    configs: Iterable[TrainConfig], rounds: int = 6, seconds: float = 4.0
) -> list[float]:
    """Processor seconds of one optimiser step, the configurations in turns.

    All see the same batches; the least of the rounds counts for each, so compiling does not.

    Args:
        configs: of the trainings.
        rounds: in each of which every configuration makes a step on three batches; at least so
            many, and more where steps are short, for other work on the machine disturbs these most.
        seconds: for each configuration, without the first round; after all of them together no
            further round begins. 60 rounds are the most.
    """
    runs = []
    with contextlib.ExitStack() as while_measured:
        for config in configs:
            compile_it = compiles(config, torch.device("cpu"))
            parts = assemble(config, prepare_store(config.data), compiled=compile_it)
            if compile_it:  # by the first round, whose time is not the least
                while_measured.enter_context(compiled(parts.module))
            batches = list(islice(parts.loaders.train_dataloader(), 3))
            passes = config.trainer.accumulate_grad_batches
            runs.append((parts.module, parts.module.new_optimizer(), batches, passes))
        taken: list[list[list[float]]] = []  # [rounds, configurations, batches]
        while len(taken) < rounds or (
            len(taken) < _MOST_ROUNDS and np.sum(taken[1:]) < seconds * len(runs)
        ):
            taken.append(
                [
                    [_seconds_of_step(module, optimizer, batch, passes) for batch in batches]
                    for module, optimizer, batches, passes in runs
                ]
            )
    return [float(s) for s in np.min(taken, axis=0).mean(axis=1)]


def _seconds_of_step(
    module: SurrogateModule, optimizer: torch.optim.Optimizer, batch: Batch, passes: int
) -> float:
    started = time.process_time()
    optimizer.zero_grad()
    for _ in range(passes):
        module.loss(batch).backward()
    optimizer.step()
    return time.process_time() - started


def compare(
    config: TrainConfig,
    variants: Iterable[Variant],
    seeds: Iterable[int],
    to: Path,
    jobs: int = 1,
    *,
    seconds: float | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    timed: Path | None = None,
) -> list[dict[str, Any]]:
    """Train each variant with each seed for about so many processor seconds, steps, or epochs.

    For ``seconds`` the number of steps follows from :func:`seconds_per_step`, measured before the
    first run and kept in ``timed``. A run that is finished is not repeated, nor
    one that diverged: ``to/NAME-SEED.diverged.json`` says so. Validation graphs are not looked at.

    Args:
        config: what the variants change.
        variants: models.
        seeds: of the weights and the order of the batches.
        to: folder for the runs.
        jobs: runs at a time, each in a process and a thread of its own; 1 trains in this process.
        seconds: for the training of each, without compiling, test and pictures.
        steps, epochs: of each training, in place of ``seconds``.
        timed: file that keeps the seconds of a step; ``to/seconds_per_step.json`` by default.

    Returns:
        A row for each run: ``variant``, ``seed``, ``learning_rate``, ``steps``, ``folder`` and
        ``report``, the contents of its ``metrics.json``, or ``{"diverged": why}``; the steps of
        epochs that diverged are None.

    Raises:
        FileExistsError: a run's folder holds one with other settings.
        ValueError: several budgets are given, or none, or one that is less than a step takes, or
            seconds of steps that :func:`seconds_per_step` does not measure; a folder for a
            variant's runs or a seed is there twice.
    """
    variants, seeds = list(variants), list(seeds)
    check_seeds(seeds)
    _check(variants, seconds, steps, epochs)
    changed = {variant.name: variant.of(config) for variant in variants}
    if seconds is not None:
        to.mkdir(parents=True, exist_ok=True)
        each = steps_within(changed, seconds, timed or to / "seconds_per_step.json")
    else:
        each = dict.fromkeys(changed, -1 if steps is None else steps)
    return _trained(changed, each, epochs, seeds, to, jobs)


def folder_name(variant: str) -> str:
    """Of a variant's runs, but for the seed."""
    return variant.replace(" ", "-")


def _check(
    variants: list[Variant], seconds: float | None, steps: int | None, epochs: int | None
) -> None:
    """Refuse what cannot be compared.

    Raises:
        ValueError: there is no budget above 0, or several; two variants would use one folder.
    """
    check_once("variants", [folder_name(variant.name) for variant in variants])
    budgets = [budget for budget in (seconds, steps, epochs) if budget is not None]
    if len(budgets) != 1 or not 0 < budgets[0] < math.inf:
        raise ValueError(
            f"seconds is {seconds}, steps is {steps}, epochs is {epochs}: expected one of them,"
            " more than 0"
        )


def _trained(
    changed: Mapping[str, TrainConfig],
    each: Mapping[str, int],
    epochs: int | None,
    seeds: Iterable[int],
    to: Path,
    jobs: int,
) -> list[dict[str, Any]]:
    """The rows of :func:`compare` for configurations by name, each with so many steps."""
    runs, rows = [], []
    for seed, (name, of_variant) in product(seeds, changed.items()):
        # The variants in turns: what disturbs the machine disturbs all.
        run = copy.deepcopy(of_variant)
        run.seed = seed
        run.trainer.max_epochs, run.trainer.max_steps = epochs or -1, each[name]
        run.trainer.check_val_every_n_epoch = (epochs or each[name]) + 1  # never
        run.trainer.enable_progress_bar = False
        runs.append((run, to / f"{folder_name(name)}-{seed}"))
        rows.append(
            {
                "variant": name,
                "seed": seed,
                "learning_rate": run.optim.lr,
                "steps": None if epochs else each[name],
                "folder": runs[-1][1],
            }
        )
    for of_run, folder in runs:
        _check_folder(of_run, folder)
    for row, report in zip(rows, _reports(runs, jobs), strict=True):
        row["report"] = report
        row["steps"] = row["steps"] or report.get("steps")  # as many as the epochs have
        errors = ", ".join(
            f"{field} {'unknown' if error['mean'] is None else format(error['mean'], '.4f')}"
            for field, error in report.get("test", {}).items()
        )
        print(
            f"{row['variant']}, seed {row['seed']}, learning rate {row['learning_rate']:g},"
            f" {row['steps']} steps: {errors or 'diverged'}",
            flush=True,
        )
    return rows


def tune(
    config: TrainConfig,
    variants: Iterable[Variant],
    learning_rates: Iterable[float],
    to: Path,
    jobs: int = 1,
    *,
    seconds: float | None = None,
    steps: int | None = None,
    epochs: int | None = None,
) -> list[Variant]:
    """The variants, each with the learning rate that suits it best.

    Every pair is trained as by :func:`compare`, with one seed, and judged by the error on the
    validation graphs, its geometric mean over graphs and fields: a graph whose field is nearly zero
    has a relative error of 10 or 20, and would decide a plain mean. Test graphs are not looked at.
    Where the best rate is the smallest or the largest of several, a variant is tried further out,
    up to three times, in steps of the last two.

    Args:
        config: what the variants change; its split must have validation graphs.
        variants: models.
        learning_rates: to try first.
        to: folder for the runs.
        jobs: runs at a time.
        seconds, steps, epochs: for the training of each pair, see :func:`compare`.

    Raises:
        ValueError: there are no validation graphs; a variant's name is there twice; see
            :func:`compare`.
    """
    config, variants = copy.deepcopy(config), list(variants)
    _check(variants, seconds, steps, epochs)
    wanted = {variant.name: sorted(set(learning_rates)) for variant in variants}
    if not all(wanted.values()):
        raise ValueError("`learning_rates` is empty")
    split = StoreDataModule(prepare_store(config.data), config.data, [], seed=0).split
    if not split.val:
        raise ValueError("data.split.val is 0; tuning needs validation graphs to judge by")
    to.mkdir(parents=True, exist_ok=True)
    config.data.split_file = str(to / "split.json")
    Split(split.train, [], split.val).save(config.data.split_file)
    if seconds is None:
        each = dict.fromkeys((v.name for v in variants), -1 if steps is None else steps)
    else:
        changed = {variant.name: variant.of(config) for variant in variants}
        each = steps_within(changed, seconds, to / "seconds_per_step.json")
    errors: dict[str, dict[float, float]] = {variant.name: {} for variant in variants}
    for further in range(_FURTHER + 1):
        pairs = [
            (Variant(f"{v.name} {rate:g}", {**v.changes, "optim.lr": rate}), v.name, rate)
            for v in variants
            for rate in wanted[v.name]
        ]
        configs = {pair.name: pair.of(config) for pair, _, _ in pairs}
        of_pairs = {pair.name: each[name] for pair, name, _ in pairs}
        rows = _trained(configs, of_pairs, epochs, [0], to, jobs)
        for (_, name, rate), row in zip(pairs, rows, strict=True):
            errors[name][rate] = _usual_error(row["report"])
        wanted = {name: _further_out(tried) for name, tried in errors.items()}
        if further == _FURTHER or not any(wanted.values()):
            break
    best = {name: min(tried, key=tried.__getitem__) for name, tried in errors.items()}
    return [Variant(v.name, {**v.changes, "optim.lr": best[v.name]}) for v in variants]


def _usual_error(report: Mapping[str, Any]) -> float:
    """Geometric mean over graphs and fields; infinite where the training diverged."""
    errors = [np.array(error["per_mesh"], float) for error in report.get("test", {}).values()]
    if not any(np.isfinite(error).any() for error in errors):
        return np.inf
    logs = np.log(np.maximum(np.concatenate(errors), _NO_BETTER))
    return float(np.exp(np.nanmean(logs)))


def _further_out(errors: Mapping[float, float]) -> list[float]:
    """The next learning rate beyond the best one, if that is at the edge of several."""
    rates = sorted(errors)
    best = min(rates, key=errors.__getitem__)
    if len(rates) < 2 or not np.isfinite(errors[best]):
        return []
    for edge, next_one in ((rates[0], rates[1]), (rates[-1], rates[-2])):
        if best == edge:
            return [float(f"{edge * edge / next_one:.3g}")]
    return []


def _reports(runs: list[tuple[TrainConfig, Path]], jobs: int) -> Iterator[dict[str, Any]]:
    """What came of each run, in order."""
    if jobs == 1:
        yield from (_report(*run) for run in runs)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_start_worker) as pool:
        try:
            yield from pool.map(_report, *zip(*runs, strict=True))
        except BaseException:  # do not begin what would be thrown away
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker() -> None:
    torch.set_num_threads(1)
    end_with_parent()


def _diverged(folder: Path, end: str) -> Path:
    """Of a run that did: why ("json"), or its configuration ("yaml")."""
    return folder.with_name(f"{folder.name}.diverged.{end}")


def _check_folder(config: TrainConfig, folder: Path) -> None:
    """Refuse a folder that holds another run.

    Raises:
        FileExistsError: its settings are others.
    """
    for file in (folder / "config.yaml", _diverged(folder, "yaml")):
        if file.exists() and load_config(file) != config:
            raise FileExistsError(
                f"{file} is of a run with other settings; remove {folder}*, or name another folder"
            )


def _report(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """Train, unless that is done already; the folder holds no other run, see `_check_folder`."""
    settings, metrics = folder / "config.yaml", folder / "metrics.json"
    diverged = _diverged(folder, "json")
    if not metrics.exists() and not diverged.exists():
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                train(config, folder, resume=settings.exists())
        except NonFiniteLossError as error:
            save_config(config, _diverged(folder, "yaml"))
            write_json({"diverged": str(error)}, diverged)
    report: dict[str, Any] = json.loads((metrics if metrics.exists() else diverged).read_text())
    if broken := report.get("not_finite"):  # it diverged in the last step
        report = {"diverged": f"the prediction is not finite on {broken} test graphs"}
    return report


def steps_within(changed: Mapping[str, TrainConfig], seconds: float, path: Path) -> dict[str, int]:
    """Optimiser steps of each for so many seconds.

    What ``path`` has is kept, unless it is of a model that has changed since. Models that come
    later are measured beside those that are there, and by them: the machine may have another load
    by then.

    Raises:
        ValueError: a step of one of them takes longer than that, or is none that
            :func:`seconds_per_step` measures.
    """
    for name, config in changed.items():
        _check_measurable(name, config)
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    digests = {name: _digest(config) for name, config in changed.items()}
    each: dict[str, float] = {
        name: kept[name]["seconds"]
        for name, digest in digests.items()
        if isinstance(kept.get(name), dict) and kept[name]["config"] == digest
    }
    if not set(each) >= set(changed):
        now = dict(zip(changed, seconds_per_step(changed.values()), strict=True))
        slower = np.median([now[name] / each[name] for name in now if name in each] or [1])
        each = {**{name: float(took / slower) for name, took in now.items()}, **each}
        measured = {n: {"seconds": each[n], "config": digests[n]} for n in changed}
        write_json({**kept, **measured}, path)
    longer = [f"{name} {each[name]:.3g}" for name in changed if each[name] > seconds]
    if longer:
        raise ValueError(
            f"{seconds:g} processor seconds are less than one step takes: {', '.join(longer)}; give"
            " a larger budget"
        )
    return {name: round(seconds / each[name]) for name in changed}


def _check_measurable(name: str, config: TrainConfig) -> None:
    """Refuse trainings whose steps are not those that are measured.

    Raises:
        ValueError: they are in another precision, or of several numbers of unrolled steps.
    """
    reason = None
    if config.trainer.precision not in ("32-true", "32"):
        reason = f"trainer.precision is {config.trainer.precision}"
    if len(config.series.unrolls) > 1:
        reason = f"series.unroll is {config.series.unroll}"
    if reason is not None:
        raise ValueError(
            f"{name}: {reason}, and seconds are measured on steps that are alike, in float32; give"
            " a budget of steps or epochs"
        )


def _digest(config: TrainConfig) -> str:
    """Of what the time of a step depends on, and a little more."""
    values = dataclasses.asdict(config)
    del values["name"], values["seed"], values["optim"]["lr"]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
