"""Other global mixers of the low-rank template, with the signature of ``LRSA``."""

from lrsa_geo.nn.mixers.transolver import PhysicsAttention

__all__ = ["PhysicsAttention"]
