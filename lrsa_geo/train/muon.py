"""Muon: orthogonalised momentum for the weight matrices, AdamW for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from lrsa_geo.nn.pointwise import Linear

Gradients = list[tuple[Tensor, Tensor]]  # parameters, each with its gradient

# Newton-Schulz steps X <- a X + (b A + c A^2) X with A = X X^T drive all singular values between
# 0.01 and 1 to between 0.7 and 1.2 (https://kellerjordan.github.io/posts/muon).
_STEPS, _COEFFICIENTS = 5, (3.4445, -4.7750, 2.0315)
_RMS_OF_ADAMW = 0.2  # root mean square of an AdamW update at learning rate 1 (arXiv 2502.16982)


class Muon(torch.optim.Optimizer):
    r"""Muon on weight matrices, AdamW on all other parameters, with one learning rate.

    .. math::
        M \leftarrow \beta_1 M + (1 - \beta_1) G, \qquad
        W \leftarrow (1 - \eta \lambda) W
            - 0.2 \, \eta \sqrt{\max(m, n)} \; \mathrm{orth}\big((1-\beta_1) G + \beta_1 M\big)

    for a weight :math:`W \in R^{m \times n}` with gradient G, where orth replaces all singular
    values by about 1 (https://kellerjordan.github.io/posts/muon, Liu et al., arXiv 2502.16982).

    PyTorch's own Muon works through the matrices one by one in bfloat16 and leaves the other
    parameters to a second optimiser. This one takes all matrices of one shape together, in
    float32: the matrices of a surrogate are small, and a CPU has no bfloat16. Matrices that are
    stacked in one weight, as those of keys and values, are taken apart: together, the larger
    gradient of one would leave the other nearly where it is.

    Args:
        matrices: weights ``[m, n]``.
        others: parameters for AdamW.
        lr: eta.
        betas: of the averages; the second one is AdamW's alone.
        weight_decay: lambda.
        parts: how many matrices are stacked in a weight, for those with more than one.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 1e-5,
        parts: Mapping[Tensor, int] | None = None,
    ) -> None:
        self._parts = dict(parts or {})
        groups = [{"params": list(matrices), "muon": True}, {"params": list(others), "muon": False}]
        super().__init__(
            [group for group in groups if group["params"]],
            {"lr": lr, "betas": betas, "weight_decay": weight_decay},
        )

    @classmethod
    def of(cls, model: nn.Module, blocks: nn.Module, lr: float, **options: Any) -> Muon:
        """For the weight matrices of a model's blocks, with AdamW for all its other parameters.

        Args:
            model: whose parameters are trained, in their order.
            blocks: a part of it.
            lr, options: of this class.
        """
        inside = {p for p in blocks.parameters() if p.dim() == 2}
        matrices = [p for p in model.parameters() if p in inside]
        others = [p for p in model.parameters() if p not in inside]
        parts = {m.weight: m.parts for m in blocks.modules() if isinstance(m, Linear)}
        return cls(matrices, others, lr, parts=parts, **options)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            step = self._step_matrices if group["muon"] else self._step_adamw
            step([(p, p.grad) for p in group["params"] if p.grad is not None], group)
        return loss

    def _step_matrices(self, matrices: Gradients, group: dict[str, Any]) -> None:
        beta, lr = group["betas"][0], group["lr"]
        alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for w, gradient in matrices:
            average = self._state(w, "average").lerp_(gradient, 1 - beta)
            ahead = gradient.lerp(average, beta)
            parts = self._parts.get(w, 1)
            for part, of_part in zip(w.chunk(parts), ahead.chunk(parts), strict=True):
                size = (min(part.shape), max(part.shape))
                alike.setdefault(size, []).append((part, _wide(of_part)))
        for (_, longest), weights in alike.items():
            updates = orthogonalized(torch.stack([ahead for _, ahead in weights]))
            length = _RMS_OF_ADAMW * lr * longest**0.5
            for (w, _), update in zip(weights, updates, strict=True):
                w.mul_(1 - lr * group["weight_decay"])
                _wide(w).sub_(update, alpha=length)

    def _step_adamw(self, parameters: Gradients, group: dict[str, Any]) -> None:
        """PyTorch's own step, of all of them in one call."""
        if not parameters:
            return
        steps = [self._steps(p) for p, _ in parameters]
        adamw(
            [p for p, _ in parameters],
            [gradient for _, gradient in parameters],
            [self._state(p, "average") for p, _ in parameters],
            [self._state(p, "square") for p, _ in parameters],
            [],
            steps,
            fused=parameters[0][0].device.type in ("cpu", "cuda"),
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )

    def _steps(self, parameter: Tensor) -> Tensor:
        """Steps so far; a plain number in checkpoints of lrsa_geo 0.1."""
        state = self.state[parameter]
        if "step" not in state:
            done = float(state.pop("steps", 0))
            state["step"] = torch.tensor(done, dtype=torch.float32, device=parameter.device)
        step: Tensor = state["step"]
        return step

    def _state(self, parameter: Tensor, name: str) -> Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        return state[name]


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T


def orthogonalized(matrices: Tensor) -> Tensor:
    """Matrices ``[n, rows, columns]``, rows <= columns, with singular values moved to about 1."""
    a, b, c = _COEFFICIENTS
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
