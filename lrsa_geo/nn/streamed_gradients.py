"""Gradients chunk by chunk: training on one mesh that is too large for a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lrsa_geo.nn.chunks import (
    CHUNK,
    Nodes,
    Pass,
    check_streamed,
    lift,
    modulations_of,
    project,
)
from lrsa_geo.nn.mixers import Summary
from lrsa_geo.nn.operator import GeometryOperator
from lrsa_geo.nn.streaming import ForwardPass


def stream_with_gradients(
    model: GeometryOperator,
    x: Tensor | None,
    pos: Tensor,
    *,
    edge_index: Tensor | None = None,
    cond: Tensor | None = None,
    measure: Tensor | None = None,
    chunk: int = CHUNK,
    buffer: Callable[[int, int], Tensor] | None = None,
) -> Tensor:
    r"""What a model gives on one mesh, with gradients, in the memory of its features and a chunk.

    .. math::
        \frac{\partial L}{\partial h_{C_k}} = \frac{\partial L}{\partial h'_{C_k}}
            \frac{\partial h'_{C_k}}{\partial h_{C_k}} + \frac{\partial L}{\partial S}
            \frac{\partial \, \mathrm{summarize}(h_{C_k})}{\partial h_{C_k}}, \qquad
        S = \sum_k \mathrm{summarize}(h_{C_k})

    for chunks :math:`C_k` of the nodes, h and h' what a block reads and gives. The total S is known
    from the forward pass, as a softmax' log-sum-exp is in flash attention (arXiv 2205.14135), so
    the backward pass too goes chunk by chunk, and works out their inside again. The result and its
    gradients, with respect to parameters, features, positions, conditions and measure, are those of
    ``model(x, pos, ...)`` up to rounding. Second derivatives are refused.

    Between the passes the features that each block reads are kept, C numbers a node and block (two
    or three times that with local layers), and the backward pass needs one to three times C numbers
    a node more; ``buffer`` may put them into files. The inside of a chunk is worked out twice, or
    three times in compress: a step takes about 1.7 times the time of the model's.

    Args:
        model, x, pos, edge_index, cond, measure, chunk, buffer: as in :func:`stream`.

    Returns:
        ``[N, K]``.

    Raises:
        ValueError: as :func:`stream` does.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import GeometryOperator, stream_with_gradients
        >>> model = GeometryOperator(0, 1, 2, channels=16, depth=2, heads=2, num_latents=4)
        >>> pos = torch.rand(100, 2)
        >>> stream_with_gradients(model, None, pos, chunk=30).square().mean().backward()
        >>> streamed = model.project.weight.grad.clone()
        >>> model.zero_grad()
        >>> model(None, pos).square().mean().backward()
        >>> torch.allclose(streamed, model.project.weight.grad, atol=1e-5)
        True
    """
    check_streamed(model, Nodes(x, pos, measure), edge_index, cond, chunk)
    forward = ForwardPass(model, edge_index, chunk, buffer, keep=True)
    y: Tensor = _Streamed.apply(forward, x, pos, measure, cond, *model.parameters())
    return y


class _Streamed(torch.autograd.Function):
    """The model as one function of its inputs and its parameters."""

    @staticmethod
    def forward(
        ctx: Any,
        forward: ForwardPass,
        x: Tensor | None,
        pos: Tensor,
        measure: Tensor | None,
        cond: Tensor | None,
        *parameters: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(x, pos, measure, cond, *parameters)  # who changes them is found out
        ctx.of = forward
        device = pos.device.type
        ctx.autocast = (
            device,
            torch.get_autocast_dtype(device),
            torch.is_autocast_enabled(device),
        )
        return forward(Nodes(x, pos, measure), cond)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, pos, measure, cond, *parameters = ctx.saved_tensors
        if not ctx.of.states:
            raise RuntimeError(
                "the features of this forward pass were given back by a backward pass; call"
                " stream_with_gradients once more"
            )
        wanted = ctx.needs_input_grad[1:5]
        backward = _Backward(ctx.of, Nodes(x, pos, measure), cond, wanted)
        with torch.enable_grad(), torch.autocast(*ctx.autocast):
            backward(grad)
        return None, *backward.of_nodes, backward.of_cond, *map(backward.sums.get, parameters)


class _Totals:
    """In the place of other processes, see :meth:`Summary.total`: what all chunks gathered.

    Attributes:
        leaves: the sums over all chunks; their gradients are those of each chunk's share.
    """

    def largest(self, tensor: Tensor) -> Tensor:
        """The largest of all chunks: that of their sum."""
        self.top = tensor.detach()
        return self.top

    def sum(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The sums of all chunks."""
        self.leaves = tuple(map(_leaf, tensors))
        return self.leaves


class _Share:
    """In the place of other processes, for the summary of one chunk.

    Attributes:
        given: what the chunk adds to the sums.
    """

    def __init__(self, totals: _Totals) -> None:
        self.totals = totals

    def largest(self, tensor: Tensor) -> Tensor:
        """As for the total: sums are over its size."""
        return self.totals.top

    def sum(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Note what the chunk adds."""
        self.given = tensors
        return tensors


class _Backward:
    """The backward pass.

    Attributes:
        sums: gradients with respect to tensors that have some so far, such as parameters.
        of_nodes: gradients with respect to features, positions and measure; None if not wanted.
        of_cond: with respect to the condition.
    """

    def __init__(
        self, forward: ForwardPass, nodes: Nodes, cond: Tensor | None, wanted: Sequence[bool]
    ) -> None:
        self.forward, self.model, self.nodes = forward, forward.model, nodes
        self.sums: dict[Tensor, Tensor] = {}
        self.wanted = wanted
        self.of_nodes = [
            torch.zeros_like(given) if is_wanted and given is not None else None
            for given, is_wanted in zip((nodes.x, nodes.pos, nodes.measure), wanted, strict=False)
        ]
        self.cond = None if cond is None else _leaf(cond)
        self.of_cond: Tensor | None = None

    def __call__(self, grad: Tensor) -> None:
        """Go back from the gradient of the result, ``[N, K]``."""
        modulations = modulations_of(self.model, self.cond)
        self.modulations = [None if m is None else _leaf(m) for m in modulations]
        g = self._through_projection(grad)
        g = self._through_blocks(g)
        self._through_lift(g)
        if self.model.condition is not None:
            grads = [None if m is None else self.sums.get(m) for m in self.modulations]
            self._walk(modulations, grads, [self.cond], self.model.condition)
        if self.wanted[3] and self.cond is not None:
            self.of_cond = self.sums.get(self.cond)

    def _through_projection(self, grad: Tensor) -> Tensor:
        h, g = self.forward.states.pop(), self.forward.features(self.nodes)
        for rows in self._chunks():
            here = _leaf(h[rows])
            y = project(self.model, here, self.modulations[-1])
            self._walk([y], [grad[rows]], [here, self.modulations[-1]], self.model)
            g[rows] = self.sums.pop(here)
        return g

    def _through_blocks(self, g: Tensor) -> Tensor:
        """The gradient of what the first block reads, from that of what the last one gives."""
        forward, of_first = self.forward, None
        halo = forward.halo(self.nodes)
        for number in reversed(range(len(forward.passes))):
            step, gathered = forward.passes[number], forward.gathered.pop()
            read = forward.read_by(number)
            h = forward.states.pop()
            if step.local:
                g = self._through_local(step, halo, h, g)
                if of_first is not None:  # the mixer of this block read what its local layer read
                    g, of_first = g.add_(of_first), None
                continue
            if step.reads_first:
                of_first = forward.features(self.nodes).zero_()
            self._through_mixer(step, gathered, h, read, g, g if of_first is None else of_first)
        return g

    def _through_mixer(
        self,
        step: Pass,
        gathered: Summary | None,
        h: Tensor,
        read: Tensor,
        g: Tensor,
        g_read: Tensor,
    ) -> None:
        """``g`` becomes the gradient of h; that of what the mixer read is added to ``g_read``."""
        modulation, totals = self.modulations[step.number], _Totals()
        z = z_leaf = None
        if gathered is not None:
            z = step.latents(gathered.total(totals), modulation)
            z_leaf = _leaf(z)
        for rows in self._chunks():
            here = _leaf(h[rows])
            there = here if read is h else _leaf(read[rows])
            y = step.apply(self.nodes[rows], here, there, z_leaf, modulation)
            self._walk([y], [g[rows]], [here, there, z_leaf, modulation], step.block)
            g[rows] = self.sums.pop(here)
            if there in self.sums:
                g_read[rows] += self.sums.pop(there)
        if z is None or z_leaf is None or z_leaf not in self.sums:
            return
        self._walk([z], [self.sums.pop(z_leaf)], [*totals.leaves, modulation], step.block)
        grads = [self.sums.pop(leaf, None) for leaf in totals.leaves]
        for rows in self._chunks():
            there, share = _leaf(read[rows]), _Share(totals)
            nodes = self._leaves(rows)
            step.summarize(nodes, there).total(share)
            self._walk(share.given, grads, [there], step.block, nodes, rows)
            g_read[rows] += self.sums.pop(there)

    def _through_local(
        self, step: Pass, halo: Iterable[tuple[slice, Tensor, Tensor]], h: Tensor, g: Tensor
    ) -> Tensor:
        before = self.forward.features(self.nodes).zero_()
        for rows, near, edges in halo:
            here, nodes = _leaf(h[near]), self._leaves(near)
            y = step.apply_local(nodes, here, edges, rows.stop - rows.start)
            self._walk([y], [g[rows]], [here], step.block, nodes, near)
            before.index_add_(0, near, self.sums.pop(here))
        return before

    def _through_lift(self, g: Tensor) -> None:
        whole = slice(0, len(self.nodes))
        nodes = self._leaves(whole)
        centre = nodes.centre(self.forward.chunk) if self.model.relative_positions else None
        centre_leaf = None if centre is None else _leaf(centre)
        for rows in self._chunks():
            part = self._leaves(rows)
            y = lift(self.model, part, centre_leaf)
            self._walk([y], [g[rows]], [centre_leaf], self.model.lift, part, rows)
        if centre is not None and centre_leaf is not None:
            self._walk([centre], [self.sums.pop(centre_leaf)], [], None, nodes, whole)

    def _chunks(self) -> Iterable[slice]:
        return self.nodes.chunks(self.forward.chunk)

    def _leaves(self, rows: slice | Tensor) -> Nodes:
        """Some nodes; with respect to what is wanted of them there will be gradients."""
        given = self.nodes[rows]
        return Nodes(
            *(
                tensor if total is None or tensor is None else _leaf(tensor)
                for tensor, total in zip(
                    (given.x, given.pos, given.measure), self.of_nodes, strict=True
                )
            )  # type: ignore[arg-type]
        )

    def _walk(
        self,
        outputs: Sequence[Tensor | None],
        grads: Sequence[Tensor | None],
        leaves: Sequence[Tensor | None],
        module: nn.Module | None,
        nodes: Nodes | None = None,
        rows: slice | Tensor | None = None,
    ) -> None:
        """Add gradients to ``sums``, and those of nodes to ``of_nodes``."""
        pairs = [
            (output, grad.to(output.dtype))
            for output, grad in zip(outputs, grads, strict=True)
            if output is not None and grad is not None and output.requires_grad
        ]
        if not pairs:
            return
        of_nodes = () if nodes is None else (nodes.x, nodes.pos, nodes.measure)
        every = [*leaves, *of_nodes, *(() if module is None else module.parameters())]
        inputs = list(dict.fromkeys(t for t in every if t is not None and t.requires_grad))
        if not inputs:
            return
        starts, ends = zip(*pairs, strict=True)
        found = torch.autograd.grad(starts, inputs, ends, allow_unused=True)
        for tensor, grad in zip(inputs, found, strict=True):
            if grad is not None:  # one tensor may be the gradient of two: nothing is added in place
                self.sums[tensor] = self.sums[tensor] + grad if tensor in self.sums else grad
        for total, leaf in zip(self.of_nodes, of_nodes, strict=False):
            if total is None or leaf not in self.sums:
                continue
            if isinstance(rows, Tensor):
                total.index_add_(0, rows, self.sums.pop(leaf))
            else:
                total[rows] += self.sums.pop(leaf)


def _leaf(tensor: Tensor) -> Tensor:
    """The values, where gradients end."""
    return tensor.detach().requires_grad_()
