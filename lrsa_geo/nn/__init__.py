"""Layers and models: torch and PyTorch Geometric only."""

from lrsa_geo.nn.encoding import FourierEncoding
from lrsa_geo.nn.local import EdgeLayout, LocalLayer, MeshConv
from lrsa_geo.nn.lrsa import LRSA, LRSABlock, Order
from lrsa_geo.nn.operator import GeometryOperator
from lrsa_geo.nn.ragged import NodeLayout

__all__ = [
    "LRSA",
    "EdgeLayout",
    "FourierEncoding",
    "GeometryOperator",
    "LRSABlock",
    "LocalLayer",
    "MeshConv",
    "NodeLayout",
    "Order",
]
