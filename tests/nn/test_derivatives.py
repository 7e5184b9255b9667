"""First and second derivatives of every layer with respect to features, positions and measure."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils.checkpoint import checkpoint

from lrsa_geo.nn import (
    MIXERS,
    EdgeLayout,
    FourierEncoding,
    GeometryOperator,
    GraphLayout,
    LocalLayer,
    MeshConv,
    MixerBlock,
    NodeLayout,
)
from lrsa_geo.nn.attention import attend, with_second_derivatives
from lrsa_geo.nn.pointwise import RMSNorm
from lrsa_geo.nn.registry import build

EDGES = torch.tensor([[0, 1, 2, 3, 4, 5, 0, 3, 6, 5], [1, 0, 3, 2, 5, 4, 2, 0, 5, 6]])
BATCH = torch.tensor([0, 0, 0, 0, 1, 1, 1])
CHANNELS = 6


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Features, positions and measure of two graphs of seven nodes."""
    torch.manual_seed(0)
    x = torch.randn(7, CHANNELS, dtype=torch.float64, requires_grad=True)
    pos = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    measure = torch.rand(7, dtype=torch.float64) + 0.5
    return x, pos, measure.requires_grad_()


def used(layer: torch.nn.Module) -> torch.nn.Module:
    """A layer whose gains, biases and residual branches differ from their start."""
    torch.manual_seed(1)
    for parameter in layer.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return layer.double()


def layers() -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """Every layer of ``lrsa_geo.nn`` as a function of features, positions and measure."""
    conv, sage = used(MeshConv(CHANNELS, 2)), used(LocalLayer("SAGEConv", CHANNELS, 2))
    gat, encode = used(LocalLayer("GATv2Conv", CHANNELS, 2)), FourierEncoding(2, 2).double()
    functions: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "MeshConv": lambda x, p, w: conv(x, p, EdgeLayout(EDGES, p, w)),
        "MeshConv with a layout of other positions": lambda x, p, w: conv(
            x, p, EdgeLayout(EDGES, torch.zeros_like(p), w)
        ),
        "MeshConv with an edge from a node to itself": lambda x, p, w: conv(
            x, p, EdgeLayout(torch.cat([EDGES, torch.tensor([[4], [4]])], 1), p, w)
        ),
        "SAGEConv": lambda x, p, w: sage(x, p, EdgeLayout(EDGES, p, w)),
        "GATv2Conv": lambda x, p, w: gat(x, p, EdgeLayout(EDGES, p, w)),
        "FourierEncoding": lambda x, p, w: encode(p),
    }
    on_meshes = {name: mixer for name, mixer in MIXERS.items() if name != "spectral"}
    for name, mixer in on_meshes.items():
        sizes = {"channels": CHANNELS, "heads": 2, "num_latents": 3}
        block = used(MixerBlock(CHANNELS, build(mixer, sizes, "mixer")))
        functions[name] = lambda x, p, w, block=block: block(x, BATCH, measure=w)
    for name, again in [*((name, False) for name in (*on_meshes, "none")), ("lrsa", True)]:
        sizes = {"channels": 6, "depth": 2, "heads": 2, "num_latents": 3, "fourier_octaves": 1}
        options = {"local": "MeshConv", "relative_positions": True, "checkpoint": again}
        model = used(GeometryOperator(CHANNELS, 1, 2, **sizes, mixer=name, **options))
        key = f"operator with {name}" + (", blocks worked out again" if again else "")
        functions[key] = lambda x, p, w, model=model: model(
            x, p, BATCH, edge_index=EDGES, measure=w
        )
    return functions


LAYERS = layers()


@pytest.mark.parametrize("name", LAYERS)
def test_first_derivatives(name, inputs):
    assert gradcheck(LAYERS[name], inputs)


@pytest.mark.parametrize("name", LAYERS)
def test_second_derivatives(name, inputs):
    assert gradgradcheck(LAYERS[name], inputs, atol=1e-4)


@pytest.mark.parametrize("with_bias", [False, True])
def test_the_fused_attention_has_the_derivatives_of_the_formula(with_bias):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, n, 4, dtype=torch.float64) for n in (3, 5, 5))
    bias = torch.randn(2, 1, 1, 5, dtype=torch.float64) if with_bias else None
    given = [t.requires_grad_() for t in (q, k, v, bias) if t is not None]
    logits = q @ k.mT / 2 + (0 if bias is None else bias)
    torch.testing.assert_close(attend(q, k, v, bias), logits.softmax(-1) @ v)
    assert gradcheck(attend, given)

    def twice(*tensors: Tensor) -> Tensor:
        return with_second_derivatives(given, attend, *tensors)

    assert gradcheck(twice, given)
    assert gradgradcheck(twice, given)


def test_a_laplacian_can_be_trained_on():
    """The residual of a differential equation: second derivatives with respect to positions."""
    model = GeometryOperator(0, 1, 2, channels=8, depth=2, heads=2, num_latents=3).double()
    pos = torch.rand(9, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(None, pos).sum(), pos, create_graph=True)
    (second,) = torch.autograd.grad(gradient[:, 0].sum(), pos, create_graph=True)
    second.square().mean().backward()
    found = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(found) > 20
    assert all(grad.isfinite().all() for grad in found)


def test_training_alone_takes_the_plain_kernel_and_can_be_checkpointed():
    """No input requires a gradient: nothing is kept of a block that is computed again."""
    torch.manual_seed(0)
    model = GeometryOperator(0, 1, 2, channels=8, depth=2, heads=2, num_latents=3).double()
    pos = torch.rand(9, 2, dtype=torch.float64)
    nodes = []

    def walk(node: torch.autograd.graph.Node | None) -> None:
        if node is not None and node not in nodes:
            nodes.append(node)
            for before, _ in node.next_functions:
                walk(before)

    walk(model(None, pos).sum().grad_fn)
    assert not any("_Attention" in node.name() for node in nodes)
    layout = NodeLayout.of(pos)
    rows = torch.rand(9, 8, dtype=torch.float64, requires_grad=True)
    plain = model.blocks[0].mix(rows, layout).square().sum()
    again = checkpoint(model.blocks[0].mix, rows, layout, use_reentrant=False).square().sum()
    expected, found = (torch.autograd.grad(value, rows) for value in (plain, again))
    torch.testing.assert_close(found, expected)


def test_the_norm_twice_in_a_row():
    torch.manual_seed(0)
    norm = RMSNorm(4, gain=1).double()
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: norm(norm(x)), x)
    assert gradgradcheck(lambda x: norm(norm(x)), x)


def test_a_layout_with_measure_is_the_measure(inputs):
    """However the measure comes in, the answer and its derivatives are the same."""
    x, pos, measure = inputs
    model = used(
        GeometryOperator(6, 1, 2, channels=6, depth=2, heads=2, num_latents=3, local="MeshConv")
    )
    options = {"edge_index": EDGES}
    ways = [
        model(x, pos, BATCH, measure=measure, **options),
        model(x, pos, NodeLayout.of(pos, BATCH, measure=measure), **options),
        model(x, pos, GraphLayout.of(pos, BATCH, measure=measure, **options)),
    ]
    expected = torch.autograd.grad(ways[0].square().sum(), inputs, retain_graph=True)
    for way in ways[1:]:
        torch.testing.assert_close(way, ways[0])
        found = torch.autograd.grad(way.square().sum(), inputs, retain_graph=True)
        torch.testing.assert_close(found, expected)


def test_the_measure_of_a_passive_node_has_no_gradient_rather_than_nan(inputs):
    x, pos, measure = inputs
    measure = measure.detach().clone()
    measure[2] = 0
    measure.requires_grad_()
    for function in (LAYERS["lrsa"], LAYERS["operator with lrsa"]):
        (grad,) = torch.autograd.grad(function(x, pos, measure).square().sum(), measure)
        assert grad.isfinite().all()
