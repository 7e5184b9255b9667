"""The command `benchmark`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lrsa_geo.cli.parser import Parser

DESCRIPTION = """\
What do operators cost? Time and peak memory of a training step with LRSA, with each of its peers
and with layers of PyTorch Geometric, at the same width and depth, for growing numbers of nodes.

All take turns, and are given as ratios over LRSA with quartiles, and as a share of the rate at
which this machine multiplies matrices. Batches of graphs that differ in size are compared with
graphs of one size. What does not fit in memory is found out beforehand, named and left out.

  lrsa-geo benchmark --quick                                  to see it work
  OMP_NUM_THREADS=1 lrsa-geo benchmark --nodes 1000 10000     one thread: processor time
  lrsa-geo benchmark --device cuda --precision bf16-mixed --compile

Results: benchmark.md (tables), benchmark.json (every figure of every round) and benchmark.png
(time and memory against nodes) in the folder, written anew after each size.
"""
QUICK: dict[str, Any] = {
    "nodes": [144, 576],
    "channels": 32,
    "depth": 2,
    "heads": 4,
    "latents": 16,
    "ragged": 512,
    "rounds": 3,
    "seconds": 1.0,
    "product": 256,
}


def benchmark(argv: list[str]) -> None:
    """Measure time and memory, see ``lrsa-geo benchmark --help``."""
    from lrsa_geo.study import CostStudy, run_cost

    parser = Parser("lrsa-geo benchmark", "[options]", DESCRIPTION)
    _add_arguments(parser, QUICK if "--quick" in argv else {})
    values = parser.parse_args(argv)
    study = CostStudy(
        nodes=values.nodes,
        operators=values.operators,
        channels=values.channels,
        depth=values.depth,
        heads=values.heads,
        num_latents=values.latents,
        ffn_ratio=values.ffn_ratio,
        forward=values.forward,
        ragged=values.ragged,
        full_nodes=values.full_nodes,
        rounds=values.rounds,
        seconds=values.seconds,
        precision=values.precision,
        compiled=values.compile,
        device=values.device,
        memory=None if values.memory is None else int(values.memory * 2**30),
        product=values.product,
    )
    folder = Path(values.output or "runs/studies/benchmark")
    text = run_cost(study, folder)
    print()
    print(text, end="")
    print(f"\ntables, figures and picture: {folder}/, benchmark.md, .json and .png")


def _add_arguments(parser: Parser, quick: dict[str, Any]) -> None:
    from lrsa_geo.study import CostStudy

    def add(name: str, default: Any, about: str, **options: Any) -> None:
        parser.add_argument(f"--{name}", default=quick.get(name, default), help=about, **options)

    of = CostStudy
    parser.add_argument("--quick", action="store_true", help="small sizes, in seconds")
    add("nodes", [*of.nodes], "of a graph: a row of each table for each", type=int, nargs="+")
    add(
        "operators",
        [*of.operators],
        "rows of the tables: names of mixers, and layers of PyG (LRSA is always among them)",
        type=str,
        nargs="+",
    )
    add("channels", of.channels, "C", type=int)
    add("depth", of.depth, "blocks", type=int)
    add("heads", of.heads, "H", type=int)
    add("latents", of.num_latents, "M of those that have it", type=int)
    add("ffn_ratio", of.ffn_ratio, "width of the feed-forward layers over C", type=float)
    parser.add_argument(
        "--forward", action="store_true", help="a second table, of forward passes without gradients"
    )
    add(
        "ragged",
        of.ragged,
        "nodes of the batch of eight unlike graphs, for the table over uniform ones; 0: no table",
        type=int,
    )
    add("full_nodes", of.full_nodes, "largest graph for full attention", type=int)
    add("rounds", of.rounds, "turns of all operators, over which quartiles are taken", type=int)
    add(
        "seconds",
        of.seconds,
        "for each size; no round begins later, but three are always made",
        type=float,
    )
    add("precision", of.precision, "32-true, or bf16-mixed: products in bfloat16", type=str)
    parser.add_argument(
        "--compile", action="store_true", help="operators and steps as torch.compile makes them"
    )
    add("device", of.device, "cpu, or cuda: timed by its events, memory by its allocator", type=str)
    add(
        "memory",
        None,
        "GiB that a step may take; larger sizes are named and left out (default: 80 % of what is"
        " free)",
        type=float,
    )
    add(
        "product",
        of.product,
        "rows of the square matrices whose product gives the machine's rate (default: 1024 on a"
        " CPU, 8192 on a GPU)",
        type=int,
    )
    parser.add_argument(
        "-o", "--output", type=str, default=None, help="folder (default: runs/studies/benchmark)"
    )
