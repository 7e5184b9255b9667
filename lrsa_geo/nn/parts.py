"""Which layers can work on a mesh in parts: chunks of a stream, or the parts of processes."""

from __future__ import annotations

from torch import nn

from lrsa_geo.nn.local import LocalLayer
from lrsa_geo.nn.mesh_conv import MeshConv
from lrsa_geo.nn.mixers import LowRankMixer, Mixer


def needs_whole_mesh(module: nn.Module) -> nn.Module | None:
    """The first layer inside that must see all nodes of a mesh at once; None if there is none.

    What mixers of low rank gather adds up, and :class:`MeshConv` reads no more than a node's
    neighbours.

    Returns:
        The mixer, or the convolution of the local layer.
    """
    of_low_rank: set[nn.Module] = set()
    for found in module.modules():
        if isinstance(found, LowRankMixer):
            of_low_rank.update(found.modules())
        elif isinstance(found, Mixer) and found not in of_low_rank:
            return found
        elif isinstance(found, LocalLayer) and not isinstance(found.conv, MeshConv):
            return found.conv
    return None
