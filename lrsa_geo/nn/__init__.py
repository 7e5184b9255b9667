"""Layers and models: torch and PyTorch Geometric only."""

from lrsa_geo.nn.encoding import FourierEncoding
from lrsa_geo.nn.lrsa import LRSA, LRSABlock
from lrsa_geo.nn.operator import GeometryOperator
from lrsa_geo.nn.ragged import NodeLayout

__all__ = ["LRSA", "FourierEncoding", "GeometryOperator", "LRSABlock", "NodeLayout"]
