"""Meshes on disk and in memory: no layers, no training."""

from lrsa_geo.data.fields import Field, Fields, column_slices, total_width
from lrsa_geo.data.files import atomic_path
from lrsa_geo.data.info import describe
from lrsa_geo.data.mesh_io import MeshError, cell_to_node, node_to_cell, read_mesh, write_mesh
from lrsa_geo.data.normalize import Normalizer
from lrsa_geo.data.store import MeshStore, StoreError

__all__ = [
    "Field",
    "Fields",
    "MeshError",
    "MeshStore",
    "Normalizer",
    "StoreError",
    "atomic_path",
    "cell_to_node",
    "column_slices",
    "describe",
    "node_to_cell",
    "read_mesh",
    "total_width",
    "write_mesh",
]
