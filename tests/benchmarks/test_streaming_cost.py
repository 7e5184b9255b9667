"""What streaming costs: memory and time of a node, predicting and training.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/test_streaming_cost.py --benchmark-only -s

Eight blocks of 128 channels and 64 latents, float32. Each size runs in a process of its own, whose
peak memory beyond what it held before (features, positions and the model are not counted there) is
printed; above a million nodes the features lie in a file. Beside it a forward and backward pass of
the plain model, with blocks that are worked out again (`checkpoint`), and chunk by chunk.
"""

from __future__ import annotations

import resource
import time
from functools import partial
from multiprocessing import get_context

import pytest
import torch

from lrsa_geo.nn import GeometryOperator, stream, stream_with_gradients
from lrsa_geo.train.large import mapped_rows

SIZES = (10_000, 100_000, 1_000_000, 4_000_000)
IN_MEMORY = 1_000_000
PLAIN = 100_000
CHANNELS = 128


def cost_of(nodes: int, plain: bool) -> tuple[float, float]:
    """Processor seconds of a node, and GiB at the peak beyond what was there before."""
    torch.manual_seed(0)
    model = GeometryOperator(3, 1, 3, channels=CHANNELS, depth=8, heads=8, num_latents=64).eval()
    x, pos = torch.rand(nodes, 3), torch.rand(nodes, 3)
    with torch.inference_mode():
        stream(model, x[:1000], pos[:1000])  # what is loaded and made once
        features = None
        if not plain:
            make = mapped_rows if nodes > IN_MEMORY else torch.empty
            features = make(nodes, CHANNELS, dtype=torch.float32).fill_(1)  # every page is there
        rounds = max(1, 2 * PLAIN // nodes)  # what is made at the first call weighs as little
        before, started = peak(), time.process_time()
        for _ in range(rounds):
            if plain:
                model(x, pos)
            else:
                stream(model, x, pos, buffer=lambda *shape: features)
        seconds = (time.process_time() - started) / rounds
    return seconds / nodes, (peak() - before) / 2**30


def peak() -> int:
    """Bytes that this process held at most, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_memory_and_time_of_streaming(benchmark: pytest.FixtureRequest) -> None:
    cases = [(PLAIN, True), *((nodes, False) for nodes in SIZES)]
    reference = 0.0
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for nodes, plain in cases:
            seconds, memory = pool.apply(cost_of, (nodes, plain))
            reference = reference or seconds
            print(
                f"\n{nodes:,} nodes, {'plain' if plain else 'streamed'}: {1e6 * seconds:.1f} us a"
                f" node ({seconds / reference:.2f} x plain), {memory:.2f} GiB beyond features and"
                " inputs",
                end="",
                flush=True,
            )
    benchmark.pedantic(cost_of, (SIZES[0], False), rounds=1)


def step_cost_of(nodes: int, how: str) -> tuple[float, float]:
    """Processor seconds of a node, and GiB, of a forward and backward pass."""
    torch.manual_seed(0)
    model = GeometryOperator(
        3, 1, 3, channels=CHANNELS, depth=8, heads=8, num_latents=64, checkpoint=how == "checkpoint"
    )
    x, pos = torch.rand(nodes, 3), torch.rand(nodes, 3)
    call = stream_with_gradients if how == "chunks" else GeometryOperator.__call__
    call(model, x[:1000], pos[:1000]).square().mean().backward()
    before, started = peak(), time.process_time()
    call(model, x, pos).square().mean().backward()
    return (time.process_time() - started) / nodes, (peak() - before) / 2**30


def test_memory_and_time_of_gradients(benchmark: pytest.FixtureRequest) -> None:
    reference = 0.0
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for how in ("plain", "checkpoint", "chunks"):
            seconds, memory = pool.apply(step_cost_of, (PLAIN // 2, how))
            reference = reference or seconds
            print(
                f"\n{PLAIN // 2:,} nodes, {how}: {1e6 * seconds:.0f} us a node"
                f" ({seconds / reference:.2f} x plain), {memory:.2f} GiB",
                end="",
                flush=True,
            )
    benchmark.pedantic(step_cost_of, (SIZES[0], "chunks"), rounds=1)


def test_time_by_chunk(benchmark: pytest.FixtureRequest) -> None:
    """Of one model on 65,536 nodes, the chunks and the plain forward in turns; least of three."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = GeometryOperator(3, 1, 3, channels=CHANNELS, depth=8, heads=8, num_latents=64).eval()
    x, pos = torch.rand(65_536, 3), torch.rand(65_536, 3)
    sides = {f"chunks of {2**k:,}": partial(stream, chunk=2**k) for k in range(10, 16)}
    sides["plain"] = GeometryOperator.__call__
    least = dict.fromkeys(sides, float("inf"))
    with torch.inference_mode():
        for _ in range(3):
            for name, side in sides.items():
                started = time.process_time()
                side(model, x, pos)
                least[name] = min(least[name], time.process_time() - started)
        for name, seconds in least.items():
            print(f"\n{name}: {1e6 * seconds / len(pos):.1f} us a node", end="")
        benchmark.pedantic(sides["chunks of 8,192"], (model, x, pos), rounds=1)
