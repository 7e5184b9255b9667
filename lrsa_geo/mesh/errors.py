"""The error of mesh files."""

from __future__ import annotations


class MeshError(ValueError):
    """A mesh file cannot be read or written: the message names the file, the field and a remedy."""
