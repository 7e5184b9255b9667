"""The norm of our own against PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lrsa_geo.nn.pointwise import EPS, RMSNorm


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
