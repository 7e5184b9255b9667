"""What one training step or one forward pass costs: time, memory, floating-point operations."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from lrsa_geo.nn import GraphLayout, OperatorConfig
from lrsa_geo.process import free_memory
from lrsa_geo.study.contenders import IN_CHANNELS, POS_DIM, make_contender

CostPrecision = Literal["32-true", "bf16-mixed"]
COST_PRECISIONS: tuple[CostPrecision, ...] = get_args(CostPrecision)
Kind = Literal["step", "forward"]
"""Forward, backward and optimiser; or a forward pass without gradients."""


class Workload:
    """An operator, a batch and an optimiser, to be timed.

    Args:
        name: of the operator, see :data:`~lrsa_geo.study.contenders.CONTENDERS`.
        sizes: nodes of each graph of the batch.
        config: sizes of the network.
        device: where it runs.
        precision: "32-true", or products in bfloat16.
        compiled: by ``torch.compile``.
    """

    def __init__(
        self,
        name: str,
        sizes: Sequence[int],
        config: OperatorConfig,
        device: str = "cpu",
        precision: CostPrecision = "32-true",
        compiled: bool = False,
    ) -> None:
        torch.manual_seed(0)
        self.device, self.precision = device, precision
        self.model = make_contender(name, config, sizes).to(device)
        self.call: Callable[..., Tensor] = torch.compile(self.model) if compiled else self.model
        nodes = sum(sizes)
        self.x = torch.randn(nodes, IN_CHANNELS).to(device)
        self.pos = torch.rand(nodes, POS_DIM).to(device)
        ptr = torch.tensor([0, *sizes]).cumsum(0)
        self.layout = GraphLayout.of(self.pos.cpu(), ptr=ptr).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fused=True)

    @property
    def parameters(self) -> int:
        """Number of them."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def run(self, kind: Kind) -> None:
        """One step or forward pass."""
        if kind == "step":
            self.step()
        else:
            self.forward()

    def step(self) -> None:
        """Forward, backward, optimiser."""
        self.model.train()
        self.optimizer.zero_grad()
        with autocast(self.device, self.precision):
            y = self.call(self.x, self.pos, self.layout)
        y.float().square().mean().backward()
        self.optimizer.step()

    @torch.no_grad()
    def forward(self) -> None:
        """A forward pass as in prediction."""
        self.model.eval()
        with autocast(self.device, self.precision):
            self.call(self.x, self.pos, self.layout)

    def flops(self, kind: Kind) -> int:
        """Floating-point operations of matrix products, those inside of attention included."""
        call, self.call = self.call, self.model  # compiled code hides its products
        counter = FlopCounterMode(display=False, custom_mapping=_OF_CPU)
        self.model.requires_grad_(kind == "step")
        fast = torch.backends.mha.get_fastpath_enabled()  # one call, of unknown products
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with counter:
                self.run(kind)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            self.call = call
            self.model.requires_grad_(True)
        return counter.get_total_flops()

    def memory(self, kind: Kind) -> int:
        """Bytes at the peak: parameters, optimiser, inputs, and all that the step makes.

        In a forward pass neither gradients nor optimiser count.
        """
        if kind == "step" and not self.optimizer.state:
            self.step()  # the optimiser has its state from the first step on
        self.optimizer.zero_grad()
        held = [self.x, self.pos, *self.model.parameters(), *self.model.buffers()]
        if kind == "step":
            for state in self.optimizer.state.values():
                held += [value for value in state.values() if isinstance(value, Tensor)]
        return _bytes(held) + peak_memory(lambda: self.run(kind), self.device)


def autocast(device: str, precision: CostPrecision) -> AbstractContextManager[Any]:
    """Products in bfloat16 for "bf16-mixed"."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=precision == "bf16-mixed")


def seconds_of(run: Callable[[], object], device: str = "cpu") -> float:
    """How long a call takes: by events on a GPU, else by the clock.

    With one thread the processor's time is taken, which other programs do not disturb.
    """
    if torch.device(device).type == "cuda":
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        began.record()
        run()
        ended.record()
        torch.cuda.synchronize()
        elapsed: float = began.elapsed_time(ended) / 1e3
        return elapsed
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    run()
    return clock() - started


def peak_memory(run: Callable[[], object], device: str = "cpu") -> int:
    """Bytes that PyTorch holds at most during a call, beyond what it holds before."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler tells stderr when it begins
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        run()
    held = most = 0
    results: Any = profiler.profiler
    for event in results.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def product_rate(size: int, device: str = "cpu", precision: CostPrecision = "32-true") -> float:
    """Floating-point operations per second of one product of square matrices."""
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    a = torch.randn(size, size, dtype=dtype, device=device)
    out = torch.empty_like(a)
    torch.mm(a, a, out=out)
    return 2 * size**3 / seconds_of(lambda: torch.mm(a, a, out=out), device)


def memory_left(device: str = "cpu") -> int:
    """Bytes that may still be taken: of the GPU, or of this machine."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return free_memory()


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _attention(q: Any, k: Any, v: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return int(sdpa_flop_count(q, k, v))


def _attention_back(
    grad: Any, q: Any, k: Any, v: Any, *_: Any, out_shape: Any = None, **__: Any
) -> int:
    return int(sdpa_backward_flop_count(grad, q, k, v))


# PyTorch's counter knows the kernels of GPUs.
_OF_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_back,
}
