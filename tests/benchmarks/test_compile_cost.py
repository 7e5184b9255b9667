"""What compiling saves: forward and backward pass of a training batch, plain and compiled.

    OMP_NUM_THREADS=1 pytest tests/benchmarks/test_compile_cost.py --benchmark-only -s

Batches of drawn nodes, as the trainings of the data sets have them, and batches of unlike meshes,
which are padded to the largest when compiled. The sides take turns; least processor time of each.
"""

import time

import pytest
import torch

from lrsa_geo.nn import GeometryOperator, GraphLayout

CASES = {
    "elasticity (16 x 256 nodes, 48 channels)": ([256] * 16, 48, 2),
    "navier_stokes (8 x 256 nodes, 64 channels)": ([256] * 8, 64, 10),
    "4 x 4,000 nodes, 128 channels": ([4000] * 4, 128, 3),
    "meshes of 500 to 2,000 nodes, 128 channels": ([500, 700, 1000, 1400, 1700, 2000], 128, 3),
}
ROUNDS = 10


def sides_of(sizes: list[int], channels: int, features: int):
    torch.manual_seed(0)
    model = GeometryOperator(
        features, 1, 2, channels=channels, depth=4, heads=channels // 16, num_latents=32
    )
    compiled = torch.compile(model, dynamic=True)
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    x, pos = torch.randn(len(batch), features), torch.rand(len(batch), 2)
    layout = GraphLayout.of(pos, batch)
    together = layout.together()
    return {
        "plain": lambda: model(x, pos, layout).square().mean().backward(),
        "compiled": lambda: compiled(x, pos, together).square().mean().backward(),
    }


@pytest.mark.parametrize("case", CASES)
def test_compiled_step(case: str, benchmark) -> None:
    torch._dynamo.reset()
    torch.set_num_threads(1)
    sides = sides_of(*CASES[case])
    started = time.perf_counter()
    sides["compiled"]()
    first = time.perf_counter() - started
    least = dict.fromkeys(sides, float("inf"))
    for _ in range(ROUNDS):
        for name, side in sides.items():
            started = time.process_time()
            side()
            least[name] = min(least[name], time.process_time() - started)
    print(
        f"\n{case}: plain {1e3 * least['plain']:.1f} ms, compiled {1e3 * least['compiled']:.1f} ms"
        f" ({least['compiled'] / least['plain']:.2f} x), first step {first:.0f} s",
        end="",
        flush=True,
    )
    benchmark.pedantic(sides["compiled"], rounds=1)
