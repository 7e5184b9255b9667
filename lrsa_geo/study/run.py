"""Run a study, and write what came of it: a CSV of all runs, and tables with tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrsa_geo.plot import ErrorPoint, errors_against_budget
from lrsa_geo.study.compare import compare, tune
from lrsa_geo.study.plan import UNITS, Study
from lrsa_geo.study.statistics import Paired, holm, paired
from lrsa_geo.study.tables import made_with, markdown_rows, plain, shown, write_table

SIGNIFICANT = 0.05
BASELINES = {
    "training_mean": "*the training mean*",
    "nearest_case": "*the nearest training case*",
    "persistence": "*the last state stays*",  # of series
    "linear": "*linear extrapolation*",
}


@dataclass(frozen=True)
class Cell:
    """What a table says of a model on a field of a data set.

    Attributes:
        mean, spread: of the error over the seeds; the spread is the standard deviation (n - 1),
            None of a single one.
        ratio: the reference's mean error over this one's; None for the reference itself.
        p_value: of the test against the reference, corrected by Holm over the table's models.
        best: least mean error of all, in every seed, and by the tests.
        diverged: seeds whose training did; they are left out of the mean.
    """

    mean: float
    spread: float | None
    ratio: float | None
    p_value: float | None
    best: bool
    diverged: int


Rows = list[dict[str, Any]]
"""What :func:`compare` gives: one for each training."""
ROW = ("variant", "seed", "learning_rate", "steps")
"""What a row of the CSV has of a training, whatever came of it."""
Curves = dict[str, dict[float, Rows]]
"""The rows of each data set and budget."""


def run_study(study: Study, folder: Path, jobs: int = 1) -> dict[str, Rows]:
    """Train every model with every seed on every data set, and write the results.

    What is finished is not trained again: an interrupted study goes on where it stopped.

    Args:
        study: what to compare.
        folder: gets ``NAME/`` with the runs of each data set, ``results.csv``, ``table.md``,
            ``table.tex`` and ``errors.png``, the errors against budget and parameters.
        jobs: trainings at a time, each in a process and a thread of its own.

    Returns:
        The rows of :func:`compare` for each data set.

    Raises:
        FileExistsError: the folder holds runs with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Rows] = {}
    curves: Curves = {}
    for name in study.data:
        print(f"{name}: {len(study.models)} models, seeds {', '.join(map(str, study.seeds))}")
        config, variants = study.config(name), study.variants(name)
        of_data = folder / study.folder(name)
        if study.learning_rates:
            variants = tune(
                config,
                variants,
                study.learning_rates,
                of_data / "tuning",
                jobs,
                **study.spending(study.budget * study.tuning),
            )
        results[name] = compare(
            config,
            variants,
            study.seeds,
            of_data,
            jobs,
            **study.spending(study.budget),
        )
        curves[name] = {study.budget: results[name]}
        for budget in study.curve:
            print(f"{name}: {shown(budget)} {UNITS[study.unit]}")
            curves[name][budget] = compare(
                config,
                variants,
                study.seeds,
                of_data / "curve" / plain(budget),
                jobs,
                **study.spending(budget),
                timed=of_data / "seconds_per_step.json",
            )
        write_table(folder / "results.csv", _csv(curves))
    write_table(folder / "table.md", markdown(study, results) + curve_tables(study, curves))
    write_table(folder / "table.tex", latex(study, results))
    plot_errors(study, curves, folder / "errors.png")
    return results


def cells(rows: Rows, models: Sequence[str], field: str) -> dict[str, Cell]:
    """Mean, spread and tests of one field's error, for each model that did not always diverge."""
    errors: dict[str, _Errors] = {}
    diverged: dict[str, int] = {}
    for model in models:
        reports = {row["seed"]: row["report"] for row in rows if row["variant"] == model}
        whole = {seed: report for seed, report in reports.items() if "diverged" not in report}
        diverged[model] = len(reports) - len(whole)
        if whole:
            errors[model] = {seed: _on_graphs(report, field) for seed, report in whole.items()}
    reference = models[0]
    others = [model for model in errors if model != reference and reference in errors]
    found = {model: _tested(errors[reference], errors[model]) for model in others}
    tests = {model: test for model, test in found.items() if test is not None}
    p_values = dict(zip(tests, holm([test.p_value for test in tests.values()]), strict=True))
    best = _best(errors)
    result = {}
    for model, of_seeds in errors.items():
        means = np.array([_mean(error) for _, error in of_seeds.values()])
        result[model] = Cell(
            float(means.mean()),
            float(means.std(ddof=1)) if len(means) > 1 else None,
            tests[model].ratio if model in tests else None,
            p_values.get(model),
            model == best and not diverged[model],
            diverged[model],
        )
    return result


_Errors = dict[int, tuple[tuple[int, ...], np.ndarray]]
"""Of a model: the test graphs of each seed, and the error on each graph."""


def _on_graphs(report: Mapping[str, Any], field: str) -> tuple[tuple[int, ...], np.ndarray]:
    error = np.array(report["test"][field]["per_mesh"], dtype=float)
    return tuple(report.get("test_graphs") or range(len(error))), error


def _mean(error: np.ndarray) -> float:
    """Over the graphs where it is known; NaN where it is on none."""
    known = error[~np.isnan(error)]
    return float(known.mean()) if len(known) else float("nan")


def _tested(first: _Errors, second: _Errors) -> Paired | None:
    """The test over the seeds that both have.

    None where there is none, where the test graphs are not the same, or where the errors of both
    are known on none of them.
    """
    seeds = sorted(set(first) & set(second))
    of_seeds = [errors[seed] for errors in (first, second) for seed in seeds]
    if len({graphs for graphs, _ in of_seeds}) != 1:
        return None
    a, b = (np.array([errors[seed][1] for seed in seeds]) for errors in (first, second))
    if (np.isnan(a).any(0) | np.isnan(b).any(0)).all():
        return None
    return paired(a, b)


def _best(errors: Mapping[str, _Errors]) -> str | None:
    """The model that beats every other one in each seed, and by tests corrected for their number.

    None where no model does, or there is but one.
    """
    if len(errors) < 2:
        return None
    means = {m: np.mean([_mean(error) for _, error in e.values()]) for m, e in errors.items()}
    best = min(means, key=lambda model: np.inf if np.isnan(means[model]) else means[model])
    tests = [_tested(errors[best], error) for model, error in errors.items() if model != best]
    whole = [test for test in tests if test is not None]
    if len(whole) < len(tests):
        return None
    corrected = holm([test.p_value for test in whole])
    clear = all(p < SIGNIFICANT for p in corrected) and all(test.seeds_won == 1 for test in whole)
    return best if clear else None


def markdown(study: Study, results: dict[str, Rows]) -> str:
    """The study's protocol and a table for each data set, in Markdown."""
    budget = f"{shown(study.budget)} {UNITS[study.unit]}"
    rates = ", ".join(f"{rate:g}" for rate in study.learning_rates)
    tuned = f"the best of {rates} on the validation graphs" if rates else "as the table has it"
    if len(study.learning_rates) > 1:
        tuned += ", or further out where that is at the edge"
    lines = [
        f"# {study.name}",
        "",
        f"{budget} for each training; seeds {', '.join(map(str, study.seeds))}; learning rate:"
        f" {tuned}. The test graphs are touched once, by the model of the last step. Mean error"
        " (relative L2, unless `objective.error` says another) over the test graphs, ± standard"
        " deviation over the seeds. p: Wilcoxon's"
        f" signed-rank test over the test graphs against {next(iter(study.models))}, errors"
        " averaged over the seeds, corrected by Holm. Bold: best by such tests against every other"
        " model, and in each seed.",
        "",
        made_with(),
    ]
    for data, rows in results.items():
        lines += ["", f"## {data}", ""]
        fields = fields_of(rows) or ["error"]  # of none, where every training diverged
        head = ["model", "parameters", "steps", "learning rate"]
        for field in fields:
            head += [field, "p"]
        lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        columns = {field: cells(rows, list(study.models), field) for field in fields}
        for model in study.models:
            first = next(row for row in rows if row["variant"] == model)
            parameters = first["report"].get("parameters")
            line = [model, f"{parameters:,}" if parameters else ""]
            line += [shown(first["steps"]), f"{first['learning_rate']:g}"]
            for field in fields:
                line += _shown(columns[field].get(model))
            lines.append("| " + " | ".join(line) + " |")
        for baseline, label in BASELINES.items():
            values = [_baseline(rows, field, baseline) for field in fields]
            if all(value is None for value in values):
                continue
            figures = ["" if value is None else f"{value:.4f}" for value in values]
            line = [label, "", "", "", *(cell for figure in figures for cell in (figure, ""))]
            lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines) + "\n"


def curve_tables(study: Study, curves: Curves) -> str:
    """Mean errors at each budget, in Markdown; nothing where there is but one."""
    lines: list[str] = []
    for data, of_data in curves.items():
        if len(of_data) < 2:
            continue
        budgets = sorted(of_data)
        tuned = f", learning rates tuned for {shown(study.budget)}" if study.learning_rates else ""
        for field in fields_of(of_data[study.budget]):
            lines += ["", f"{data}, {field}, after so many {UNITS[study.unit]}{tuned}:", ""]
            found = {b: cells(of_data[b], list(study.models), field) for b in budgets}
            rows = [
                [model, *(_shown(found[budget].get(model))[0] for budget in budgets)]
                for model in study.models
            ]
            lines += markdown_rows(["model", *map(shown, budgets)], rows)
    return "\n".join([*lines, ""]) if lines else ""


def plot_errors(study: Study, curves: Curves, path: Path) -> None:
    """The mean error of each model against its parameters, and its budgets, as a picture."""
    panels: dict[str, dict[str, list[ErrorPoint]]] = {}
    for data, of_data in curves.items():
        for field in fields_of(of_data[study.budget]):
            panel = panels.setdefault(f"{data}: {field}", {})
            for budget in sorted(of_data):
                for model, cell in cells(of_data[budget], list(study.models), field).items():
                    parameters = next(
                        row["report"]["parameters"]
                        for row in of_data[budget]
                        if row["variant"] == model and "diverged" not in row["report"]
                    )
                    point = ErrorPoint(budget, parameters, cell.mean, cell.spread or 0)
                    panel.setdefault(model, []).append(point)
    if panels:
        errors_against_budget(panels, UNITS[study.unit], path)


def latex(study: Study, results: dict[str, Rows]) -> str:
    """Models against data sets, with booktabs' rules."""
    columns = [
        (data, field) for data, rows in results.items() for field in fields_of(rows) or ["error"]
    ]
    lines = [
        r"\begin{tabular}{l" + "r" * len(columns) + "}",
        r"\toprule",
        " & ".join(["model", *(_escaped(f"{d}: {f}") for d, f in columns)]) + r" \\",
        r"\midrule",
    ]
    each = {(d, f): cells(results[d], list(study.models), f) for d, f in columns}
    for model in study.models:
        line = [_escaped(model)]
        for column in columns:
            cell = each[column].get(model)
            if cell is None:
                line.append("diverged")
                continue
            text = f"{cell.mean:.4f}"
            text += "" if cell.spread is None else rf" \pm {cell.spread:.4f}"
            text = rf"$\mathbf{{{text}}}$" if cell.best else f"${text}$"
            text = "unknown" if np.isnan(cell.mean) else text
            line.append(text + (f" ({cell.diverged} diverged)" if cell.diverged else ""))
        lines.append(" & ".join(line) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _shown(cell: Cell | None) -> list[str]:
    if cell is None:
        return ["diverged", ""]
    text = f"{cell.mean:.4f}" + ("" if cell.spread is None else f" ± {cell.spread:.4f}")
    text = f"**{text}**" if cell.best else text
    text = "unknown" if np.isnan(cell.mean) else text
    if cell.diverged:
        text += f" ({cell.diverged} diverged)"
    return [text, "" if cell.p_value is None else f"{cell.p_value:.2g}"]


def _baseline(rows: Rows, field: str, name: str) -> float | None:
    """Mean error of a prediction without learning: the same for all models of a data set."""
    for row in rows:
        steady, series = (row["report"].get(key) for key in ("baselines", "rollout"))
        if steady or series:
            of_field = (steady["fields"] if steady else series["baselines"])[field]
            value: float | None = of_field.get(name)
            return value
    return None


def fields_of(rows: Rows) -> list[str]:
    """Names of the fields whose errors the rows have; none where every training diverged."""
    whole = [row["report"] for row in rows if "diverged" not in row["report"]]
    return list(whole[0]["test"]) if whole else []


def _escaped(text: str) -> str:
    return text.replace("_", r"\_").replace("%", r"\%").replace("&", r"\&")


def _csv(curves: Curves) -> Iterable[list[Any]]:
    yield ["data", "budget", "model", "seed", "learning_rate", "steps", "parameters", "seconds",
           "field", "mean", "median", "worst", "diverged", "folder"]  # fmt: skip
    for data, of_data in curves.items():
        for budget, row in ((b, row) for b, rows in of_data.items() for row in rows):
            report = row["report"]
            start = [data, plain(budget), *(row[key] for key in ROW)]
            if "diverged" in report:
                yield [*start, "", "", "", "", "", "", report["diverged"], row["folder"]]
                continue
            for field, error in report["test"].items():
                figures = [error[name] for name in ("mean", "median", "worst")]
                seconds = report["seconds"].get("train", "")  # "": `lrsa-geo evaluate` finished it
                yield [*start, report["parameters"], seconds, field, *figures, "", row["folder"]]
