"""Layers and models: torch and PyTorch Geometric only."""

from lrsa_geo.nn.block import LRSABlock, MixerBlock, Order
from lrsa_geo.nn.encoding import FourierEncoding
from lrsa_geo.nn.local import EdgeLayout, LocalLayer, MeshConv
from lrsa_geo.nn.lrsa import LRSA
from lrsa_geo.nn.mixers import PhysicsAttention
from lrsa_geo.nn.operator import GeometryOperator, Mixer
from lrsa_geo.nn.ragged import NodeLayout

__all__ = [
    "LRSA",
    "EdgeLayout",
    "FourierEncoding",
    "GeometryOperator",
    "LRSABlock",
    "LocalLayer",
    "MeshConv",
    "Mixer",
    "MixerBlock",
    "NodeLayout",
    "Order",
    "PhysicsAttention",
]
