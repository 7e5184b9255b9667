"""Steps of series: reading them from disk, and what training on them costs.

    pytest tests/benchmarks/test_series_speed.py --benchmark-only -s

Reading: series of 2,000 nodes and 120 steps, all windows of two steps in random order, against
copies of the same bytes out of a memory-mapped file, and against whole examples (features joined,
increments, a PyG batch). Training: a step on pairs of states against one on the same graphs with
the same number of columns, in turns; two and four steps ahead, with and without working the inside
of each out again in the backward pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch

from lrsa_geo.data import MeshStore, SeriesConfig, StepView, stepping_of
from lrsa_geo.mesh import Field, MeshData
from lrsa_geo.study import peak_memory
from lrsa_geo.train import (
    DataConfig,
    ModelConfig,
    SplitConfig,
    TrainConfig,
    assemble,
)

SERIES, STEPS, NODES = 50, 120, 2000
FIELDS = {"states": (Field("U", "m/s", ("x", "y")), Field("p", "Pa"))}
MODEL = ModelConfig(channels=64, depth=4, heads=4, num_latents=32, use_measure=False)


def series(seed: int) -> MeshData:
    draw = torch.Generator().manual_seed(seed)
    return MeshData(
        pos=torch.rand(NODES, 2, generator=draw),
        states=torch.randn(NODES, STEPS, 3, generator=draw),
        times=torch.arange(STEPS, dtype=torch.float64),
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> MeshStore:
    torch.set_num_threads(1)  # steps this small lose more than they gain by a second
    return MeshStore.write(
        tmp_path_factory.mktemp("s") / "s.h5", map(series, range(SERIES)), FIELDS
    )


def in_turns(rounds: int, **sides: Callable[[], None]) -> dict[str, float]:
    """Median seconds of each, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            started = time.process_time()
            side()
            seconds[name].append(time.process_time() - started)
    return {name: median(each) for name, each in seconds.items()}


def test_reading(store: MeshStore, tmp_path: Path, benchmark) -> None:
    values = store.read("states").reshape(SERIES, STEPS, NODES, 3)
    values.tofile(tmp_path / "plain.bin")
    plain = np.memmap(tmp_path / "plain.bin", values.dtype, "r", shape=values.shape)
    view = StepView(store, stepping_of(store, SeriesConfig(), range(SERIES)))
    order = np.random.default_rng(0).permutation(len(view))[:2000].tolist()

    def copies() -> None:
        for index in order:
            number, step = view.place(index)
            plain[number, step - 1 : step + 1].copy()

    def windows() -> None:
        for index in order:
            number, step = view.place(index)
            store.window(number, step - 1, step + 1, ["states"])

    def examples() -> None:
        for index in order:
            view.arrays_of(index, ["pos", "x", "y"])

    seconds = in_turns(5, copies=copies, windows=windows, examples=examples)
    size = len(order) * 2 * NODES * 3 * 4 / 1e9
    for name, each in seconds.items():
        ratio = each / seconds["copies"]
        print(f"\n{name}: {size / each:.2f} GB/s, {ratio:.2f} x bare copies", end="")
    benchmark.pedantic(windows, rounds=1)


def test_training(store: MeshStore, tmp_path: Path, benchmark) -> None:
    steady = MeshStore.write(
        tmp_path / "steady.h5",
        (
            MeshData(pos=g.pos, x=g.states[:, 0].contiguous(), y=g.states[:, 1].contiguous())
            for g in (store[i] for i in range(12))
        ),
        {"x": FIELDS["states"], "y": (Field("V", "m/s", ("x", "y")), Field("q", "Pa"))},
    )

    def step_of(of: MeshStore, **config: object) -> Callable[[], None]:
        data = DataConfig(str(of.path), split=SplitConfig(10, 1, 1, shuffle=False), batch_size=2)
        parts = assemble(TrainConfig(data=data, model=MODEL, series=SeriesConfig(**config)), of)
        optimizer = parts.module.new_optimizer()
        batches = iter(parts.loaders.train_dataloader())

        def step() -> None:
            nonlocal batches
            try:
                batch = next(batches)
            except StopIteration:
                batches = iter(parts.loaders.train_dataloader())
                batch = next(batches)
            optimizer.zero_grad()
            parts.module.loss(batch).backward()
            optimizer.step()

        return step

    sides = {
        "steady": step_of(steady),
        "one": step_of(store),
        "two": step_of(store, unroll=2),
        "four": step_of(store, unroll=4),
        "four_kept": step_of(store, unroll=4, checkpoint=False),
    }
    seconds = in_turns(7, **sides)
    for name, each in seconds.items():
        print(f"\n{name}: {1e3 * each:.0f} ms, {each / seconds['steady']:.2f} x steady", end="")
    for name in ("one", "four", "four_kept"):  # all ran before: the optimiser has its state
        print(f"\n{name}: {peak_memory(sides[name]) / 2**20:.0f} MiB above the start", end="")
    benchmark.pedantic(sides["one"], rounds=1)
