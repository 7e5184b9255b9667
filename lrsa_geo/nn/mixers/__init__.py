"""Global mixers of the low-rank template, one file each, under one contract (``base.py``)."""

from lrsa_geo.nn.mixers.base import LowRankMixer, Summary, WeightedSums
from lrsa_geo.nn.mixers.linear import LinearAttention
from lrsa_geo.nn.mixers.lrsa import LRSA, LatentBlock
from lrsa_geo.nn.mixers.transolver import PhysicsAttention

MIXERS: dict[str, type[LowRankMixer]] = {
    "linear": LinearAttention,
    "lrsa": LRSA,
    "transolver": PhysicsAttention,
}
"""The mixers by the names that a configuration uses."""

__all__ = [
    "LRSA",
    "MIXERS",
    "LatentBlock",
    "LinearAttention",
    "LowRankMixer",
    "PhysicsAttention",
    "Summary",
    "WeightedSums",
]
