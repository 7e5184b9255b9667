"""Files that appear complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lrsa_geo


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary name next to ``path`` and rename it to ``path`` on success.

    The name keeps the suffix, by which writers choose a format. On an exception the temporary
    file is removed and ``path`` is left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def shipped_datasets() -> Path:
    """The folder `datasets/`: inside an installed package, beside the package in a checkout."""
    package = Path(lrsa_geo.__file__).parent
    installed = package / "_datasets"
    return installed if installed.exists() else package.parent / "datasets"
