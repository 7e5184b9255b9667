"""Functional attention: a least-squares operator between coefficients of softmax bases."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lrsa_geo.nn.mixers.transolver import PhysicsAttention


class FunctionalAttention(PhysicsAttention):
    r"""Functional Attention, FuncAttn (arXiv 2605.31559), on graphs of any sizes.

    .. math::
        Z \leftarrow q(Z) \big((1 - \alpha) k(Z)^T k(Z) + \alpha I\big)^{-1} k(Z)^T v(Z), \qquad
        \alpha = \mathrm{sigmoid}(a)

    per head, between compress and reconstruct of :class:`~lrsa_geo.nn.PhysicsAttention`: the nodes'
    softmax over M functions is a basis, Z the coefficients of the values in it, and the operator on
    the coefficients is a regularised least-squares map in place of softmax attention. In the
    template :math:`K \approx U G V^T` that map is G; a is one number, learned for the layer. It
    costs 3 H M d^2 multiply-adds and a system of d equations per head, in place of 2 H M^2 d.

    Args:
        channels: C, a multiple of ``heads``.
        heads: H.
        num_latents: M, the paper's basis functions.
        slices_start: see :class:`~lrsa_geo.nn.PhysicsAttention`.

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Raises:
        ValueError: an argument's shape or value does not fit, see :meth:`NodeLayout.of`.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import FunctionalAttention
        >>> layer = FunctionalAttention(channels=16, heads=2, num_latents=4)
        >>> layer(torch.randn(5, 16), torch.tensor([0, 0, 0, 1, 1])).shape
        torch.Size([5, 16])
    """

    def __init__(
        self,
        channels: int,
        heads: int = 8,
        num_latents: int = 64,
        slices_start: str = "orthogonal",
    ) -> None:
        super().__init__(channels, heads, num_latents, slices_start)
        self.regularisation = nn.Parameter(torch.tensor(1e-3))

    def reset_parameters(self) -> None:
        """Draw new weights; the regularisation starts at sigmoid(0.001), as in the paper's code."""
        super().reset_parameters()
        if hasattr(self, "regularisation"):  # not yet when the superclass draws its weights
            nn.init.constant_(self.regularisation, 1e-3)

    def process(self, z: Tensor) -> Tensor:
        """The least-squares operator on the coefficients of each graph and head, ``[B, M, C]``."""
        per_head = z.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, k, v = self.to_qkv(per_head).chunk(3, dim=-1)
        exact = torch.promote_types(z.dtype, torch.float32)  # no solver has half precision
        with torch.autocast(z.device.type, enabled=False):
            k, v = k.to(exact), v.to(exact)
            alpha = self.regularisation.to(exact).sigmoid()
            identity = torch.eye(k.shape[-1], dtype=exact, device=z.device)
            gram = (1 - alpha) * (k.mT @ k) + alpha * identity
            operator = torch.linalg.solve(gram, k.mT @ v)
        return (q @ operator.to(q.dtype)).transpose(1, 2).flatten(2)
