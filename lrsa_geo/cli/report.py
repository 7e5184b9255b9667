"""The report of a tested run, on the screen."""

from __future__ import annotations

import math
import sys
from typing import Any

SHOWN = 3  # test graphs outside of the training


def print_report(report: dict[str, Any]) -> None:
    """Print the figures of a run, what they are worth, and what a reader of them must know."""
    graphs = len(report["test_graphs"])
    if not graphs:
        print("\nno test graphs (data.split.test): there are no errors to report")
    elif "rollout" in report:
        _print_rollout(report, graphs)
    else:
        _print_errors(report, graphs)
        _print_worth(report)
    quantities = report.get("quantities", {})
    if quantities:
        print("\nquantity                         error / spread   rank correlation")
    for name, read in quantities.items():
        error, rank = read["error_over_spread"], read["rank_correlation"]
        print(
            f"  {name:30s} {_figure(error['value'])}         {_figure(rank['value'])}"
            f" ({_figure(rank['low']).strip()} to {_figure(rank['high']).strip()})"
        )
    for note in report.get("notes", ()):
        print(f"note: {note}", file=sys.stderr)
    _print_outside(report["outside_of_training"], graphs)
    if not report["val_graphs"]:
        print("no validation graphs (data.split.val): no errors were shown during training")
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in report["seconds"].items())
    print(f"{report['parameters']:,} parameters; {seconds}")
    file = "metrics-stopped.json" if "stopped_after" in report else "metrics.json"
    print(f"figures and pictures: {report['folder']}/{file}, {report['folder']}/pictures/")


def _print_errors(report: dict[str, Any], graphs: int) -> None:
    error_name = report["error"].replace("_", " ").replace(" l2", " L2")
    print(
        f"\n{error_name} on {graphs} test meshes".ljust(33)
        + "    mean   median    worst  surface  largest error"
    )
    for name, error in report["test"].items():
        more = report["fields"][name]
        figures = [error[kind] for kind in ("mean", "median", "worst")]
        figures += [more[kind]["value"] for kind in ("surface_relative_l2", "largest_error")]
        print(f"  {name:30s} " + " ".join(map(_figure, figures)))


def _print_rollout(report: dict[str, Any], series: int) -> None:
    rollout = report["rollout"]
    error_name = report["error"].replace("_", " ").replace(" l2", " L2")
    steps = rollout["steps"]
    print(f"\n{error_name} over {steps} steps, {series} test series")
    print(
        " " * 32
        + "    mean   median    worst  surface  last step  persistence   linear   drift of energy"
    )
    for name, error in report["test"].items():
        without, at = rollout["baselines"][name], rollout["error_at"][name]
        figures = [error[kind] for kind in ("mean", "median", "worst")]
        figures.append(rollout["surface_relative_l2"][name])
        print(
            f"  {name:30s} {' '.join(map(_figure, figures))}   {_figure(at['model'][-1])}"
            f"     {_figure(without.get('persistence'))} {_figure(without.get('linear'))}"
            f"          {_figure(rollout['drift']['energy'][name])}"
        )
    stable = rollout["stable"]
    if stable is not None:
        print(
            f"stable for {stable['steps']} steps: {stable['share']:.0%} of {stable['series']}"
            f" series (shortest {stable['shortest']} steps)"
        )


def _print_worth(report: dict[str, Any]) -> None:
    print(
        "\nbeside it".ljust(33)
        + " error / variation       R2   by training mean   by nearest training case"
    )
    for name, more in report["fields"].items():
        without = report["baselines"]["fields"][name]
        print(
            f"  {name:30s}          {_figure(more['error_over_variation']['value'])}"
            f" {_figure(report['r2'][name]['value'])}           {_figure(without['training_mean'])}"
            f"                   {_figure(without['nearest_case'])}"
        )


def _print_outside(outside: dict[int, list[str]], graphs: int) -> None:
    if not outside:
        return
    print(
        f"note: {len(outside)} of {graphs} test graphs lie outside of the training", file=sys.stderr
    )
    for graph, clauses in list(outside.items())[:SHOWN]:
        print(f"  graph {graph}: {'; '.join(clauses)}", file=sys.stderr)
    if len(outside) > SHOWN:
        print(f"  ... and {len(outside) - SHOWN} more, in metrics.json", file=sys.stderr)


def _figure(value: float | None) -> str:
    """Eight signs: four decimals, powers of ten where these say nothing, a dash for none."""
    if value is None or math.isnan(value):
        return f"{'-':>8s}"
    if value and not 1e-4 <= abs(value) < 1e4:
        return f"{value:8.1e}"
    return f"{value:8.4f}"
