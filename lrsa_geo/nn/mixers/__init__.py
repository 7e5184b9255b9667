"""Global mixers of the low-rank template, one file each, under one contract (``base.py``)."""

from lrsa_geo.nn.mixers.base import LowRankMixer, Summary, WeightedSums
from lrsa_geo.nn.mixers.flare import FLARE
from lrsa_geo.nn.mixers.functional import FunctionalAttention
from lrsa_geo.nn.mixers.linear import LinearAttention
from lrsa_geo.nn.mixers.lrsa import LRSA, LatentBlock
from lrsa_geo.nn.mixers.symmetric import SymmetricLRSA
from lrsa_geo.nn.mixers.transolver import PhysicsAttention

MIXERS: dict[str, type[LowRankMixer]] = {
    "flare": FLARE,
    "functional": FunctionalAttention,
    "linear": LinearAttention,
    "lrsa": LRSA,
    "lrsa_symmetric": SymmetricLRSA,
    "transolver": PhysicsAttention,
}
"""The mixers by the names that a configuration uses."""

__all__ = [
    "FLARE",
    "LRSA",
    "MIXERS",
    "FunctionalAttention",
    "LatentBlock",
    "LinearAttention",
    "LowRankMixer",
    "PhysicsAttention",
    "Summary",
    "SymmetricLRSA",
    "WeightedSums",
]
