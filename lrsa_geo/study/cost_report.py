"""What a benchmark found: tables in Markdown, all figures as JSON, a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrsa_geo.plot import cost_against_nodes
from lrsa_geo.process import processor_name
from lrsa_geo.study.contenders import OF_PYG
from lrsa_geo.study.tables import made_with, markdown_rows, write_table
from lrsa_geo.study.workload import Kind

KINDS = {
    "step": "Training step: forward, backward, AdamW",
    "forward": "Forward pass without gradients",
}


@dataclass(frozen=True)
class CostRow:
    """An operator at one size.

    Attributes:
        name: of the operator.
        kind: "step" or "forward".
        nodes: of the graph.
        parameters: of the operator.
        flops: of its matrix products.
        memory: bytes that PyTorch holds at the peak.
        seconds: of each round.
        ratios: over LRSA's seconds in the same round; empty if LRSA was left out.
        shares: of the rate of a square matrix product in the same round.
    """

    name: str
    kind: Kind
    nodes: int
    parameters: int
    flops: int
    memory: int
    seconds: Sequence[float]
    ratios: Sequence[float]
    shares: Sequence[float]

    def in_words(self) -> str:
        """Time, ratio and memory."""
        ratio = f", {quartiles(self.ratios)} x LRSA" if self.ratios else ""
        return f"{_time(np.median(self.seconds))}{ratio}, {_memory(self.memory)}"


@dataclass(frozen=True)
class RaggedRow:
    """Time of a batch of graphs that differ over that of graphs of one size, as many nodes.

    Attributes:
        name: of the operator.
        sizes: nodes of the graphs that differ.
        ratios: of each round.
    """

    name: str
    sizes: Sequence[int]
    ratios: Sequence[float]


@dataclass(frozen=True)
class LeftOut:
    """What was not measured.

    Attributes:
        name: of the operator.
        nodes: of the graph or batch.
        kind: "step", "forward" or "ragged".
        reason: why.
    """

    name: str
    nodes: int
    kind: str
    reason: str


@dataclass
class CostReport:
    """All figures of a benchmark.

    Attributes:
        settings: of the study.
        device: "cpu" or "cuda".
        rows: measured.
        ragged: measured.
        left_out: and not.
    """

    settings: Mapping[str, Any]
    device: str
    rows: list[CostRow] = field(default_factory=list)
    ragged: list[RaggedRow] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def write(self, folder: Path) -> str:
        """Write all three files; the Markdown is returned."""
        text = self.markdown()
        found = {
            "machine": self.machine(),
            "settings": dict(self.settings),
            "rows": [asdict(row) for row in self.rows],
            "ragged": [asdict(row) for row in self.ragged],
            "left_out": [asdict(row) for row in self.left_out],
        }
        write_table(folder / "benchmark.json", json.dumps(found, indent=1) + "\n")
        write_table(folder / "benchmark.md", text)
        kinds: dict[str, dict[str, list[tuple[float, ...]]]] = {}
        for row in self.rows:
            point = (row.nodes, float(np.median(row.seconds)), row.memory)
            kinds.setdefault(row.kind, {}).setdefault(row.name, []).append(point)
        cost_against_nodes(
            {
                KINDS[kind]: {name: np.array(points).T for name, points in curves.items()}
                for kind, curves in kinds.items()
            },
            folder / "benchmark.png",
        )
        return text

    def machine(self) -> dict[str, Any]:
        """What it was measured on."""
        on_gpu = torch.device(self.device).type == "cuda"
        return {
            "device": torch.cuda.get_device_name() if on_gpu else processor_name(),
            "threads": torch.get_num_threads(),
            "clock": "CUDA events"
            if on_gpu
            else "processor time"
            if torch.get_num_threads() == 1
            else "wall clock",
            "made_with": made_with(),
        }

    def markdown(self) -> str:
        """The tables."""
        s, machine = self.settings, self.machine()
        compiled = ", torch.compile" if s["compiled"] else ""
        lines = [
            f"C = {s['channels']}, {s['depth']} blocks, {s['heads']} heads, M ="
            f" {s['num_latents']}, feed-forward ratio {s['ffn_ratio']:g}, one graph of random"
            f" points, {s['precision']}{compiled}; {machine['device']}, {machine['threads']}"
            f" threads, {machine['clock']}. Operators take turns; ratios are of the same round,"
            " median (quartiles). Memory: what PyTorch holds at the peak, parameters and optimiser"
            " included. Share: operations of matrix products per second, over the rate of one"
            " product of large square matrices in the same round.",
        ]
        for kind, title in KINDS.items():
            of_kind = [row for row in self.rows if row.kind == kind]
            if of_kind:
                if len({row.nodes for row in of_kind}) > 1:
                    head = f"{title}; time (memory) over LRSA's, by nodes:"
                    lines += ["", head, "", *_overview(of_kind)]
                lines += ["", f"{title}:", "", *_table(of_kind)]
        if self.ragged:
            sizes = ", ".join(f"{size:,}" for size in self.ragged[0].sizes)
            lines += [
                "",
                f"A batch of graphs of {sizes} nodes over one of as many nodes in equal graphs:",
                "",
                *markdown_rows(
                    ["operator", "step over uniform"],
                    [[row.name, quartiles(row.ratios)] for row in self.ragged],
                ),
            ]
        if self.left_out:
            lines += ["", "Left out:", ""]
            lines += [f"- {o.name}, {o.nodes:,} nodes, {o.kind}: {o.reason}" for o in self.left_out]
        named = {row.name for row in self.rows}
        lines += ["", *(f"- {name}: {what}" for name, what in OF_PYG.items() if name in named)]
        return "\n".join([*lines, "", made_with()]) + "\n"


def quartiles(values: Sequence[float]) -> str:
    """Median (first to third quartile)."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _overview(rows: Sequence[CostRow]) -> list[str]:
    """A line for each operator, a column for each size; LRSA's own figures are absolute.

    So are those of a size at which LRSA was left out.
    """
    sizes = sorted({row.nodes for row in rows})
    found = {(row.name, row.nodes): row for row in rows}
    lines = []
    for name in dict.fromkeys(row.name for row in rows):
        line = [name]
        for size in sizes:
            row, base = found.get((name, size)), found.get(("lrsa", size))
            if row is None:
                line.append("")
            elif row is base or base is None:
                line.append(f"{_time(np.median(row.seconds))} ({_memory(row.memory)})")
            else:
                line.append(f"{np.median(row.ratios):.2f} ({row.memory / base.memory:.2f})")
        lines.append(line)
    return markdown_rows(["operator", *(f"{size:,}" for size in sizes)], lines)


def _table(rows: Sequence[CostRow]) -> list[str]:
    head = ["nodes", "operator", "parameters", "time", "over LRSA", "memory", "over LRSA"]
    head += ["GFLOP", "share"]
    base = {row.nodes: row.memory for row in rows if row.name == "lrsa"}
    cells = []
    for row in rows:
        cells.append(
            [
                f"{row.nodes:,}",
                row.name,
                f"{row.parameters:,}",
                _time(np.median(row.seconds)),
                quartiles(row.ratios) if row.ratios else "",
                _memory(row.memory),
                f"{row.memory / base[row.nodes]:.2f}" if row.nodes in base else "",
                f"{row.flops / 1e9:,.3g}" if row.flops < 1e12 else f"{row.flops / 1e9:,.0f}",
                f"{np.median(row.shares):.2f}",
            ]
        )
    return markdown_rows(head, cells)


def _time(seconds: float | np.floating) -> str:
    return f"{1e3 * seconds:,.1f} ms" if seconds < 10 else f"{seconds:,.1f} s"


def _memory(size: int) -> str:
    for unit, name in ((30, "GiB"), (20, "MiB")):
        if size >= 10 << unit:
            return f"{size / 2**unit:,.0f} {name}"
    return f"{size / 2**20:,.1f} MiB"
