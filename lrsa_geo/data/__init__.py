"""Meshes on disk and in memory: no layers, no training."""

from lrsa_geo.data.fields import Field, Fields, column_slices, total_width
from lrsa_geo.data.files import atomic_path
from lrsa_geo.data.normalize import Normalizer
from lrsa_geo.data.store import MeshStore, StoreError

__all__ = [
    "Field",
    "Fields",
    "MeshStore",
    "Normalizer",
    "StoreError",
    "atomic_path",
    "column_slices",
    "total_width",
]
