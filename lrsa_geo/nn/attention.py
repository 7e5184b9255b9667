"""Softmax attention between the nodes of each graph and a fixed number of latents.

Both directions call ``scaled_dot_product_attention``, whose fused kernels never hold the matrix of
nodes by latents, and neither does anything here but :func:`summarize`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lrsa_geo.nn.layout import NodeLayout, Parts


def compress(queries: Tensor, keys: Tensor, values: Tensor, layout: NodeLayout) -> Tensor:
    """Latents as weighted means over the nodes of each graph.

    z_m = sum_i a_mi v_i,  a_mi = w_i exp(q_m . k_i / sqrt(d)) / sum_j w_j exp(q_m . k_j / sqrt(d)),

    with i, j over the nodes of one graph and w their measures.

    Args:
        queries: ``[M, H, d]``, the same for every graph, or ``[B, M, H, d]``.
        keys: ``[R, H, d]`` packed.
        values: ``[R, H, d]`` packed.
        layout: the graphs, with their measures.

    Returns:
        ``[B, M, H, d]``; zeros for a graph without mass.
    """
    latents = []
    of_graphs = queries.expand(layout.num_graphs, -1, -1, -1)
    parts = zip(
        layout.groups,
        layout.split_graphs(of_graphs),
        layout.split(keys),
        layout.split(values),
        strict=True,
    )
    for group, q, k, v in parts:
        if group.width == 0:
            latents.append(torch.zeros_like(q, dtype=v.dtype))
            continue
        q = q.transpose(1, 2)
        bias = None if group.bias is None else group.bias.to(v.dtype)
        latents.append(attend(q, group.pad(k), group.pad(v), bias).transpose(1, 2))
    z = latents[0] if len(latents) == 1 else torch.cat(latents)
    if layout.massless is not None:
        z = z.masked_fill(layout.massless[:, None, None, None], 0)
    return z


def reconstruct(queries: Tensor, keys: Tensor, values: Tensor, layout: NodeLayout) -> Tensor:
    """Node features as weighted means over the latents of their graph.

    y_i = sum_m b_im v_m,  b_im = exp(q_i . k_m / sqrt(d)) / sum_n exp(q_i . k_n / sqrt(d)).

    Args:
        queries: ``[R, H, d]`` packed.
        keys: ``[B, M, H, d]``.
        values: ``[B, M, H, d]``.
        layout: the graphs.

    Returns:
        ``[R, H, d]`` packed.
    """
    rows = []
    per_group = zip(
        layout.groups,
        layout.split(queries),
        layout.split_graphs(keys),
        layout.split_graphs(values),
        strict=True,
    )
    for group, q, k, v in per_group:
        if group.rows:
            attended = attend(group.pad(q), k.transpose(1, 2), v.transpose(1, 2))
            rows.append(group.unpad(attended))
    if not rows:
        return queries
    return rows[0] if len(rows) == 1 else torch.cat(rows)


@dataclass(frozen=True)
class SoftmaxSummary:
    """What a softmax over nodes gathers from some of them; summaries of other nodes can be added.

    Attributes:
        log_mass: ``[B, M, H]`` log sum_i w_i exp(q_m . k_i / sqrt(d)); -inf for no mass.
        mean: ``[B, M, H, d]`` mean of the values, with these weights; 0 for no mass.
    """

    log_mass: Tensor
    mean: Tensor

    def __add__(self, other: SoftmaxSummary) -> SoftmaxSummary:
        """The summary of the nodes of both."""
        a, b = self.log_mass, other.log_mass
        neither = torch.isneginf(a) & torch.isneginf(b)
        ahead = torch.where(neither, 0, a - b)
        share = ahead.sigmoid()  # of self's mass in that of both
        return SoftmaxSummary(
            torch.maximum(a, b) + F.softplus(-ahead.abs()),
            share[..., None] * self.mean + (1 - share)[..., None] * other.mean,
        )

    def total(self, parts: Parts) -> SoftmaxSummary:
        """The summary of the nodes of all parts: sums of e^(log_mass - c), and with the mean.

        c is the largest log_mass, so that no sum is out of range.
        """
        top = parts.largest(self.log_mass)
        top = top.masked_fill(torch.isneginf(top), 0)
        mass = (self.log_mass - top).exp()
        mass, values = parts.sum(mass, mass[..., None] * self.mean)
        mean = values / mass.masked_fill(mass == 0, 1)[..., None]
        return SoftmaxSummary(mass.log() + top, mean)


def summarize(queries: Tensor, keys: Tensor, values: Tensor, layout: NodeLayout) -> SoftmaxSummary:
    """What :func:`compress` gathers, as a summary that can be added; arguments as there.

    It holds the matrix of nodes by latents: meant for chunks of nodes.
    """
    num_latents, heads, width = queries.shape
    masses, means = [], []
    for group, k, v in zip(layout.groups, layout.split(keys), layout.split(values), strict=True):
        if group.width == 0:
            means.append(values.new_zeros(group.num_graphs, num_latents, heads, width))
            masses.append(means[-1].new_full(means[-1].shape[:3], -torch.inf))
            continue
        logits = queries.transpose(0, 1) @ group.pad(k).mT * width**-0.5
        if group.bias is not None:
            logits = logits + group.bias.to(logits.dtype)
        means.append((logits.softmax(-1) @ group.pad(v)).transpose(1, 2))
        masses.append(logits.logsumexp(-1).transpose(1, 2))
    log_mass, mean = torch.cat(masses), torch.cat(means)
    if layout.mean_measure is not None:  # the layout's weights are over their mean
        tiny = torch.finfo(layout.mean_measure.dtype).tiny
        log_mean = layout.mean_measure.clamp(min=tiny).log().to(log_mass.dtype)
        log_mass = log_mass + log_mean[:, None, None]
    if layout.massless is not None:
        log_mass = log_mass.masked_fill(layout.massless[:, None, None], -torch.inf)
        mean = mean.masked_fill(layout.massless[:, None, None, None], 0)
    return SoftmaxSummary(log_mass, mean)


_second_derivatives = ContextVar("second derivatives", default=False)


def with_second_derivatives(
    inputs: Iterable[Tensor | None], function: Callable[..., Tensor], *arguments: Any
) -> Tensor:
    """Call a function so that attention in it can be differentiated twice, if an input needs that.

    Training alone has first derivatives, with respect to parameters, and pays for nothing more: no
    input of a model requires a gradient then.

    Args:
        inputs: of the model, such as positions.
        function: called with ``arguments``.
    """
    if torch.compiler.is_compiling():  # which knows first derivatives alone
        return function(*arguments)
    wanted = any(tensor is not None and tensor.requires_grad for tensor in inputs)
    before = _second_derivatives.set(wanted)
    try:
        return function(*arguments)
    finally:
        _second_derivatives.reset(before)


def _needs_second_derivatives() -> bool:
    if torch.compiler.is_compiling():
        return False
    return _second_derivatives.get() and torch.is_grad_enabled()


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v, by a fused kernel.

    The fused kernels have first derivatives only. Inside :func:`with_second_derivatives`, where
    one of second order is asked for (``create_graph=True``), the backward pass is worked out from
    the written-out form, which holds the matrix of weights.

    Args:
        q: ``[G, H, Q, d]``.
        k: ``[G, H, K, d]``.
        v: ``[G, H, K, d]``.
        bias: broadcasts to ``[G, H, Q, K]``.
    """
    if not _needs_second_derivatives():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    attended: Tensor = _Attention.apply(q, k, v, bias)
    return attended


class _Attention(torch.autograd.Function):
    """The fused kernel, whose backward pass works it out again.

    A graph made in the forward pass and walked in the backward one would be saved and unpacked
    within :func:`torch.utils.checkpoint.checkpoint`, which works everything out again for each walk
    of its own.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(q, k, v, bias)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        again = torch.is_grad_enabled()  # a second derivative is wanted
        tensors = list(ctx.saved_tensors)
        wanted = [n for n in range(4) if ctx.needs_input_grad[n]]
        with torch.enable_grad():
            if not again:
                tensors = [None if t is None else t.detach() for t in tensors]
                for n in wanted:
                    tensors[n].requires_grad_()
            q, k, v, bias = tensors
            if again:
                logits = q @ k.mT * q.shape[-1] ** -0.5
                out = (logits if bias is None else logits + bias).softmax(-1) @ v
            else:
                out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        found = torch.autograd.grad(out, [tensors[n] for n in wanted], grad, create_graph=again)
        grads: list[Tensor | None] = [None] * 4
        for n, value in zip(wanted, found, strict=True):
            grads[n] = value
        return tuple(grads)
