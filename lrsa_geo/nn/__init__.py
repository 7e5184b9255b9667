"""Layers and models: torch and PyTorch Geometric only."""

from lrsa_geo.nn import mixers
from lrsa_geo.nn.block import LRSABlock, MixerBlock
from lrsa_geo.nn.chunks import CHUNK, why_not
from lrsa_geo.nn.collectives import LostProcessError, Traffic
from lrsa_geo.nn.condition import Condition
from lrsa_geo.nn.config import OperatorConfig, Order
from lrsa_geo.nn.encoding import FourierEncoding
from lrsa_geo.nn.grid_conv import GridConv
from lrsa_geo.nn.layout import EdgeLayout, GraphLayout, NodeLayout
from lrsa_geo.nn.local import LocalLayer
from lrsa_geo.nn.mesh_conv import MeshConv
from lrsa_geo.nn.mixers import *  # noqa: F403  a new mixer is named in one place
from lrsa_geo.nn.module import NodeModule
from lrsa_geo.nn.operator import GeometryOperator
from lrsa_geo.nn.parallel import SharedMesh
from lrsa_geo.nn.partition import MeshPart, Partition
from lrsa_geo.nn.streamed_gradients import stream_with_gradients
from lrsa_geo.nn.streaming import stream

__all__ = [
    "CHUNK",
    "Condition",
    "EdgeLayout",
    "FourierEncoding",
    "GeometryOperator",
    "GraphLayout",
    "GridConv",
    "LRSABlock",
    "LocalLayer",
    "LostProcessError",
    "MeshConv",
    "MeshPart",
    "MixerBlock",
    "NodeLayout",
    "NodeModule",
    "OperatorConfig",
    "Order",
    "Partition",
    "SharedMesh",
    "Traffic",
    *mixers.__all__,
    "stream",
    "stream_with_gradients",
    "why_not",
]
