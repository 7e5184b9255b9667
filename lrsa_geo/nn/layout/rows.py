"""What a user's tensors say about the rows of a batch, checked."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor


@torch.compiler.disable  # sizes are values of a tensor: nothing in it can be traced
def sizes_and_order(
    x: Tensor, batch: Tensor | None, ptr: Tensor | None, batch_size: int | None
) -> tuple[list[int], Tensor | None]:
    """Nodes of each graph, and the order that sorts the rows by graph (None: they are sorted).

    Args:
        x: ``[R, C]``.
        batch, ptr, batch_size: see :meth:`NodeLayout.of`.

    Raises:
        ValueError: they do not fit together.
    """
    if batch is not None and (
        batch.shape != x.shape[:1] or batch.is_floating_point() or batch.dtype == torch.bool
    ):
        raise ValueError(
            f"`batch` has shape {list(batch.shape)} and type {batch.dtype}, expected [{len(x)}]"
            " integers, one per row of `x`"
        )
    if ptr is not None:
        sizes = _sizes_of_ptr(ptr, len(x), batch_size)
        if batch is not None and not torch.equal(
            batch, torch.repeat_interleave(torch.tensor(sizes, device=batch.device)).to(batch)
        ):
            raise ValueError("`batch` and `ptr` disagree on which row belongs to which graph")
        return sizes, None
    order = None
    if batch is None:
        sizes = [len(x)]
    else:
        if len(batch):
            if int(batch.min()) < 0:
                raise ValueError(f"`batch` holds {int(batch.min())}, expected graph numbers >= 0")
            if bool((batch[1:] < batch[:-1]).any()):
                order = torch.argsort(batch, stable=True)
        sizes = torch.bincount(batch, minlength=batch_size or 0).tolist() or [0]
    if batch_size is not None and len(sizes) != batch_size:
        raise ValueError(
            f"`batch` names {len(sizes)} graphs, expected {batch_size}: `batch_size`, or the rows"
            " of `cond`"
        )
    return sizes, order


def _sizes_of_ptr(ptr: Tensor, num_rows: int, batch_size: int | None) -> list[int]:
    rows = ptr.tolist()
    sizes = [last - first for first, last in pairwise(rows)]
    if ptr.dim() != 1 or not sizes or rows[0] != 0 or rows[-1] != num_rows or min(sizes) < 0:
        raise ValueError(
            f"`ptr` has shape {list(ptr.shape)} and ends with {rows[-1:]}, expected the first row"
            f" of each graph, ascending from 0 to {num_rows}, the rows of `x`"
        )
    if batch_size is not None and len(sizes) != batch_size:
        raise ValueError(f"`ptr` names {len(sizes)} graphs, `batch_size` is {batch_size}")
    return sizes


def check_dense(
    x: Tensor, batch: Tensor | None, mask: Tensor | None, measure: Tensor | None
) -> None:
    """Refuse what does not go with dense ``x [B, N, C]``.

    Raises:
        ValueError: naming the argument.
    """
    if batch is not None:
        also = " (and `mask` as well)" if mask is not None else ""
        raise ValueError(
            f"`batch`{also} with dense `x` {list(x.shape)}: dense `x` takes `mask`, packed `x`"
            " [nodes, channels] takes `batch`"
        )
    if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
        raise ValueError(
            f"`mask` has shape {list(mask.shape)} and type {mask.dtype}, expected"
            f" {list(x.shape[:2])} bool, like the first two axes of `x`"
        )
    check_measure(measure, x.shape[:2])


def check_measure(measure: Tensor | None, shape: torch.Size) -> None:
    """Refuse a measure of another shape, or of whole numbers.

    Raises:
        ValueError: naming shape and type.
    """
    if measure is not None and (measure.shape != shape or not measure.is_floating_point()):
        raise ValueError(
            f"`measure` has shape {list(measure.shape)} and type {measure.dtype}, expected"
            f" {list(shape)} floating point, one number per node of `x`"
        )


def check_weights(measure: Tensor) -> None:
    """Refuse a measure whose values are no weights; on a GPU this waits for it.

    Raises:
        ValueError: naming the first node whose value is negative or not finite.
    """
    good = (measure >= 0) & measure.isfinite()
    if not bool(good.all()):
        bad = int((~good).nonzero()[0])
        raise ValueError(
            f"`measure` holds {float(measure[bad])} at node {bad} of {len(measure)}, expected"
            " finite numbers >= 0"
        )
