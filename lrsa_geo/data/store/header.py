"""What a MeshStore file says of itself: read once, without the graphs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lrsa_geo.data.store.format import (
    FORMAT,
    KIND_OF_ARRAY,
    KINDS,
    SERIES_KINDS,
    VERSION,
    StoreError,
)
from lrsa_geo.mesh.fields import Field, Fields

# Where each graph begins among the rows of a kind of array, and where the last one ends.
Offsets = Mapping[str, np.ndarray | range]


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        version: of the format.
        fields: of the columns of the arrays that have names.
        provenance: how the file was made.
        sha256: digest of the contents.
        kinds: array -> what its rows count, of the arrays that there are.
        rows: array -> type and shape of a row.
        offsets: kind -> ``[G + 1]``; a kind that no array has takes no memory.
    """

    version: int
    fields: dict[str, Fields]
    provenance: dict[str, Any]
    sha256: str
    kinds: dict[str, str]
    rows: dict[str, tuple[np.dtype, tuple[int, ...]]]
    offsets: Offsets

    @classmethod
    def read(cls, path: Path) -> Header:
        """That of a file.

        Raises:
            StoreError: it is missing, is not a MeshStore, or has a newer format version.
        """
        if not path.is_file():
            raise StoreError(f"{path}: no such file; make it with `lrsa-geo data make`")
        try:
            with h5py.File(path, "r", locking=False) as file:
                return cls._of(file, path)
        except (OSError, KeyError) as error:
            raise StoreError(f"{path}: not a readable HDF5 MeshStore ({error})") from error

    @classmethod
    def _of(cls, file: h5py.File, path: Path) -> Header:
        attrs = dict(file.attrs)
        if attrs.get("format") != FORMAT:
            raise StoreError(f"{path}: an HDF5 file, but not a {FORMAT}")
        if attrs["version"] > VERSION:
            raise StoreError(
                f"{path}: format version {attrs['version']}, this library reads up to"
                f" {VERSION}; install a newer lrsa_geo"
            )
        kinds = {
            array: kind
            for array, kind in KIND_OF_ARRAY.items()
            if kind in file and array in file[kind]
        }
        rows = {a: (file[f"{k}/{a}"].dtype, file[f"{k}/{a}"].shape[1:]) for a, k in kinds.items()}
        count = len(file["offsets/node"])
        offsets: dict[str, np.ndarray | range] = {"graph": range(count)}
        for kind in (*KINDS, *SERIES_KINDS):
            name = f"offsets/{kind}"
            if name not in file and kind in KINDS:
                raise KeyError(name)
            offsets[kind] = file[name][:] if name in file else np.zeros(count, np.int64)
            if not offsets[kind][-1]:
                offsets[kind] = np.broadcast_to(np.zeros(1, np.int64), count)
        fields = {
            array: tuple(Field.from_dict(f) for f in described)
            for array, described in json.loads(attrs["fields"]).items()
        }
        return cls(
            int(attrs["version"]),
            fields,
            json.loads(attrs["provenance"]),
            str(attrs["sha256"]),
            kinds,
            rows,
            offsets,
        )
