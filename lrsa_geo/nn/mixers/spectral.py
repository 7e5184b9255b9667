"""Fourier layers on regular grids: FNO and F-FNO, peers where the nodes are such a grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from lrsa_geo.nn.grid import check_grid, check_on_grid
from lrsa_geo.nn.layout import NodeLayout
from lrsa_geo.nn.mixers.base import Mixer
from lrsa_geo.nn.pointwise import Linear, modulate, reset_children


class SpectralMixer(Mixer):
    r"""Products of low Fourier modes on a regular grid (FNO, arXiv 2010.08895; F-FNO, 2111.13802).

    .. math::
        y = O \, \big( \mathcal F^{-1} (R \cdot \mathcal F x) + W x \big), \qquad
        (R \cdot \hat x)_k = R_k \hat x_k \;\; \text{for} \;\; |k_a| < m, \; 0 \text{ elsewhere}

    with a C x C matrix :math:`R_k` of complex numbers for every mode k. Factorised, the transform
    goes along one axis at a time, with matrices for each axis, and the results are added:

    .. math:: y = O \, \Big( \sum_a \mathcal F_a^{-1} (R^a \cdot \mathcal F_a x) \Big)

    In the template :math:`K \approx U G V^T`, V and U are fixed waves and G has a block for each.
    Every graph has the nodes of one grid, the last axis fastest. The order of the nodes counts;
    graphs of other sizes are refused, as are passive nodes. Measures are not looked at: those of a
    regular grid are alike. A step costs about 2 N C^2 + 4 m^D C^2 multiply-adds, and N C log N for
    the transforms.

    Args:
        channels: C.
        grid: points along each axis, such as ``(43, 43)``.
        modes: m, waves along each axis; at most half of the points.
        factorized: one axis at a time (F-FNO).

    Shapes: those of :class:`~lrsa_geo.nn.LRSA`.

    Raises:
        ValueError: a graph is no such grid, or an argument's shape or value does not fit.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import SpectralMixer
        >>> layer = SpectralMixer(channels=8, grid=(6, 5), modes=2)
        >>> layer(torch.randn(60, 8), torch.arange(60) // 30).shape
        torch.Size([60, 8])
    """

    def __init__(
        self, channels: int, grid: Sequence[int] = (), modes: int = 12, factorized: bool = False
    ) -> None:
        super().__init__(channels)
        self.grid = check_grid(grid)
        most = min(self.grid) // 2
        if not 1 <= modes <= most:
            raise ValueError(
                f"`modes` is {modes}, expected 1 to {most}, half of the points along the shortest"
                f" axis of {list(self.grid)}"
            )
        self.modes = modes
        self.factorized = factorized
        kept = self._kept()
        self.spectral = nn.ParameterList(
            torch.empty(*shape, channels, channels, 2) for shape, _ in kept
        )
        self.pointwise = None if factorized else Linear(channels, channels)
        self.reconstruct_out = Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights: the result has about the size of the input."""
        reset_children(self)
        for weights in self.spectral:
            nn.init.normal_(weights, std=(2 * self.channels) ** -0.5)

    def _kept(self) -> list[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """Shape and place of each block of modes that has weights, among those of a transform.

        A real transform has the waves k >= 0 along its last axis, and all along the others: low
        ones, and negative ones at the end.
        """
        m, axes = self.modes, len(self.grid)
        if self.factorized:
            return [((m,), (slice(m),)) for _ in self.grid]
        corners = product((slice(m), slice(-m, None)), repeat=axes - 1)
        return [((m,) * axes, (*corner, slice(m))) for corner in corners]

    def mix(self, rows: Tensor, layout: NodeLayout, modulation: Tensor | None = None) -> Tensor:
        """The layer on packed rows ``[R, C]``; ``modulation`` scales and shifts its input."""
        check_on_grid(layout, self.grid, type(self).__name__)
        if modulation is not None:
            rows = modulate(rows, modulation[layout.graph])
        # Transforms of half precision are none; these are few operations.
        with torch.autocast(rows.device.type, enabled=False):
            x = rows if rows.dtype == torch.float64 else rows.float()
            x = x.unflatten(0, (-1, *self.grid))
            y = self._along_axes(x) if self.factorized else self._of_all_axes(x)
        y = y.flatten(0, -2)
        if self.pointwise is not None:
            y = y + self.pointwise(rows)
        return self.reconstruct_out(y)

    def _of_all_axes(self, x: Tensor) -> Tensor:
        axes = tuple(range(1, x.dim() - 1))
        waves = torch.fft.rfftn(x, dim=axes, norm="ortho")
        kept = torch.zeros_like(waves)
        for weights, (_, place) in zip(self.spectral, self._kept(), strict=True):
            index = (slice(None), *place)
            kept[index] = _times(waves[index], weights)
        return torch.fft.irfftn(kept, s=self.grid, dim=axes, norm="ortho")

    def _along_axes(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for axis, (weights, points) in enumerate(zip(self.spectral, self.grid, strict=True), 1):
            waves = torch.fft.rfft(x, dim=axis, norm="ortho").movedim(axis, -2)
            kept = torch.zeros_like(waves)
            kept[..., : self.modes, :] = _times(waves[..., : self.modes, :], weights)
            kept = kept.movedim(-2, axis)
            total = total + torch.fft.irfft(kept, n=points, dim=axis, norm="ortho")
        return total


def _times(waves: Tensor, weights: Tensor) -> Tensor:
    """``[..., modes, C]`` times ``[modes, C, C, 2]``, mode by mode: a product for each of them."""
    matrices = torch.view_as_complex(weights.to(waves.real.dtype).contiguous())
    modes, channels = matrices.shape[:-2], matrices.shape[-1]
    rows = waves.reshape(-1, modes.numel(), channels).transpose(0, 1)
    multiplied = rows @ matrices.flatten(0, -3)  # [modes, rows, C]
    return multiplied.transpose(0, 1).reshape(waves.shape)
