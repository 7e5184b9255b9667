"""Files that appear complete or not at all, and are made by one process at a time."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

import lrsa_geo

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # full, a quota used up, a file too big


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary name next to ``path`` and rename it to ``path`` on success.

    The name keeps the suffix, by which writers choose a format, and is no other thread's or
    process's. On an exception the temporary file is removed and ``path`` is left as it was; an
    error of the system that names no file gets this one's name.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = path.stem[:50]  # a name as long as the system allows leaves no room
    temporary = path.with_name(f".{stem}.{secrets.token_hex(6)}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def one_at_a_time(path: str | Path) -> Iterator[bool]:
    """Let one process or thread at a time make the file ``path``; the others wait for it.

    Yields whether it had to wait, so that another one may have made the file meanwhile. The lock is
    on an empty file ``.<name>.lock`` beside ``path``, which stays: who waits has it open. The
    system releases it however the process ends. It cannot be taken twice by one thread.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
        waited = False
    except Timeout:
        lock.acquire()
        waited = True
    try:
        yield waited
    finally:
        lock.release()


def natural_order(name: str | Path) -> tuple[list[tuple[str, int]], str]:
    """A key to sort names by, in which numbers count as numbers.

    Examples:
        >>> from lrsa_geo.files import natural_order
        >>> sorted(["part-10.h5", "part-9.h5", "extra-11.h5"], key=natural_order)
        ['extra-11.h5', 'part-9.h5', 'part-10.h5']
    """
    words = re.findall(r"(\D*)(\d*)", str(name))
    return [(text, int(number or 0)) for text, number in words], str(name)


def shipped_datasets() -> Path:
    """The folder `datasets/`: inside an installed package, beside the package in a checkout."""
    package = Path(lrsa_geo.__file__).parent
    installed = package / "_datasets"
    return installed if installed.exists() else package.parent / "datasets"


def nearest_folder(path: str | Path) -> Path:
    """The folder of a path, or the nearest one above that exists."""
    return next(folder for folder in Path(path).absolute().parents if folder.exists())


def free_bytes(path: str | Path) -> int:
    """Room on the disk where a file is to be written; its folder need not exist yet."""
    return shutil.disk_usage(nearest_folder(path)).free


def disk_is_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that of a full disk, also as HDF5 tells it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if isinstance(error, OSError | RuntimeError) and "No space left" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
