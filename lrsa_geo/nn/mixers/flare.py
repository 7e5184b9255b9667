"""FLARE: attention routed through learned queries, with deep keys and values."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrsa_geo.nn.mixers.tied import TiedAttention
from lrsa_geo.nn.pointwise import Linear, reset_children


class ResidualMLP(nn.Module):
    r"""Linear layers with a residual around each: the keys and values of FLARE.

    .. math::
        h \leftarrow x + \mathrm{GELU}(W_1 x), \qquad
        h \leftarrow h + \mathrm{GELU}(W_l h), \quad l = 2, \dots, L + 1, \qquad
        y = h + W_{L + 2} h

    with biases, and the tanh form of GELU, as in the authors' code.

    Args:
        channels: C.
        layers: L.
    """

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(Linear(channels, channels) for _ in range(layers + 1))
        self.out = Linear(channels, channels)

    def reset_parameters(self) -> None:
        """Draw new weights."""
        reset_children(self)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., C]`` -> ``[..., C]``."""
        for layer in self.hidden:
            x = x + F.gelu(layer(x), approximate="tanh")
        return x + self.out(x)


class FLARE(TiedAttention):
    r"""Fast Low-rank Attention Routing Engine (arXiv 2508.12594), on graphs of any sizes.

    .. math::
        Z = \mathrm{softmax}_{i \in g}\big(Q k(x_i)^T + \log w_i\big) \, v(x_i), \qquad
        y_i = O \, \mathrm{softmax}_m\big(k(x_i) Q^T\big) \, Z

    per head, with :math:`k, v` residual MLPs and logits that are not divided by
    :math:`\sqrt d`. In the template :math:`K \approx U G V^T`, U and V are tied
    (:class:`~lrsa_geo.nn.mixers.tied.TiedAttention`) and G is the identity: what
    :class:`~lrsa_geo.nn.LRSA` does on the latents, FLARE does on the nodes. A step costs
    (2 L + 5) N C^2 + 4 N M C multiply-adds, 3 N C^2 + 4 N M C with linear keys and values. The
    measures :math:`w_i` are ours, 1 in the paper.

    Args:
        channels: C, a multiple of ``heads``.
        heads: H.
        num_latents: M.
        kv_layers: hidden layers L of the MLPs of keys and values, 3 in the paper; -1 makes both
            linear.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Raises:
        ValueError: an argument's shape or value does not fit, see :meth:`NodeLayout.of`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import FLARE
        >>> layer = FLARE(channels=16, heads=2, num_latents=4)
        >>> layer(torch.randn(5, 16), torch.tensor([0, 0, 0, 1, 1])).shape
        torch.Size([5, 16])
    """

    def __init__(
        self, channels: int, heads: int = 8, num_latents: int = 64, kv_layers: int = 3
    ) -> None:
        super().__init__(channels, heads, num_latents)
        if kv_layers < -1:
            raise ValueError(f"`kv_layers` is {kv_layers}, expected at least -1")

        def projection() -> nn.Module:
            return Linear(channels, channels) if kv_layers < 0 else ResidualMLP(channels, kv_layers)

        self.latents = nn.Parameter(torch.empty(num_latents, heads, self.head_width))
        self.to_keys = projection()
        self.to_values = projection()
        self.reconstruct_out = Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights; the queries have standard deviation 0.1, as in the authors' code."""
        nn.init.normal_(self.latents, std=0.1)
        reset_children(self)

    def prepare(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values ``[R, H, d]``."""
        heads = (self.heads, -1)
        return self.to_keys(rows).unflatten(-1, heads), self.to_values(rows).unflatten(-1, heads)

    def latent_queries(self) -> Tensor:
        """The latents times sqrt(d), for FLARE's logits are not divided by it."""
        return self.latents * self.latents.shape[-1] ** 0.5

    def process(self, z: Tensor) -> Tensor:
        """The latents as they are."""
        return z
