"""Bring MeshStore files of older format versions up to the present one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py

from lrsa_geo.data.store.format import datasets_of, digest
from lrsa_geo.data.store.store import MeshStore
from lrsa_geo.data.store.write import pack
from lrsa_geo.files import atomic_path


def _lay_out_contiguously(old: h5py.File, new: h5py.File) -> None:
    pack(new, [datasets_of(old)])
    new.attrs["earlier"] = "[]"


# What takes a file from this version to the next: it reads the old one and fills an empty new one.
# Version 2 is version 3 without series, so there is nothing to do.
MIGRATIONS: dict[int, Callable[[h5py.File, h5py.File], None]] = {1: _lay_out_contiguously}


def migrate(path: str | Path) -> MeshStore:
    """Rewrite a store of an older format version in the present one; graphs stay bit for bit.

    Each step writes a new file that replaces the old one when it is complete. A store of the
    present version, or of version 2, which has no series, is left as it is.

    Raises:
        StoreError: there is no store, it is damaged, or of a newer version.
    """
    store = MeshStore(path)
    while store.version in MIGRATIONS:
        store.verify()
        with (
            h5py.File(path, "r", locking=False) as old,
            atomic_path(path) as temporary,
            h5py.File(temporary, "w", libver=("v108", "latest")) as new,
        ):
            new.attrs.update(old.attrs)
            MIGRATIONS[store.version](old, new)
            new.attrs["version"] = store.version + 1
            new.attrs["sha256"] = digest(new)
        store = MeshStore(path)
    return store
