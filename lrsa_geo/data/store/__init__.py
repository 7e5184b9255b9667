"""MeshStore: many meshes of different sizes in one HDF5 file, or in several that are one store."""

from lrsa_geo.data.store.format import FORMAT, NAMED_ARRAYS, VERSION, StoreError
from lrsa_geo.data.store.migrate import migrate
from lrsa_geo.data.store.names import SUFFIXES, is_one_file, names_store, store_folder, store_name
from lrsa_geo.data.store.sharded import ShardedStore, open_store
from lrsa_geo.data.store.store import MeshStore
from lrsa_geo.data.store.view import StoreView

__all__ = [
    "FORMAT",
    "NAMED_ARRAYS",
    "SUFFIXES",
    "VERSION",
    "MeshStore",
    "ShardedStore",
    "StoreError",
    "StoreView",
    "is_one_file",
    "migrate",
    "names_store",
    "open_store",
    "store_folder",
    "store_name",
]
