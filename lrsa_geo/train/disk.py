"""Room on the disk: looked at before a training begins, and what to say when it is gone."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import nn

from lrsa_geo.files import atomic_path, free_bytes, nearest_folder
from lrsa_geo.train.run import Run

_STATES = 4  # a parameter, two averages of the optimiser, and perhaps its own moving average
_SMALL_FILES = 1 << 20  # figures, configuration, metrics


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that appear complete beside the old one and then take its place.

    Lightning's own writes to the folder for temporary files and copies: where the disk is full
    half-way, the old checkpoint is gone.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; the old one stays if that fails."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_path(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())


def check_room(folder: Path, model: nn.Module, checkpoint: Path | None = None) -> None:
    """Refuse a training whose checkpoints and model would not fit on the disk.

    A new checkpoint is written before the old one goes, so there must be room for two.

    Args:
        folder: of the run; need not exist.
        model: what is trained.
        checkpoint: an old one that is there already.

    Raises:
        OSError: there is too little room; the message has the numbers.
    """
    numbers = [*model.parameters(), *model.buffers()]
    size = sum(values.nbytes for values in numbers)
    needed = 2 * _STATES * size + _SMALL_FILES
    if checkpoint is not None and checkpoint.exists():
        needed -= min(checkpoint.stat().st_size, needed)
    place, free = nearest_folder(folder / "run"), free_bytes(folder / "run")
    if free < needed:
        raise OSError(
            f"{place}: {_mib(free)} MiB are free on this disk, the checkpoints of this model"
            f" ({sum(p.numel() for p in model.parameters()):,} parameters) take {_mib(needed)} MiB;"
            " free some space, or name a folder on another disk with --run"
        )


def full_disk(run: Run, error: BaseException) -> OSError:
    """What to tell who has no room left for a run: what is kept, and how to go on."""
    again = f"free some space and `lrsa-geo train {run.config} --resume --run {run.path}`"
    kept = "no epoch was finished, so nothing was kept; free some space and start again"
    if run.has_model():
        kept = f"the trained model is kept; {again} tests it"
    elif run.checkpoint.exists():
        kept = f"{run.share_done()} are kept in {run.checkpoint}; {again} goes on"
    return OSError(f"{run.path}: the disk is full ({error}); {kept}")


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f}"
