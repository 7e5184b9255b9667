"""Meshes on disk and in memory: no layers, no training."""

from lrsa_geo.data.augment import (
    Axis,
    NormalizePositions,
    RandomRotation,
    RandomScaling,
    mirrored,
    turned,
)
from lrsa_geo.data.fields import Field, Fields, column_slices, total_width
from lrsa_geo.data.files import atomic_path
from lrsa_geo.data.info import describe
from lrsa_geo.data.mesh_io import MeshError, cell_to_node, node_to_cell, read_mesh, write_mesh
from lrsa_geo.data.normalize import Normalizer
from lrsa_geo.data.store import MeshStore, StoreError
from lrsa_geo.data.surfaces import BoundaryNodes, DistanceToBoundary, SurfaceNormals
from lrsa_geo.data.transforms import CellsToEdges, EdgeGeometry, KNNEdges, NodeMeasure, RadiusEdges

__all__ = [
    "Axis",
    "BoundaryNodes",
    "CellsToEdges",
    "DistanceToBoundary",
    "EdgeGeometry",
    "Field",
    "Fields",
    "KNNEdges",
    "MeshError",
    "MeshStore",
    "NodeMeasure",
    "NormalizePositions",
    "Normalizer",
    "RadiusEdges",
    "RandomRotation",
    "RandomScaling",
    "StoreError",
    "SurfaceNormals",
    "atomic_path",
    "cell_to_node",
    "column_slices",
    "describe",
    "mirrored",
    "node_to_cell",
    "read_mesh",
    "total_width",
    "turned",
    "write_mesh",
]
