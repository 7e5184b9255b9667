"""What the blocks of a trained model mix: singular values of each mixer's U G V^T."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, svds
from torch import Tensor, nn
from torch_geometric.data import Data

from lrsa_geo.nn import LowRankMixer, Mixer, MixerBlock, NodeLayout, NodeModule
from lrsa_geo.study.spectrum import Spectrum
from lrsa_geo.train import Surrogate, layout_of, predict


class ThroughLatents(NodeModule):
    """A mixer of which the nodes, as far as they read latents, are held as they are.

    One without latents is taken as it is.

    Args:
        mixer: any.
        rows: ``[R, C]`` packed features at which the nodes read.
        modulation: ``[B, 2 C]`` of the latents, see :meth:`LowRankMixer.mix`.
    """

    def __init__(self, mixer: Mixer, rows: Tensor, modulation: Tensor | None = None) -> None:
        super().__init__(mixer.channels)
        self.mixer = mixer
        self.modulation = modulation
        with torch.no_grad():
            self.held = mixer.to_reconstruct(rows) if isinstance(mixer, LowRankMixer) else None

    def mix(self, rows: Tensor, layout: NodeLayout) -> Tensor:
        """What the nodes read when others have these features, ``[R, C]`` -> ``[R, C]``."""
        if not isinstance(self.mixer, LowRankMixer):
            return self.mixer.mix(rows, layout, self.modulation)
        nodes = self.mixer.to_compress(rows)
        z = self.mixer.conditioned_latents(nodes, layout, self.modulation)
        return self.mixer.reconstruct(self.held, self.mixer.process(z), layout)


class Mixing(LinearOperator):
    r"""The derivative of a mixer through its latents, without ever holding the matrix.

    .. math::
        U G V^T, \qquad V^T = \frac{\partial \, \mathrm{compress}(x)}{\partial x}, \quad
        G = \frac{\partial \, \mathrm{process}(Z)}{\partial Z}, \quad
        U = \frac{\partial \, \mathrm{reconstruct}(x, Z)}{\partial Z}

    at given node features: how a small change of every node's features changes all nodes' results
    by way of the latents. How the change of a node alters what this node itself reads is left out:
    it is no mixing. The rank is at most the number of the latents' entries, M C. Full attention has
    no latents; its derivative is taken whole.

    With measures w it is :math:`W^{1/2} U G V^T W^{-1/2}`, whose singular values are those between
    square-integrable fields on the domain; rows and columns of passive nodes are 0. Products with
    the matrix are two reverse-mode derivatives, for fused attention kernels have no forward mode.

    Args:
        mixer: any; a copy in float64 is used.
        rows: ``[R, C]`` features that the mixer reads, sorted by graph.
        layout: the graphs.
        modulation: ``[B, 2 C]`` of the latents, see :meth:`LowRankMixer.mix`.

    Raises:
        ValueError: the layout sorts the rows.

    Examples:
        >>> import torch
        >>> from lrsa_geo.nn import LRSA, NodeLayout
        >>> from lrsa_geo.study import Mixing
        >>> rows = torch.randn(30, 8)
        >>> mixing = Mixing(LRSA(8, heads=2, num_latents=2), rows, NodeLayout.of(rows))
        >>> mixing.shape, mixing.spectrum(count=5).limit
        ((240, 240), 16)
    """

    def __init__(
        self,
        mixer: Mixer,
        rows: Tensor,
        layout: NodeLayout,
        modulation: Tensor | None = None,
    ) -> None:
        if layout.order is not None:
            raise ValueError("the layout sorts the rows; give rows that are sorted by graph")
        mixer = copy.deepcopy(mixer).double().requires_grad_(False)
        rows = rows.detach().to(torch.float64, copy=True)  # predict gives inference tensors
        if modulation is not None:
            modulation = modulation.detach().to(torch.float64, copy=True)
        self.limit = rows.numel()
        if isinstance(mixer, LowRankMixer):
            with torch.no_grad():
                latents = mixer.compress(mixer.prepare(rows), layout)
            self.limit = min(self.limit, latents.numel())
        self._linearise(ThroughLatents(mixer, rows, modulation), rows, layout)
        share = torch.ones(len(rows)) if layout.share is None else layout.share
        root = share.double().sqrt()[:, None]
        self._root = root.expand_as(rows).flatten().numpy()
        self._inverse = np.divide(1, self._root, where=self._root > 0, out=np.zeros(rows.numel()))
        super().__init__(np.float64, (rows.numel(), rows.numel()))

    def _linearise(self, function: nn.Module, rows: Tensor, layout: NodeLayout) -> None:
        self._x = rows.clone().requires_grad_()
        self._y = function(self._x, layout)
        # J^T u is linear in u: its derivative with respect to u is J.
        self._u = torch.zeros_like(self._y, requires_grad=True)
        (self._pulled,) = torch.autograd.grad(self._y, self._x, self._u, create_graph=True)

    def _matvec(self, v: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(self._inverse * v.ravel()).view_as(self._x)
        (pushed,) = torch.autograd.grad(self._pulled, self._u, given, retain_graph=True)
        return self._root * pushed.flatten().numpy()

    def _rmatvec(self, u: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(self._root * u.ravel()).view_as(self._y)
        (pulled,) = torch.autograd.grad(self._y, self._x, given, retain_graph=True)
        return self._inverse * pulled.flatten().numpy()

    def spectrum(self, count: int, name: str = "", probes: int = 16, seed: int = 0) -> Spectrum:
        """The largest singular values, by Lanczos iterations, and an estimate of the rest.

        The sum of squares of the rest is that of A (I - V V^T) with V the singular vectors that
        were found: the mean of its product with random vectors of unit variance (Hutchinson).

        Args:
            count: of the singular values.
            name: of the spectrum.
            probes: random vectors.
            seed: of these, and of the iterations' first one.

        Raises:
            ValueError: ``count`` or ``probes`` is less than 1.
        """
        for what, value in (("count", count), ("probes", probes)):
            if value < 1:
                raise ValueError(f"`{what}` is {value}, expected at least 1")
        size = self.shape[0]
        if 3 * count >= size:  # the whole matrix takes no more products
            whole = Spectrum.of_matrix(name, self @ np.eye(size), self.limit)
            squares = np.square(whole.values[count:])
            return Spectrum(name, whole.values[:count], float(squares.sum()), self.limit)
        rng = np.random.default_rng(seed)
        _, values, right = svds(self, count, v0=rng.standard_normal(size))
        found = right[values > 0]
        rest = 0.0
        if count < self.limit:
            drawn = rng.standard_normal((size, probes))
            drawn -= found.T @ (found @ drawn)
            rest = float(np.square(self @ drawn).sum() / probes)
        return Spectrum(name, np.sort(values)[::-1], rest, self.limit)


def recorded(surrogate: Surrogate, data: Data) -> list[Mixing]:
    """The mixing of every block that has a mixer, at the features that a graph gives it.

    Args:
        surrogate: trained or not.
        data: one graph, with what the surrogate reads.

    Raises:
        ValueError: the model has no mixer, the graph lacks something, or it is so large that the
            model works on it chunk by chunk.
    """
    operator = surrogate.operator
    blocks = [block for block in operator.blocks if isinstance(block, MixerBlock)]
    if all(block.mixer is None for block in blocks):
        raise ValueError("the model has no mixer, whose mixing could be measured")
    seen: dict[nn.Module | None, Any] = {}
    watched: list[nn.Module] = [block.mixer_norm for block in blocks]
    watched += [operator.condition] if operator.condition is not None else []
    hooks = [
        module.register_forward_hook(lambda module, _, output: seen.update({module: output}))
        for module in watched
    ]
    try:
        predict(surrogate, data)
    finally:
        for hook in hooks:
            hook.remove()
    rows = len(next(seen[block.mixer_norm] for block in blocks if block.mixer is not None))
    if rows != data.num_nodes:
        raise ValueError(
            f"the model works on this graph of {data.num_nodes:,} nodes chunk by chunk, {rows:,} at"
            " last, and no block sees it whole; take a smaller graph"
        )
    layout = layout_of(data, surrogate.config, surrogate.signature.num_markers).nodes
    modulations = seen.get(operator.condition) or [None] * len(blocks)
    return [
        Mixing(block.mixer, seen[block.mixer_norm], layout, modulation)
        for block, modulation in zip(blocks, modulations, strict=False)
        if block.mixer is not None
    ]


def mixing_spectra(surrogate: Surrogate, data: Data, count: int = 64) -> list[Spectrum]:
    """Spectra of what the blocks of a model mix on a graph, see :class:`Mixing`.

    Args:
        surrogate: trained or not.
        data: one graph.
        count: singular values of each.
    """
    return [
        mixing.spectrum(count, f"block {number}")
        for number, mixing in enumerate(recorded(surrogate, data), 1)
    ]
