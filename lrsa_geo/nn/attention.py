"""Softmax attention between the nodes of each graph and a fixed number of latents.

Both directions call ``scaled_dot_product_attention``, whose fused kernels never hold the matrix of
nodes by latents, and neither does anything here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from lrsa_geo.nn.ragged import NodeLayout


def compress(queries: Tensor, keys: Tensor, values: Tensor, layout: NodeLayout) -> Tensor:
    """Latents as weighted means over the nodes of each graph.

    z_m = sum_i a_mi v_i,  a_mi = w_i exp(q_m . k_i / sqrt(d)) / sum_j w_j exp(q_m . k_j / sqrt(d)),

    with i, j over the nodes of one graph and w their measures.

    Args:
        queries: ``[M, H, d]``, the same for every graph.
        keys: ``[R, H, d]`` packed.
        values: ``[R, H, d]`` packed.
        layout: the graphs, with their measures.

    Returns:
        ``[B, M, H, d]``; zeros for a graph without mass.
    """
    num_latents, heads, width = queries.shape
    latents = []
    for block, k, v in zip(layout.blocks, layout.split(keys), layout.split(values), strict=True):
        if block.width == 0:
            latents.append(values.new_zeros(block.num_graphs, num_latents, heads, width))
            continue
        q = queries.transpose(0, 1).expand(block.num_graphs, -1, -1, -1)
        bias = None if block.bias is None else block.bias.to(v.dtype)
        z = scaled_dot_product_attention(q, block.pad(k), block.pad(v), attn_mask=bias)
        latents.append(z.transpose(1, 2))
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
    per_block = zip(
        layout.blocks,
        layout.split(queries),
        layout.split_graphs(keys),
        layout.split_graphs(values),
        strict=True,
    )
    for block, q, k, v in per_block:
        if block.rows:
            attended = scaled_dot_product_attention(
                block.pad(q), k.transpose(1, 2), v.transpose(1, 2)
            )
            rows.append(block.unpad(attended))
    if not rows:
        return queries
    return rows[0] if len(rows) == 1 else torch.cat(rows)
