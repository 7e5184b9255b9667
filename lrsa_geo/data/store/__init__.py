"""MeshStore: many meshes of different sizes in one HDF5 file."""

from lrsa_geo.data.store.format import FORMAT, NAMED_ARRAYS, VERSION, StoreError
from lrsa_geo.data.store.migrate import migrate
from lrsa_geo.data.store.store import MeshStore

__all__ = ["FORMAT", "NAMED_ARRAYS", "VERSION", "MeshStore", "StoreError", "migrate"]
