"""Where a new store may go: checked before anything is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lrsa_geo.data.store import SUFFIXES, MeshStore, StoreError
from lrsa_geo.files import disk_is_full, free_bytes, nearest_folder


def check_output(
    path: str | Path, overwrite: bool = False, same: Mapping[str, Any] | None = None
) -> None:
    """Refuse to write a store to a name that is not one, or over what a user has.

    Args:
        path: of the store.
        overwrite: an existing store may be replaced; other files never are.
        same: an existing store may be replaced too if its provenance has these entries.

    Raises:
        StoreError: the message says which name to take.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise StoreError(
            f"{path}: a store's name ends in {' or '.join(SUFFIXES)}, got '{path.suffix}'; write"
            f" -o {path.with_suffix('.h5').name}"
        )
    if path.is_dir():
        raise StoreError(f"{path}: is a folder, expected the name of a file; choose another one")
    folder = nearest_folder(path)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise StoreError(f"{path}: nothing can be written into {folder}; choose another folder")
    if not path.exists():
        return
    try:
        made = MeshStore(path).provenance
    except StoreError as error:
        raise StoreError(
            f"{path}: exists and is not a store, so it is not replaced; choose another name"
        ) from error
    if not overwrite and (same is None or {**made, **same} != made):
        raise StoreError(
            f"{path}: exists and was made in another way, so it is not replaced; choose another"
            " name, delete it, or add --overwrite"
        )


def check_space(path: str | Path, needed: float) -> None:
    """Refuse to begin what will not fit on the disk.

    Args:
        path: of the file to be.
        needed: bytes, about.

    Raises:
        StoreError: the folder's disk has less room.
    """
    folder, free = nearest_folder(path), free_bytes(path)
    if needed > free:
        raise StoreError(
            f"{path}: needs about {needed / 1e6:,.0f} MB while it is made, and {free / 1e6:,.0f} MB"
            f" are free in {folder}; make room, or choose a folder on another disk"
        )


@contextmanager
def full_disk_explained(path: str | Path, graph_size: float) -> Iterator[None]:
    """Say that the disk is full where a library's error does not.

    Args:
        path: of the store that is made.
        graph_size: bytes of a graph: less room than some of them is none.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        folder, free = nearest_folder(path), free_bytes(path)
        if not disk_is_full(error) and free > 8 * graph_size:
            raise
        raise StoreError(
            f"{path}: the disk is full, {free / 1e6:,.0f} MB are free in {folder}; make room and"
            f" give the command again, which goes on where it stopped (finished graphs wait in"
            f" {Path(path).name}.parts), or delete that folder"
        ) from error
