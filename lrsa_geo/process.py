"""Settings of the process that the library runs in."""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Tell the C library to keep freed memory for the next allocation (Linux with glibc).

    By default it hands every large block back to the kernel, which clears it page by page when it
    is asked for again. Solvers, whose arrays of some megabytes come and go in every iteration,
    spend a fifth of their time on that. It holds for the whole process.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return  # another C library
    mallopt(_M_MMAP_THRESHOLD, 1 << 25)  # the largest value it takes
    mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
