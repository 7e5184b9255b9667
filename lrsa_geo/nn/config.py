"""Sizes and parts of a GeometryOperator, described once for code, YAML and command line."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

Order = Literal["local-first", "global-first", "parallel"]
"""In which order a block applies its local and its global layer."""


@dataclass
class OperatorConfig:
    """Sizes and parts of the network.

    Args:
        channels: C, width of the node features.
        depth: number of blocks.
        heads: H, attention heads.
        num_latents: M, latents per block.
        latent_depth: Transformer blocks on the latents of each block; 0 leaves them as gathered.
        ffn_ratio: width of the feed-forward layers over C.
        fourier_octaves: scales of the position encoding, see FourierEncoding; "auto" in a training
            for the most of which no wave is shorter than two spacings of the training nodes.
        mixer: the global layer of the blocks: a name of MIXERS ("lrsa", or a peer such as
            "transolver"), or "none" for message passing alone; in code also a class or a factory,
            called with those of channels, heads, num_latents, latent_depth and ffn_ratio that it
            names.
        mixer_options: further arguments of the mixer by name, such as {sharpness: 2.0}; see its
            class.
        compress_once: one block, whose mixer compresses and reconstructs once; all of ``depth`` is
            Transformer blocks on its latents (a latent neural operator, see CompressOnce). The
            cost on the nodes does not grow with the depth.
        local: message passing in the blocks: "MeshConv", or the name of a convolution of
            torch_geometric.nn; "GridConv" on regular grids; null for none; in code also a class,
            factory or instance, see LocalLayer. The command line takes the edges of the cells, or
            those to the six nearest neighbours in a point cloud.
        local_options: further arguments of the local layer by name, such as {grid: [64, 64],
            periodic: true}; see its class.
        local_blocks: numbers of the blocks that have it, such as [0, -1] for the first and the
            last; null for all. Not read without local. What it saves, and what it costs:
            datasets/elasticity/README.md.
        order: of the local and the global layer: "local-first", "global-first" or "parallel".
        checkpoint: keep nothing but the input of each block for the backward pass, and work out its
            inside again there: a step takes a third more time and a fraction of the memory, which
            is what meshes too large for a step need. The result is the same.
        relative_positions: positions count from the centre of mass of each graph: where the mesh
            lies does not matter.
    """

    channels: int = 128
    depth: int = 8
    heads: int = 8
    num_latents: int = 64
    latent_depth: int = 1
    ffn_ratio: float = 2.0
    fourier_octaves: int | Literal["auto"] = 5
    mixer: str | Callable[..., nn.Module] = "lrsa"
    mixer_options: Mapping[str, Any] = field(default_factory=dict)
    compress_once: bool = False
    local: str | nn.Module | Callable[..., nn.Module] | None = None
    local_options: Mapping[str, Any] = field(default_factory=dict)
    local_blocks: Sequence[int] | None = None
    order: Order = "local-first"
    checkpoint: bool = False
    relative_positions: bool = False

    def __post_init__(self) -> None:
        """Refuse sizes of which no network can be built.

        Raises:
            ValueError: naming the value.
        """
        for name in ("channels", "depth", "heads", "num_latents"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected at least 1")
        for name in ("latent_depth", "fourier_octaves"):
            if getattr(self, name) != "auto" and getattr(self, name) < 0:
                raise ValueError(f"`{name}` is {getattr(self, name)}, expected at least 0")
        if not 0 < self.ffn_ratio < math.inf or round(self.channels * self.ffn_ratio) < 1:
            raise ValueError(
                f"`ffn_ratio` is {self.ffn_ratio}, expected more than 0, and of {self.channels}"
                " channels at least one"
            )

    @property
    def num_blocks(self) -> int:
        """Blocks on the nodes."""
        return 1 if self.compress_once else self.depth

    def blocks_with_local(self) -> set[int]:
        """Numbers of the blocks with message passing, counted from the front.

        Raises:
            ValueError: ``local_blocks`` names none, or one that is not there.
        """
        if self.local is None:
            return set()
        if self.local_blocks is None:
            return set(range(self.num_blocks))
        if not self.local_blocks:
            raise ValueError("`local_blocks` names no block; `local` is None for none")
        for number in self.local_blocks:
            if not -self.num_blocks <= number < self.num_blocks:
                raise ValueError(f"`local_blocks` names block {number} of {self.num_blocks}")
        return {number % self.num_blocks for number in self.local_blocks}
