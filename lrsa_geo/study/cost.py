"""Time and memory of operators against the number of nodes, measured in turns."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from lrsa_geo.nn import OperatorConfig
from lrsa_geo.process import keep_freed_memory
from lrsa_geo.study.contenders import CONTENDERS, why_not
from lrsa_geo.study.cost_report import CostReport, CostRow, LeftOut, RaggedRow, quartiles
from lrsa_geo.study.workload import (
    COST_PRECISIONS,
    CostPrecision,
    Kind,
    Workload,
    memory_left,
    product_rate,
    seconds_of,
)

REFERENCE = "lrsa"
"""The operator that the others are held against."""
PROBES = (1024, 2048)
"""Nodes at which memory is measured before a larger graph is tried."""
LEAST_ROUNDS = 3


@dataclass(frozen=True)
class CostStudy:
    """Which operators are measured, at which sizes.

    Args:
        nodes: of a graph, for each size.
        operators: names of :data:`~lrsa_geo.study.contenders.CONTENDERS`; LRSA is always there.
        channels, depth, heads, num_latents, ffn_ratio: of every operator that has them.
        forward: measure forward passes too.
        ragged: nodes of a batch of eight graphs that differ by a factor of 16 in size, which is
            compared with one of equal graphs; 0 for none.
        full_nodes: largest graph for full attention.
        rounds: in each of which every operator runs once.
        seconds: at each size, after which no new round begins (three are always made).
        precision: "32-true" or "bf16-mixed".
        compiled: by ``torch.compile``.
        device: "cpu" or "cuda".
        memory: bytes that a step may take; 80 % of what is free if None.
        product: rows of the square matrices whose product gives the machine's rate; 1,024 on a
            CPU and 8,192 on a GPU if None.

    Raises:
        ValueError: there is no such operator, precision or device, or nothing to measure.
    """

    nodes: Sequence[int] = (1_000, 10_000, 100_000, 1_000_000)
    operators: Sequence[str] = CONTENDERS
    channels: int = 128
    depth: int = 4
    heads: int = 8
    num_latents: int = 64
    ffn_ratio: float = 2.0
    forward: bool = False
    ragged: int = 16_000
    full_nodes: int = 4096
    rounds: int = 15
    seconds: float = 60.0
    precision: CostPrecision = "32-true"
    compiled: bool = False
    device: str = "cpu"
    memory: int | None = None
    product: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for name in self.operators:
            if name not in CONTENDERS:
                raise ValueError(f"there is no operator '{name}', expected some of {CONTENDERS}")
        if not self.nodes or min(self.nodes) < 16:
            raise ValueError(f"`nodes` is {[*self.nodes]}, expected sizes of 16 or more")
        if self.ragged and self.ragged < 256:
            raise ValueError(
                f"`ragged` is {self.ragged}, expected 256 nodes or more, or 0 for none"
            )
        if self.rounds < LEAST_ROUNDS:
            raise ValueError(f"`rounds` is {self.rounds}, expected at least {LEAST_ROUNDS}")
        if not self.seconds >= 0:
            raise ValueError(f"`seconds` is {self.seconds}, expected 0 or more")
        if self.precision not in COST_PRECISIONS:
            raise ValueError(
                f"`precision` is '{self.precision}', expected one of {', '.join(COST_PRECISIONS)}"
            )
        for name in ("memory", "product"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` is {value}, expected more than 0")
        if torch.device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"`device` is '{self.device}', and PyTorch finds no GPU here")
        self.config()  # which looks at the rest

    def config(self) -> OperatorConfig:
        """Sizes of the networks."""
        return OperatorConfig(
            channels=self.channels,
            depth=self.depth,
            heads=self.heads,
            num_latents=self.num_latents,
            ffn_ratio=self.ffn_ratio,
        )

    def names(self) -> list[str]:
        """The operators, LRSA first."""
        return list(dict.fromkeys([REFERENCE, *self.operators]))

    @property
    def rows_of_product(self) -> int:
        """Of the matrices whose product gives the machine's rate."""
        return self.product or (8192 if torch.device(self.device).type == "cuda" else 1024)

    def workload(self, name: str, sizes: Sequence[int]) -> Workload:
        """An operator and a batch."""
        return Workload(
            name, sizes, self.config(), self.device, self.precision, compiled=self.compiled
        )


def unlike_sizes(nodes: int, graphs: int = 8, ratio: float = 16.0) -> list[int]:
    """Sizes of graphs whose logarithms are evenly spread, in a fixed mixed order.

    Args:
        nodes: of all together.
        graphs: number of them.
        ratio: of the largest to the smallest, about.
    """
    shares = [ratio ** ((i + 0.5) / graphs) for i in range(graphs)]
    sizes = [int(nodes * share / sum(shares)) for share in shares]
    sizes[-1] += nodes - sum(sizes)
    order = torch.randperm(graphs, generator=torch.Generator().manual_seed(0)).tolist()
    return [sizes[i] for i in order]


def run_cost(study: CostStudy, folder: Path) -> str:
    """Measure; ``benchmark.md``, ``benchmark.json`` and ``benchmark.png`` in a folder.

    They are written anew after each size: what is measured stays if a later one fails.

    Returns:
        The text of ``benchmark.md``.
    """
    keep_freed_memory()  # as trainings do
    report = CostReport(asdict(study), study.device)
    measuring = _Measuring(study, report)
    kinds: list[Kind] = ["step", "forward"] if study.forward else ["step"]
    for nodes in sorted(set(study.nodes)):
        for kind in kinds:
            measuring.size(nodes, kind)
            report.write(folder)
    if study.ragged:
        measuring.ragged()
    return report.write(folder)


class _Measuring:
    """The measurements of a study, and what memory was found to need."""

    def __init__(self, study: CostStudy, report: CostReport) -> None:
        self.study, self.report = study, report
        self._probed: dict[tuple[str, Kind], list[int]] = {}

    def size(self, nodes: int, kind: Kind) -> None:
        """Every operator on one graph of so many nodes."""
        first = {}  # of each operator: itself, its memory and its operations
        for name in self.study.names():
            found = self._first(name, [nodes], kind)
            if isinstance(found, str):
                self._leave_out(name, nodes, kind, found)
                continue
            try:  # counting is the first run, so that none is made for itself
                flops = found.flops(kind)
                if self.study.compiled:
                    found.run(kind)
                first[name] = found, found.memory(kind), flops
            except RuntimeError as error:
                self._leave_out(name, nodes, kind, _failed(error))
            found.optimizer.zero_grad()
        seconds, rates = self._rounds({n: _runner(w, kind) for n, (w, _, _) in first.items()})
        for name, (work, memory, flops) in first.items():
            times = seconds[name]
            row = CostRow(
                name,
                kind,
                nodes,
                work.parameters,
                flops,
                memory,
                times,
                [t / base for t, base in zip(times, seconds.get(REFERENCE, ()), strict=False)],
                [flops / t / rate for t, rate in zip(times, rates, strict=True)],
            )
            self.report.rows.append(row)
            print(f"{name}, {nodes:,} nodes, {kind}: {row.in_words()}", flush=True)

    def ragged(self) -> None:
        """Steps on graphs that differ, over those on as many nodes in graphs that do not."""
        sizes = unlike_sizes(self.study.ragged)
        even = [self.study.ragged // len(sizes)] * len(sizes)
        for name in self.study.names():
            runs: dict[str, Callable[[], None]] = {}
            for i, each in enumerate((sizes, even)):
                found = self._first(name, each, "step")
                if isinstance(found, str):
                    self._leave_out(name, self.study.ragged, "ragged", found)
                    break
                runs[str(i)] = _runner(found, "step")
                try:
                    found.run("step")
                except RuntimeError as error:  # memory, or what cannot be compiled
                    self._leave_out(name, self.study.ragged, "ragged", _failed(error))
                    break
            else:
                self._add_ragged(name, runs, sizes, even)

    def _add_ragged(
        self, name: str, runs: dict[str, Callable[[], None]], sizes: list[int], even: list[int]
    ) -> None:
        seconds, _ = self._rounds(runs)
        per_node = sum(even) / sum(sizes)
        ratios = [per_node * t / e for t, e in zip(seconds["0"], seconds["1"], strict=True)]
        self.report.ragged.append(RaggedRow(name, sizes, ratios))
        print(f"{name}, unlike graphs over equal ones: {quartiles(ratios)}", flush=True)

    def _first(self, name: str, sizes: Sequence[int], kind: Kind) -> Workload | str:
        """An operator, ready to run; or why it is left out."""
        study = self.study
        reason = why_not(name, sizes, study.full_nodes) or self._too_large(name, sum(sizes), kind)
        if reason:
            return reason
        try:
            return study.workload(name, sizes)
        except RuntimeError as error:  # of memory
            return _failed(error)

    def _too_large(self, name: str, nodes: int, kind: Kind) -> str:
        """Why a graph does not fit in memory, by a straight line through two smaller ones."""
        if nodes <= PROBES[-1]:
            return ""
        if (name, kind) not in self._probed:
            eager = replace(self.study, compiled=False)
            self._probed[name, kind] = [eager.workload(name, [n]).memory(kind) for n in PROBES]
        low, high = self._probed[name, kind]
        needed = low + (high - low) / (PROBES[1] - PROBES[0]) * (nodes - PROBES[0])
        allowed = self.study.memory
        if allowed is None:
            _clean()
            allowed = int(0.8 * memory_left(self.study.device))
        if needed <= allowed:
            return ""
        return f"needs about {needed / 2**30:.2f} GiB, allowed are {allowed / 2**30:.2f}"

    def _rounds(
        self, runs: dict[str, Callable[[], None]]
    ) -> tuple[dict[str, list[float]], list[float]]:
        """Seconds of each, in turns of which each begins with another; rates of a product."""
        study = self.study
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        rates: list[float] = []
        names, started = list(runs), time.monotonic()
        for number in range(study.rounds if runs else 0):
            if number >= LEAST_ROUNDS and time.monotonic() - started > study.seconds:
                break
            rates.append(product_rate(study.rows_of_product, study.device, study.precision))
            first = number % len(names)
            for name in names[first:] + names[:first]:
                seconds[name].append(seconds_of(runs[name], study.device))
        return seconds, rates

    def _leave_out(self, name: str, nodes: int, kind: str, reason: str) -> None:
        _clean()
        self.report.left_out.append(LeftOut(name, nodes, kind, reason))
        print(f"{name}, {nodes:,} nodes, {kind}: left out, {reason}", flush=True)


def _runner(work: Workload, kind: Kind) -> Callable[[], None]:
    return lambda: work.run(kind)


def _failed(error: RuntimeError) -> str:
    return f"failed: {' '.join(str(error).split())[:120]}"


def _clean() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
