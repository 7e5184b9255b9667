"""What came of a comparison: a table over the seeds, and where the errors sit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lrsa_geo.data import open_store
from lrsa_geo.mesh import DistanceToBoundary, column_slices
from lrsa_geo.study.tables import shown, spread
from lrsa_geo.train import load_config, load_surrogate, predict


def table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard deviation over the seeds, in Markdown: errors of fields, and rankings.

    Runs that diverged are left out; so is a model whose runs all did.

    Raises:
        ValueError: there is no run that did not, of steady graphs.
    """
    rows = [row for row in rows if "fields" in row["report"]]
    if not rows:
        raise ValueError("`rows` has no run of steady graphs that did not diverge")
    names = list(dict.fromkeys(row["variant"] for row in rows))
    fields = list(rows[0]["report"]["fields"])
    quantities = list(rows[0]["report"]["quantities"])
    head = ["model", "parameters", "learning rate", "steps"]
    for name in fields:
        head += [name, f"{name}, surface"]
    head += [f"rank of {name}" for name in quantities]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in names:
        reports = [row["report"] for row in rows if row["variant"] == name]
        first = next(row for row in rows if row["variant"] == name)
        cells = [name, f"{reports[0]['parameters']:,}"]
        cells += [f"{first['learning_rate']:g}", shown(first["steps"])]
        for of in fields:
            for kind in ("relative_l2", "surface_relative_l2"):
                cells.append(spread([_known(r["fields"][of][kind]["value"]) for r in reports]))
        for of in quantities:
            cells.append(
                spread([_known(r["quantities"][of]["rank_correlation"]["value"]) for r in reports])
            )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _known(value: float | None) -> float:
    return float("nan") if value is None else value


def error_by_distance(
    folder: Path, field_name: str, marker: int | None = None, bins: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Where the error of a run sits: its density against the distance to the boundary.

    The nodes of all test graphs are sorted by distance and cut into equal numbers.

    Args:
        folder: a finished run.
        field_name: of the target.
        marker: measure the distance to nodes with this value of ``boundary``; None for all.
        bins: groups of nodes.

    Returns:
        ``[bins]`` mean distance, and root mean square error over that of the target (of all nodes)
        in each bin.
    """
    surrogate = load_surrogate(folder)
    config = load_config(folder / "config.yaml")
    store = open_store(config.data.path)
    graphs = json.loads((folder / "metrics.json").read_text())["test_graphs"]
    columns = column_slices(store.fields["y"])[field_name]
    far = DistanceToBoundary(marker)
    distance, missed, size = [], [], []
    for number in graphs:
        data = store[number]
        distance.append(far(data).boundary_distance.numpy())
        guess = predict(surrogate, data)
        missed.append((guess - data.y)[:, columns].square().sum(1).numpy())
        size.append(data.y[:, columns].square().sum(1).numpy())
    everywhere, squares = np.concatenate(distance), np.concatenate(missed)
    scale = np.sqrt(np.concatenate(size).mean())
    order = np.array_split(np.argsort(everywhere), bins)
    return (
        np.array([everywhere[rows].mean() for rows in order]),
        np.array([np.sqrt(squares[rows].mean()) / scale for rows in order]),
    )
