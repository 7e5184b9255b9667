"""The operator as torch.compile makes it, for the steps of a training."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import lightning
import torch

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
        self._compiled = contextlib.ExitStack()

    def on_fit_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Have the first batch compile it, in each process."""
        self._compiled.enter_context(compiled(pl_module, self.backend))

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
        self._compiled.close()


@contextlib.contextmanager
def compiled(
    module: lightning.LightningModule, backend: str | Callable[..., Any] = "inductor"
) -> Iterator[None]:
    """Compile the operator of a module with its first batch inside, for batches of any size.

    PyTorch keeps what it compiled, by architecture, and at the ninth would go on uncompiled, with
    a warning. Here any number is compiled, and a limit that is hit is an error.

    Args:
        module: a :class:`SurrogateModule`, whose operator is plain again afterwards.
        backend: of ``torch.compile``.
    """
    assert isinstance(module, SurrogateModule)
    operator = module.surrogate.operator
    with torch._dynamo.config.patch(
        recompile_limit=1000, accumulated_recompile_limit=1000, fail_on_recompile_limit_hit=True
    ):
        operator.compile(dynamic=True, backend=backend)
        try:
            yield
        finally:
            operator._compiled_call_impl = None


def compiles(config: TrainConfig, device: torch.device) -> bool:
    """Whether the steps of a training are compiled: as its configuration says, or where it pays.

    Raises:
        ValueError: it asks for it, and it cannot be done.
    """
    if config.trainer.compile == "auto":
        return why_not_compiled(config, device) is None
    if config.trainer.compile and (reason := _fault(device.type)):
        raise ValueError(f"trainer.compile is true, and {reason}, or set it to false")
    return config.trainer.compile


def why_not_compiled(config: TrainConfig, device: torch.device) -> str | None:
    """What keeps "auto" from compiling the steps of a training; None where it does."""
    if config.data.nodes_per_graph is None:
        return "graphs are of unlike size without data.nodes_per_graph"
    if config.model.local is not None:
        return "messages pass along edges, of which graphs have unlike numbers"
    if config.model.chunk is not None:
        return "what goes chunk by chunk is not compiled"
    if config.trainer.max_time is not None:
        return "it would take some of trainer.max_time"
    if any(name in config.trainer.strategy for name in ("fork", "notebook")):
        return "processes that are forked from one that compiled do not work"
    return _fault(device.type)


@functools.cache
def _fault(device: str) -> str | None:
    """What keeps ``torch.compile`` from working on a device, tried once."""
    if device not in ("cpu", "cuda"):
        return f"PyTorch does not compile for {device}"
    if not hasattr(torch._dynamo.config, "fail_on_recompile_limit_hit"):
        return f"it takes PyTorch 2.7 or newer, this is {torch.__version__}: install that"
    try:
        torch.compile(lambda x: x + 1)(torch.ones(1, device=device))
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        return (
            f"PyTorch cannot compile here ({type(error).__name__}: {first}): install a C++"
            " compiler, and on a GPU Triton"
        )
    return None
