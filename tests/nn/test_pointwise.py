"""The norm and the feed-forward layer of our own against PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lrsa_geo.nn import pointwise
from lrsa_geo.nn.pointwise import EPS, FeedForward, RMSNorm


@pytest.mark.parametrize("shape", [(8,), (5, 8), (3, 5, 8), (0, 8)])
def test_equals_pytorchs_forward_and_backward(shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    dy = torch.randn(shape, dtype=torch.float64)
    ours, theirs = RMSNorm(8)(x), F.rms_norm(x, (8,), eps=EPS)
    torch.testing.assert_close(ours, theirs)
    (dx,) = torch.autograd.grad(ours, x, dy)
    (expected,) = torch.autograd.grad(theirs, x, dy)
    torch.testing.assert_close(dx, expected)


def test_rows_of_zeros_and_of_tiny_numbers():
    x = torch.tensor([[0.0] * 4, [1e-30] * 4, [1e-3] * 4], requires_grad=True)
    y = RMSNorm(4)(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


def test_gain_scales_each_entry():
    norm = RMSNorm(4, gain=1)
    norm.gain.data = torch.tensor([1.0, 2, 3, 4])
    x = torch.randn(5, 4)
    torch.testing.assert_close(norm(x), RMSNorm(4)(x) * norm.gain)


@pytest.fixture
def many(monkeypatch) -> None:
    """A few hidden numbers are many."""
    monkeypatch.setattr(pointwise, "_TOO_MANY_TO_KEEP", 0)


def written_out(layer: FeedForward, x: torch.Tensor) -> torch.Tensor:
    return layer.out(F.gelu(layer.hidden(x)))


@pytest.mark.parametrize("frozen", ["nothing", "out", "hidden", "input"])
@pytest.mark.parametrize("shape", [(5,), (7, 5), (2, 3, 5), (0, 5)])
def test_a_feed_forward_layer_has_the_gradients_of_what_it_is(shape, frozen, many):
    torch.manual_seed(0)
    layer = FeedForward(5, 9, 4).double()
    layer.out.requires_grad_(frozen != "out")
    layer.hidden.requires_grad_(frozen != "hidden")
    x = torch.randn(shape, dtype=torch.float64, requires_grad=frozen != "input")
    wanted = [p for p in (x, *layer.parameters()) if p.requires_grad]
    ours, theirs = layer(x), written_out(layer, x)
    torch.testing.assert_close(ours, theirs)
    dy = torch.randn_like(ours)
    expected = torch.autograd.grad(theirs, wanted, dy)
    for found, gradient in zip(torch.autograd.grad(ours, wanted, dy), expected, strict=True):
        torch.testing.assert_close(found, gradient)


def test_a_feed_forward_layer_can_be_differentiated_twice(many):
    torch.manual_seed(0)
    layer = FeedForward(3, 4, 2).double()
    x = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    parameters = tuple(layer.parameters())
    assert torch.autograd.gradgradcheck(lambda x, *_: layer(x), (x, *parameters))


def test_a_feed_forward_layer_keeps_the_hidden_numbers_once(many):
    layer, x = FeedForward(8, 32, 8), torch.randn(100, 8)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(x)
    of_parameters = sum(4 * p.numel() for p in (layer.hidden.weight, layer.out.weight))
    assert sum(kept.values()) <= 4 * 100 * (8 + 32) + of_parameters


def test_a_feed_forward_layer_in_half_precision_is_near_the_exact_one(many):
    torch.manual_seed(0)
    layer, x = FeedForward(8, 16, 4), torch.randn(20, 8)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype is torch.bfloat16
    found = torch.autograd.grad(y.float().square().sum(), tuple(layer.parameters()))
    exact = torch.autograd.grad(written_out(layer, x).square().sum(), tuple(layer.parameters()))
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.dtype is torch.float32
        assert (ours - theirs).norm() < 0.03 * theirs.norm()
