"""Gradients chunk by chunk are those of the model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrsa_geo.nn import MIXERS, GeometryOperator, LowRankMixer, stream, stream_with_gradients
from lrsa_geo.study import peak_memory

LOW_RANK = [name for name, kind in MIXERS.items() if issubclass(kind, LowRankMixer)]


def model_of(**changes: object) -> GeometryOperator:
    torch.manual_seed(0)
    sizes = {"channels": 16, "depth": 2, "heads": 2, "num_latents": 4, "fourier_octaves": 2}
    return GeometryOperator(2, 3, 2, **{**sizes, **changes}).double()


def case(nodes: int, model: GeometryOperator, edges: int = 0) -> tuple[dict, dict]:
    """Arguments that gradients are taken of, and others."""
    draw = torch.Generator().manual_seed(nodes)
    given = {
        "x": torch.randn(nodes, 2, generator=draw).double(),
        "pos": torch.rand(nodes, 2, generator=draw).double(),
        "measure": torch.rand(nodes, generator=draw).double() + 0.1,
    }
    if model.cond_channels:
        given["cond"] = torch.randn(1, model.cond_channels, generator=draw).double()
    for tensor in given.values():
        tensor.requires_grad_()
    others = {}
    if model.needs_edges:
        others["edge_index"] = torch.randint(nodes, (2, edges), generator=draw)
    return given, others


def result_and_loss(call, given: dict[str, Tensor], others: dict) -> tuple[Tensor, Tensor]:
    """What a model gives, and a number that depends on each of its values in another way."""
    given = dict(given)
    y = call(given.pop("x"), given.pop("pos"), **given, **others)
    weights = torch.linspace(-1, 2, y.numel()).double().view_as(y)
    return y, (weights * y.square()).sum()


def assert_same(model: GeometryOperator, nodes: int, chunk: int, edges: int = 0) -> None:
    given, others = case(nodes, model, edges)
    inputs = [*given.values(), *model.parameters()]

    def streamed(x, pos, **more):
        return stream_with_gradients(model, x, pos, chunk=chunk, **more)

    expected, loss = result_and_loss(model, given, others)
    expected_grads = torch.autograd.grad(loss, inputs, allow_unused=True)
    found, loss = result_and_loss(streamed, given, others)
    found_grads = torch.autograd.grad(loss, inputs, allow_unused=True)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    scale = max(float(g.abs().max()) for g in expected_grads if g is not None)
    for grad, one in zip(found_grads, expected_grads, strict=True):
        grad = torch.zeros_like(one) if grad is None and one is not None else grad
        one = torch.zeros_like(grad) if one is None and grad is not None else one
        assert (grad is None) == (one is None)
        if grad is not None:
            assert (grad - one).abs().max() <= 1e-10 * scale


@pytest.mark.parametrize("mixer", LOW_RANK)
def test_every_mixer_of_low_rank(mixer: str) -> None:
    assert_same(model_of(mixer=mixer, cond_channels=2), 53, 17)


@pytest.mark.parametrize("mixer", ["lrsa", "transolver", "none"])
@pytest.mark.parametrize("order", ["local-first", "global-first", "parallel"])
@pytest.mark.parametrize("chunk", [13, 100])
def test_message_passing_beyond_a_chunk(mixer: str, order: str, chunk: int) -> None:
    model = model_of(mixer=mixer, local="MeshConv", order=order, cond_channels=1)
    assert_same(model, 40, chunk, edges=150)


def test_some_blocks_have_message_passing() -> None:
    assert_same(model_of(local="MeshConv", local_blocks=[-1], order="parallel"), 40, 9, edges=99)


@settings(max_examples=25, deadline=None)
@given(
    nodes=st.integers(1, 40),
    chunk=st.integers(1, 60),
    conditioned=st.booleans(),
    relative=st.booleans(),
    once=st.booleans(),
)
def test_any_chunks_give_the_same(nodes, chunk, conditioned, relative, once) -> None:
    model = model_of(cond_channels=2 * conditioned, relative_positions=relative, compress_once=once)
    assert_same(model, nodes, chunk)


def test_passive_nodes_have_no_gradient_and_none_is_nan() -> None:
    model = model_of()
    pos, measure = torch.rand(30, 2).double().requires_grad_(), torch.ones(30).double()
    measure[::3] = 0
    x = torch.randn(30, 2).double()
    y = stream_with_gradients(model, x, pos, measure=measure, chunk=7)
    heard = torch.arange(30) % 3 > 0
    (grad,) = torch.autograd.grad(y[heard].sum(), [pos])
    assert grad.isfinite().all()
    assert (grad[~heard] == 0).all()
    assert (grad[heard] != 0).any()


def test_parameters_that_are_frozen_stay_without_gradient() -> None:
    model = model_of()
    model.lift.requires_grad_(False)
    pos = torch.rand(20, 2).double()
    stream_with_gradients(model, torch.randn(20, 2).double(), pos, chunk=6).sum().backward()
    assert all(p.grad is None for p in model.lift.parameters())
    assert all(p.grad is not None for p in model.project.parameters())


def test_a_second_backward_pass_is_refused() -> None:
    model = model_of()
    y = stream_with_gradients(model, torch.randn(20, 2).double(), torch.rand(20, 2).double())
    y.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="stream_with_gradients once more"):
        y.sum().backward()


def test_lower_precision_is_that_of_the_model() -> None:
    model = model_of().float()
    x, pos = torch.randn(300, 2), torch.rand(300, 2)
    found = []
    for call in (model, lambda *given: stream_with_gradients(model, *given, chunk=70)):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            y = call(x, pos)
        y.float().square().mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert (found[0] - found[1]).norm() <= 0.05 * found[0].norm()


def test_memory_is_that_of_the_features() -> None:
    """Of one forward and backward pass: far below what the model keeps."""
    model = GeometryOperator(0, 1, 2, channels=32, depth=4, heads=2, num_latents=16)
    pos = torch.rand(40_000, 2)
    features = 40_000 * 32 * 4

    def plain() -> None:
        model(None, pos).square().mean().backward()

    def streamed() -> None:
        stream_with_gradients(model, None, pos, chunk=2000).square().mean().backward()

    plain(), streamed()
    assert peak_memory(streamed) < 12 * features  # 5 states, a gradient, and chunks
    assert peak_memory(streamed) < 0.35 * peak_memory(plain)


@pytest.mark.parametrize(
    ("changes", "more", "message"),
    [
        ({}, {"chunk": 0}, "`chunk` is 0"),
        ({"mixer": "full"}, {}, "block 0 mixes by FullAttention"),
        ({"local": "MeshConv"}, {}, "`edge_index` is None"),
    ],
)
def test_what_cannot_be_streamed_is_refused(changes, more, message) -> None:
    with pytest.raises(ValueError, match=message):
        stream_with_gradients(
            model_of(**changes), torch.randn(9, 2).double(), torch.rand(9, 2).double(), **more
        )


@pytest.mark.parametrize("mixer", LOW_RANK)
def test_a_chunk_without_mass_has_the_gradient_of_the_model(mixer: str) -> None:
    """Chunks of two: the first one has passive nodes alone, whose measure may yet count."""
    model = model_of(mixer=mixer, depth=1)
    given, _ = case(6, model)
    measure = torch.tensor([0.0, 0, 1, 1, 1, 1]).double().requires_grad_()
    given["measure"] = measure

    def streamed(x, pos, **more):
        return stream_with_gradients(model, x, pos, chunk=2, **more)

    _, loss = result_and_loss(model, given, {})
    expected = torch.autograd.grad(loss, measure)
    _, loss = result_and_loss(streamed, given, {})
    torch.testing.assert_close(torch.autograd.grad(loss, measure), expected)


@pytest.mark.parametrize("mixer", LOW_RANK)
def test_a_measure_in_another_precision(mixer: str) -> None:
    model = model_of(mixer=mixer).float()
    x, pos, measure = torch.randn(30, 2), torch.rand(30, 2), torch.rand(30).double() + 0.1
    found = stream_with_gradients(model, x, pos, measure=measure, chunk=7)
    torch.testing.assert_close(found, model(x, pos, measure=measure), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(stream(model, x, pos, measure=measure, chunk=7), found.detach())
