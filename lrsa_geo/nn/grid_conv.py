"""GridConv: a dense convolution on graphs that are regular grids."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lrsa_geo.nn.grid import check_grid, check_on_grid
from lrsa_geo.nn.layout import NodeLayout

_CONVOLUTIONS: tuple[Callable[..., nn.Conv1d | nn.Conv2d | nn.Conv3d], ...] = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
)


class GridConv(nn.Module):
    r"""A dense convolution over the neighbours on a regular grid, 3 x 3 in the plane.

    .. math:: y_i = b + \sum_{o \in \{-1, 0, 1\}^D} W_o \, x_{i + o}

    with zeros beyond the sides, or the other side's values where the domain is periodic. As a local
    layer with ``order: global-first`` it stands in front of the feed-forward layer, where the
    authors of LRSA have one on grids (arXiv 2604.03582, their public code).

    Every graph has the nodes of one grid, the last axis fastest; graphs of other sizes are refused,
    as are passive nodes. Positions, edges and measures are not looked at. Turning the grid changes
    the answer, and so does another spacing. It costs :math:`3^D N C^2` multiply-adds.

    Args:
        channels: C.
        grid: points along each axis, such as ``(64, 64)``; one to three axes.
        periodic: the sides are joined; one answer for all axes, or one for each.
        width: points along each axis that are seen, odd.

    Shapes: **x** ``(R, C)`` -> ``(R, C)``.

    Raises:
        ValueError: a graph is no such grid, or an argument's shape or value does not fit.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import GridConv, NodeLayout
        >>> layer, x = GridConv(channels=8, grid=(6, 5), periodic=True), torch.randn(60, 8)
        >>> layer(x, NodeLayout.of(x, torch.arange(60) // 30)).shape
        torch.Size([60, 8])
    """

    def __init__(
        self,
        channels: int,
        grid: Sequence[int] = (),
        periodic: bool | Sequence[bool] = False,
        width: int = 3,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.grid = check_grid(grid)
        axes = len(self.grid)
        if axes > len(_CONVOLUTIONS):
            raise ValueError(f"`grid` is {list(grid)}, expected one to three axes")
        self.periodic = (periodic,) * axes if isinstance(periodic, bool) else tuple(periodic)
        if len(self.periodic) != axes:
            raise ValueError(f"`periodic` has {len(self.periodic)} values for {axes} axes")
        if width < 1 or width % 2 == 0:
            raise ValueError(f"`width` is {width}, expected an odd number")
        self.reach = width // 2
        for points, joined in zip(self.grid, self.periodic, strict=True):
            if joined and points < self.reach:
                raise ValueError(
                    f"a periodic axis has {points} points, fewer than the {self.reach} to each"
                    f" side that `width` {width} looks at"
                )
        inside = [0 if joined else self.reach for joined in self.periodic]
        self.conv = _CONVOLUTIONS[axes - 1](channels, channels, width, padding=inside)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights: the result has about the size of the input."""
        std = self.conv.weight[0].numel() ** -0.5
        nn.init.trunc_normal_(self.conv.weight, std=std, a=-2 * std, b=2 * std)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor, layout: NodeLayout) -> Tensor:
        """Mix neighbours of packed rows.

        Args:
            x: ``[R, C]``.
            layout: the graphs, each of them one grid.
        """
        check_on_grid(layout, self.grid, type(self).__name__)
        grids = x.unflatten(0, (-1, *self.grid)).movedim(-1, 1)
        joined = [self.reach if joined else 0 for joined in self.periodic]
        if any(joined):
            pads = [pad for axis in reversed(joined) for pad in (axis, axis)]
            grids = F.pad(grids, pads, mode="circular")
        y: Tensor = self.conv(grids)
        return y.movedim(1, -1).flatten(0, -2)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.channels}, {list(self.grid)}, {self.periodic})"
