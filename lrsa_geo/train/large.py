"""Features of meshes that are too large for the memory: in a file that has no name."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lrsa_geo.files import free_bytes
from lrsa_geo.process import free_memory
from lrsa_geo.train.surrogate import Surrogate

SHARE = 0.5  # of the free memory that features may take


def feature_buffer(surrogate: Surrogate, num_nodes: int) -> Callable[[int, int], Tensor] | None:
    """What makes the tensors of features of a graph with so many nodes.

    None for memory. A function that maps a file of the folder for temporary files (``TMPDIR``) if
    they would take more than half of the memory that is free; the file goes with the tensor,
    however the process ends.
    """
    operator = surrogate.operator
    weight, buffers = operator.project.weight, 2 if operator.needs_edges else 1
    size = num_nodes * operator.config.channels * weight.element_size()
    if weight.device.type != "cpu" or buffers * size <= SHARE * free_memory():
        return None
    return lambda rows, channels: mapped_rows(rows, channels, weight.dtype)


def mapped_rows(rows: int, channels: int, dtype: torch.dtype) -> Tensor:
    """``[rows, channels]`` in a file without a name, whose room on the disk is taken at once.

    Raises:
        OSError: there is too little room; the message says where and how much.
    """
    folder = Path(tempfile.gettempdir())
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    size = rows * channels * kind.itemsize
    with tempfile.TemporaryFile(dir=folder, prefix="lrsa_geo-") as file:
        try:
            if free_bytes(folder / "features") < size:
                raise OSError(errno.ENOSPC, "")
            if hasattr(os, "posix_fallocate"):  # a hole in a file is found out by a signal
                os.posix_fallocate(file.fileno(), 0, max(size, 1))
        except OSError as error:
            raise OSError(
                errno.ENOSPC,
                f"the features of {rows:,} nodes take {size / 2**20:,.0f} MiB, which neither the"
                " memory nor the disk has room for; name a folder with more of it in TMPDIR",
                str(folder),
            ) from error
        return torch.from_numpy(np.memmap(file, kind, "r+", shape=(rows, channels)))
