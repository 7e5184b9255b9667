"""Fourier features of node positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FourierEncoding(nn.Module):
    r"""Fourier features of node positions: sines and cosines on several scales.

    .. math::
        p \mapsto \big(p, \; \sin(2^k \pi p), \; \cos(2^k \pi p)\big)_{k = 0, \dots, K - 1}

    per coordinate: the longest wave spans a domain that reaches from -1 to 1. Multi-scale
    positions help these models from the first epoch on; waves shorter than two node spacings alias,
    and make a model that works on its training meshes alone.

    Args:
        pos_dim: D.
        octaves: K; 0 leaves the positions as they are.

    Shapes: ``(R, D)`` -> ``(R, D (1 + 2 K))``.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import FourierEncoding
        >>> FourierEncoding(pos_dim=2, octaves=3)(torch.rand(5, 2)).shape
        torch.Size([5, 14])
    """

    frequencies: Tensor

    def __init__(self, pos_dim: int, octaves: int) -> None:
        super().__init__()
        self.out_channels = pos_dim * (1 + 2 * octaves)
        frequencies = math.pi * 2.0 ** torch.arange(octaves)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, pos: Tensor) -> Tensor:
        """Positions and their sines and cosines."""
        phase = (pos[:, :, None] * self.frequencies).flatten(1)
        return torch.cat([pos, phase.sin(), phase.cos()], dim=1)
