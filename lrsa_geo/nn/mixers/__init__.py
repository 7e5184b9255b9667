"""Global mixers, one file each, under one contract: those of low rank, and others to compare."""

from lrsa_geo.nn.mixers.base import LowRankMixer, Mixer, Summary, WeightedSums
from lrsa_geo.nn.mixers.direct import DirectLRSA
from lrsa_geo.nn.mixers.flare import FLARE
from lrsa_geo.nn.mixers.flare_plus import FLAREPlus
from lrsa_geo.nn.mixers.full import FullAttention
from lrsa_geo.nn.mixers.functional import FunctionalAttention
from lrsa_geo.nn.mixers.light import LightLRSA
from lrsa_geo.nn.mixers.linear import LinearAttention
from lrsa_geo.nn.mixers.lrsa import LRSA, LatentBlock
from lrsa_geo.nn.mixers.once import CompressOnce
from lrsa_geo.nn.mixers.spectral import SpectralMixer
from lrsa_geo.nn.mixers.symmetric import DirectSymmetricLRSA, SymmetricLRSA
from lrsa_geo.nn.mixers.transolver import PhysicsAttention

MIXERS: dict[str, type[Mixer]] = {
    "flare": FLARE,
    "flare_plus": FLAREPlus,
    "full": FullAttention,
    "functional": FunctionalAttention,
    "linear": LinearAttention,
    "lrsa": LRSA,
    "lrsa_direct": DirectLRSA,
    "lrsa_light": LightLRSA,
    "lrsa_symmetric": SymmetricLRSA,
    "lrsa_symmetric_direct": DirectSymmetricLRSA,
    "spectral": SpectralMixer,
    "transolver": PhysicsAttention,
}
"""The mixers by the names that a configuration uses."""

__all__ = [
    "FLARE",
    "LRSA",
    "MIXERS",
    "CompressOnce",
    "DirectLRSA",
    "DirectSymmetricLRSA",
    "FLAREPlus",
    "FullAttention",
    "FunctionalAttention",
    "LatentBlock",
    "LightLRSA",
    "LinearAttention",
    "LowRankMixer",
    "Mixer",
    "PhysicsAttention",
    "SpectralMixer",
    "Summary",
    "SymmetricLRSA",
    "WeightedSums",
]
