"""Layers that act on each row alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn.inits import reset

_TOO_MANY_TO_KEEP = 1 << 22  # hidden numbers of a feed-forward layer
EPS = 1e-6  # PyTorch's default depends on the dtype, and so would the answer


class RMSNorm(nn.Module):
    r"""Root-mean-square normalisation of the last axis (arXiv 1910.07467).

    .. math::
        y = g \, x \, / \sqrt{\mathrm{mean}(x^2) + 10^{-6}}

    A gain :math:`g` in front of a linear layer, or on both sides of a dot product, can be absorbed
    there: such norms have none, which saves passes over the nodes.

    Args:
        width: length of the last axis.
        gain: learn g, one number per entry of the last axis, from this value on; None for no g.
    """

    def __init__(self, width: int, gain: float | None = None) -> None:
        super().__init__()
        self.width = width
        self.start = gain
        self.gain = None if gain is None else nn.Parameter(torch.full((width,), float(gain)))

    def reset_parameters(self) -> None:
        """Set the gain to what it starts from."""
        if self.gain is not None and self.start is not None:
            nn.init.constant_(self.gain, self.start)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., width]`` -> ``[..., width]``."""
        return self.amplified(rms_normalized(x))

    def amplified(self, y: Tensor) -> Tensor:
        """Normalised y, times the gain."""
        return y if self.gain is None else y * self.gain

    def extra_repr(self) -> str:
        """What the printed module shows."""
        return f"{self.width}, gain={self.start}"


def rms_normalized(x: Tensor) -> Tensor:
    """:class:`RMSNorm` without a gain."""
    # On a CPU, PyTorch composes rms_norm of six passes over memory; two and three suffice.
    if x.device.type == "cpu" and not torch.compiler.is_compiling() and x.dtype.itemsize >= 4:
        y: Tensor = _RootMeanSquare.apply(x)[0]
        return y
    return F.rms_norm(x, x.shape[-1:], eps=EPS)


class _RootMeanSquare(torch.autograd.Function):
    """y = r x with r = (mean(x^2) + eps)^(-1/2); dx = r (dy - y mean(dy y)).

    r is an output too, so that the backward pass can be differentiated once more: through it,
    dx = -r^2 dr y / C.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        r = torch.addcmul(norm.new_full((), EPS), norm, norm, value=1 / x.shape[-1]).rsqrt_()
        y = x * r
        ctx.save_for_backward(y, r)
        return y, r

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dr: Tensor | None) -> Tensor | None:
        y, r = ctx.saved_tensors
        width = y.shape[-1]
        if dy is None:
            return None if dr is None else -(r.square() * dr / width) * y
        total = (dy.unsqueeze(-2) @ y.unsqueeze(-1)).squeeze(-1)  # without the products in memory
        if dr is None and not torch.is_grad_enabled():
            return torch.addcmul(dy, y, total, value=-1 / width).mul_(r)
        dx = r * (dy - y * total / width)
        return dx if dr is None else dx - (r.square() * dr / width) * y


class Linear(nn.Linear):
    """``torch.nn.Linear`` that starts with truncated normal weights and no bias.

    Args:
        in_features, out_features, bias: those of ``torch.nn.Linear``.
        parts: weight matrices that are stacked here for the sake of one product, such as those of
            keys and values; :class:`~lrsa_geo.train.Muon` orthogonalises each on its own.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, parts: int = 1
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.parts = parts

    def reset_parameters(self) -> None:
        """Standard deviation 1 / sqrt(fan in), cut at two of them."""
        std = self.in_features**-0.5
        nn.init.trunc_normal_(self.weight, std=std, a=-2 * std, b=2 * std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class FeedForward(nn.Module):
    """x -> W2 GELU(W1 x + b1) + b2.

    Args:
        in_channels: width of x.
        hidden: width of the hidden layer.
        out_channels: width of the result.
    """

    def __init__(self, in_channels: int, hidden: int, out_channels: int) -> None:
        super().__init__()
        self.hidden = Linear(in_channels, hidden)
        self.out = Linear(hidden, out_channels)

    def reset_parameters(self) -> None:
        """Draw new weights."""
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in_channels]`` -> ``[..., out_channels]``."""
        hidden = self.hidden(x)
        keep = hidden.numel() < _TOO_MANY_TO_KEEP or not torch.is_grad_enabled()
        if torch.compiler.is_compiling() or keep:
            return self.out(F.gelu(hidden))
        y: Tensor = _LinearOfGELU.apply(hidden, self.out.weight, self.out.bias)
        return y


class _LinearOfGELU(torch.autograd.Function):
    """y = W GELU(h) + b, of which h alone is kept: the backward pass works GELU(h) out again.

    GELU(h) is the widest tensor of a block, a fifth of what a step keeps. With 32,000 nodes working
    it out again takes 1 % of the layer's time, with 1,000, whose numbers stay near, 20 %.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(h, weight)
        return F.linear(F.gelu(h), weight, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        h, weight = ctx.saved_tensors
        of_h, of_weight, of_bias = ctx.needs_input_grad
        rows = dy.reshape(-1, dy.shape[-1])
        dh = dw = db = None
        if of_weight:
            dw = rows.mT @ F.gelu(h).reshape(-1, h.shape[-1])
        if of_bias:
            db = rows.sum(0)
        if of_h:
            dh = torch.ops.aten.gelu_backward(dy @ weight.to(dy.dtype), h)
        return dh, dw, db


def reset_children(module: nn.Module) -> None:
    """Draw new weights in everything inside a module."""
    for child in module.children():
        reset(child)


def modulate(x: Tensor, modulation: Tensor) -> Tensor:
    """(1 + g) x + s with (g, s) the halves of ``modulation``, ``[..., 2 C]``."""
    gain, shift = modulation.chunk(2, dim=-1)
    return torch.addcmul(x + shift, x, gain)
