"""The operator as torch.compile makes it, for the steps of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning
import torch

from lrsa_geo.nn import GeometryOperator
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
        _operator(pl_module).compile(dynamic=True, backend=self.backend)

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


def check_compiler(device: torch.device) -> None:
    """Compile a sum, as a whole operator would be compiled later.

    Raises:
        ValueError: it cannot be done.
    """
    if not hasattr(torch.compiler, "set_stance"):
        raise ValueError(
            "trainer.compile is true, which takes PyTorch 2.6 or newer; this is"
            f" {torch.__version__}"
        )
    try:
        torch.compile(lambda x: x + 1)(torch.ones(1, device=device))
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(
            "trainer.compile is true, and PyTorch cannot compile here"
            f" ({type(error).__name__}: {first}); it needs a C++ compiler, and on a GPU Triton:"
            " install them, or set it to false"
        ) from error
