"""The operator as torch.compile makes it, for the steps of a training."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import lightning
import torch

from lrsa_geo.nn import GeometryOperator
from lrsa_geo.train.config import TrainConfig
from lrsa_geo.train.module import SurrogateModule


class Compiled(lightning.Callback):
    """Train a compiled operator; validate, test and save the plain one, which has its weights.

    Sizes are dynamic: batches of other nodes are not compiled anew, see
    :meth:`~lrsa_geo.nn.GraphLayout.together`. Validation meshes can be far larger than what a step
    sees, and come in forms of their own.

    Args:
        backend: of ``torch.compile``.
    """

    def __init__(self, backend: str | Callable[..., Any] = "inductor") -> None:
        self.backend = backend

    def on_fit_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Have the first batch compile it, in each process."""
        compile_operator(pl_module, self.backend)

    def on_validation_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Use the plain operator."""
        torch.compiler.set_stance("force_eager")

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Use the compiled one again."""
        torch.compiler.set_stance("default")

    def teardown(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str
    ) -> None:
        """Leave nothing behind, also after an error."""
        torch.compiler.set_stance("default")
        _operator(pl_module)._compiled_call_impl = None


def _operator(module: lightning.LightningModule) -> GeometryOperator:
    assert isinstance(module, SurrogateModule)
    return module.surrogate.operator


def compile_operator(
    module: lightning.LightningModule, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Have the next batch compile the operator, in place, for batches of any size."""
    _operator(module).compile(dynamic=True, backend=backend)


def compiles(config: TrainConfig) -> bool:
    """Whether the steps of a training are compiled: as its configuration says, or where it pays.

    "auto" means graphs of one size, drawn nodes without message passing, on a machine that can.
    """
    wanted = config.trainer.compile
    if wanted != "auto":
        return wanted
    drawn = config.data.nodes_per_graph is not None
    if not drawn or config.model.local is not None or config.model.chunk is not None:
        return False
    on_gpu = config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return why_not_compiled("cuda" if on_gpu else "cpu") is None


def check_compiler(device: str) -> None:
    """Compile a sum, as a whole operator would be compiled later.

    Raises:
        ValueError: it cannot be done.
    """
    if reason := why_not_compiled(device):
        raise ValueError(f"trainer.compile is true, {reason}")


@functools.cache
def why_not_compiled(device: str) -> str | None:
    """What keeps ``torch.compile`` from working on a device, tried once."""
    if not hasattr(torch.compiler, "set_stance"):
        return f"which takes PyTorch 2.6 or newer; this is {torch.__version__}"
    try:
        torch.compile(lambda x: x + 1)(torch.ones(1, device=device))
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        return (
            f"and PyTorch cannot compile here ({type(error).__name__}: {first}); it needs a C++"
            " compiler, and on a GPU Triton: install them, or set it to false"
        )
    return None
