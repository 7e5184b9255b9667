"""The benchmark: what it measures adds up, and its tables, figures and picture are there."""

from __future__ import annotations

import json
from statistics import median

import pytest
import torch

from lrsa_geo.cli import main
from lrsa_geo.nn import MIXERS, GraphLayout, OperatorConfig
from lrsa_geo.study import CostStudy, peak_memory, run_cost, unlike_sizes
from lrsa_geo.study.contenders import CONTENDERS, OF_PYG, grid_of, make_contender, why_not
from lrsa_geo.study.workload import Workload

SMALL = OperatorConfig(channels=16, depth=2, heads=2, num_latents=4)


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_operator_treats_the_graphs_of_a_batch_alone(name):
    """So all do the same work: the figures compare like with like."""
    sizes = [36, 36] if name == "spectral" else [36, 20]
    torch.manual_seed(0)
    model = make_contender(name, SMALL, sizes).double().eval()
    x, pos = torch.randn(sum(sizes), 3).double(), torch.rand(sum(sizes), 2).double()
    both = model(x, pos, GraphLayout.of(pos, ptr=torch.tensor([0, 36, sum(sizes)])))
    first = model(x[:36], pos[:36], GraphLayout.of(pos[:36]))
    torch.testing.assert_close(both[:36], first)


def test_all_mixers_are_there_and_lrsa_is_first():
    assert set(CONTENDERS) == {*MIXERS, *OF_PYG}
    assert CONTENDERS[0] == "lrsa"
    assert CostStudy(operators=["flare", "lrsa", "flare"]).names() == ["lrsa", "flare"]


def test_products_are_counted_forwards_and_backwards():
    """Of the linear mixer all are known: 4 N C^2 + 2 N C^2 / H, and the network around it."""
    n, c, h, depth = 36, SMALL.channels, SMALL.heads, SMALL.depth
    work = Workload("linear", [n], SMALL)
    lift = 3 + 2 + 2 * 2 * SMALL.fourier_octaves
    block = 4 * n * c * c + 2 * n * c * c // h + 2 * n * c * round(SMALL.ffn_ratio * c)
    forward = 2 * (n * c * (lift + c + 1) + depth * block)
    assert work.flops("forward") == forward
    norms = (2 * depth + 1) * 2 * n * c  # a dot product in each, backwards
    assert work.flops("step") == 3 * forward - 2 * n * c * lift + norms  # none for the inputs


def test_products_inside_of_attention_are_counted():
    """2 N^2 C multiply-adds of full attention in each block."""
    twice = [Workload("full", [n], SMALL).flops("forward") for n in (32, 64)]
    c, depth = SMALL.channels, SMALL.depth
    assert twice[1] - 2 * twice[0] == depth * 4 * c * (64**2 - 2 * 32**2)


def test_peak_memory_is_that_of_the_tensors_that_live_together():
    def run() -> None:
        a = torch.empty(1000, dtype=torch.uint8)
        b = a + 1
        del a
        torch.empty(500, dtype=torch.uint8)
        del b

    assert 2000 <= peak_memory(run) < 2064  # and some numbers
    work = Workload("lrsa", [64], SMALL)
    held = 4 * (3 * work.parameters + 64 * 5)  # weights, two moments, inputs
    assert held < work.memory("forward") + 8 * work.parameters < work.memory("step")


def test_unlike_sizes_add_up():
    for nodes in (256, 16_000):
        sizes = unlike_sizes(nodes)
        assert sum(sizes) == nodes
        assert len(sizes) == 8
        assert 8 < max(sizes) / min(sizes) < 20


def test_what_cannot_be_measured_has_a_reason():
    assert grid_of(1000) == (25, 40)
    assert why_not("spectral", [1000], 10) == ""
    assert "67 nodes make none" in why_not("spectral", [67], 10)
    assert "graphs that differ" in why_not("spectral", [64, 36], 10)
    assert "square of the nodes" in why_not("gps", [11], 10)
    assert why_not("gps_performer", [11], 10) == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operators": ["fno"]}, "no operator 'fno'"),
        ({"nodes": []}, "expected sizes of 16 or more"),
        ({"rounds": 2}, "expected at least 3"),
        ({"seconds": -1.0}, "`seconds` is -1.0, expected 0 or more"),
        ({"ragged": 10}, "expected 256 nodes or more"),
        ({"precision": "16-true"}, "expected one of 32-true, bf16-mixed"),
        ({"channels": 0}, "`channels` is 0"),
    ],
)
def test_settings_that_cannot_be_measured_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CostStudy(**changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="finds no GPU"):
        CostStudy(device="cuda")


def test_the_command_leaves_tables_figures_and_a_picture(tmp_path, capsys):
    """The quick setting, with one operator of each kind."""
    operators = ["transolver", "spectral", "gps"]
    flags = ["--quick", "--forward", "--operators", *operators, "-o", str(tmp_path)]
    assert main(["benchmark", *flags]) == 0
    text = (tmp_path / "benchmark.md").read_text()
    assert text in capsys.readouterr().out
    found = json.loads((tmp_path / "benchmark.json").read_text())
    names = ["lrsa", *operators]
    assert [(r["kind"], r["nodes"], r["name"]) for r in found["rows"]] == [
        (kind, nodes, name)
        for nodes in found["settings"]["nodes"]
        for kind in ("step", "forward")
        for name in names
    ]
    for row in found["rows"]:
        assert len(row["seconds"]) == len(row["ratios"]) == len(row["shares"]) >= 3
        assert min(row["seconds"]) > 0
        assert row["memory"] > 4 * row["parameters"]
        assert f"| {row['nodes']:,} | {row['name']} | {row['parameters']:,} |" in text
    for kind in ("step", "forward"):
        of = {(row["name"], row["nodes"]): row for row in found["rows"] if row["kind"] == kind}
        cells = [
            f"{median(of[names[1], n]['ratios']):.2f}"
            f" ({of[names[1], n]['memory'] / of['lrsa', n]['memory']:.2f})"
            for n in found["settings"]["nodes"]
        ]
        assert f"| {names[1]} | {' | '.join(cells)} |" in text
    assert {r["name"] for r in found["ragged"]} == {*names} - {"spectral"}
    assert [(o["name"], o["kind"]) for o in found["left_out"]] == [("spectral", "ragged")]
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_what_does_not_fit_in_memory_is_named_and_left_out(tmp_path):
    """The forecast is that of a straight line, and nothing of that size is made."""
    needed, of_lrsa = (Workload(name, [4096], SMALL).memory("step") for name in ("linear", "lrsa"))
    study = CostStudy(
        nodes=[64, 4096],
        operators=["linear"],
        channels=16,
        depth=2,
        heads=2,
        num_latents=4,
        ragged=0,
        rounds=3,
        seconds=0,
        memory=int(0.9 * min(needed, of_lrsa)),
        product=32,
    )
    text = run_cost(study, tmp_path)
    found = json.loads((tmp_path / "benchmark.json").read_text())
    assert [(o["name"], o["nodes"]) for o in found["left_out"]] == [
        ("lrsa", 4096),
        ("linear", 4096),
    ]
    forecast = float(found["left_out"][1]["reason"].split()[2]) * 2**30
    assert abs(forecast - needed) < 0.005 * 2**30
    assert "linear, 4,096 nodes, step: needs about" in text
