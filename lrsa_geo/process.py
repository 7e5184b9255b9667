"""Settings of the process that the library runs in."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

# Files of a control group, of the second and of the first kind.
_LIMIT_AND_USE = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def keep_freed_memory() -> None:
    """Tell the C library to keep freed memory for the next allocation (Linux with glibc).

    By default it hands every large block back to the kernel, which clears it page by page when it
    is asked for again. Solvers, whose arrays of some megabytes come and go in every iteration,
    spend a fifth of their time on that, training steps on a CPU 5 to 15 % with 4,000 nodes and
    more. It holds for the whole process.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return  # another C library
    mallopt(_M_MMAP_THRESHOLD, 1 << 25)  # the largest value it takes
    mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def end_with_parent() -> None:
    """Have this worker of a pool end when the process that started it does, even if it is killed.

    Without it a worker goes on with what it was sent, and then waits for ever.
    """
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def free_memory() -> int:
    """Bytes that may still be taken on this machine and in its control group; 4 GiB if unknown."""
    limits = []
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            limits.append(int(line.split()[1]) * 1024)
    for most, used in _LIMIT_AND_USE:
        both = [*_lines(most)[:1], *_lines(used)[:1]]
        if len(both) == 2 and both[0].isdecimal():
            limits.append(int(both[0]) - int(both[1]))
    return min(limits, default=4 << 30)


def processor_name() -> str:
    """What the processor is called, as far as the system tells."""
    names = [
        line.split(":", 1)[1].strip()
        for line in _lines("/proc/cpuinfo")
        if line.startswith("model name")
    ]
    return next(iter(names), platform.processor() or platform.machine())


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().split("\n")
    except OSError:  # another system
        return []
