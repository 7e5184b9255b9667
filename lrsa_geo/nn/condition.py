"""Graph-level parameters, such as a load or a Mach number, for every block of an operator."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from lrsa_geo.nn.pointwise import FeedForward, Linear


class Condition(nn.Module):
    r"""Modulations of every block and of the output by graph-level parameters.

    .. math::
        (\gamma_l, \sigma_l) = W_l \, \mathrm{MLP}(c), \quad l = 0, \dots, L

    Block l works on latents :math:`(1 + \gamma_l) Z + \sigma_l`, the output on
    :math:`(1 + \gamma_L) \mathrm{Norm}(h) + \sigma_L`. A load that scales a field does not survive
    the normalisations of a deep network otherwise. The W start at zero.

    Args:
        cond_channels: P.
        channels: C.
        depth: L.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import Condition
        >>> [modulation.shape for modulation in Condition(2, channels=8, depth=1)(torch.rand(3, 2))]
        [torch.Size([3, 16]), torch.Size([3, 16])]
    """

    def __init__(self, cond_channels: int, channels: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.embed = FeedForward(cond_channels, channels, channels)
        self.to_modulations = Linear(channels, (depth + 1) * 2 * channels)

    def reset_parameters(self) -> None:
        """Draw new weights."""
        self.embed.reset_parameters()
        nn.init.zeros_(self.to_modulations.weight)
        nn.init.zeros_(self.to_modulations.bias)

    def forward(self, cond: Tensor) -> tuple[Tensor, ...]:
        """``[B, P]`` -> L + 1 times ``[B, 2 C]``."""
        return self.to_modulations(F.gelu(self.embed(cond))).chunk(self.depth + 1, dim=1)
