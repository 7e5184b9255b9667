"""Transforms of one graph, applied to each graph of a batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform


class MeshTransform(BaseTransform):
    """A transform of one graph; a batch is changed graph by graph.

    The result of a batch is the batch of the results, so that no graph sees another one.
    Subclasses write ``forward`` for one graph.
    """

    def __call__(self, data: Any) -> Any:
        """A changed copy of a graph or of a batch.

        Raises:
            ValueError: a batch cannot be taken apart into its graphs.
        """
        return graph_by_graph(super().__call__, data)


def graph_by_graph(change: Callable[[Data], Data], data: Data) -> Data:
    """Apply ``change`` to a graph, or to each graph of a batch.

    Arrays of a batch that ``change`` leaves alone are not copied, and what was attached to the
    batch as a whole stays.

    Raises:
        ValueError: the batch was not made by ``Batch.from_data_list``, or an array was set
            afterwards, of which it is unknown what belongs to which graph.
    """
    if not isinstance(data, Batch):
        return change(data)
    before = _graphs(data)
    after = [change(graph) for graph in before]
    pairs = list(zip(before, after, strict=True))
    if any(new.num_nodes != old.num_nodes for old, new in pairs):
        return Batch.from_data_list(after)  # other rows, so another `batch` and `ptr`
    new = [key for key, _ in after[0] if any(new[key] is not old.get(key) for old, new in pairs)]
    parts = [
        type(graph).from_dict({key: graph[key] for key in new} | {"num_nodes": graph.num_nodes})
        for graph in after
    ]
    joined = Batch.from_data_list(parts)
    batch = copy.copy(data)
    for key, _ in before[0]:
        if key not in after[0]:
            del batch[key]
    for key in new:
        batch[key] = joined[key]
    batch._slice_dict = {**data._slice_dict, **{key: joined._slice_dict[key] for key in new}}
    batch._inc_dict = {**data._inc_dict, **{key: joined._inc_dict[key] for key in new}}
    return batch


def _graphs(batch: Any) -> list[Any]:
    if not hasattr(batch, "_slice_dict"):
        raise ValueError(
            "the batch was not made by `Batch.from_data_list`, so that its graphs cannot be told"
            " apart; change the graphs before they are joined"
        )
    whole = copy.copy(batch)
    known = dict(batch._slice_dict)
    for key, value in batch:
        stem = key.removesuffix("_batch").removesuffix("_ptr")
        if key in known or key in ("batch", "ptr", "num_nodes") or (stem != key and stem in known):
            continue
        is_of_nodes = isinstance(value, Tensor) and value.dim() and len(value) == batch.num_nodes
        if not is_of_nodes or "edge" in key:
            raise ValueError(
                f"'{key}' was set after the graphs were joined, and it is unknown which part of it"
                " belongs to which graph; set it on the graphs, or apply the transform before"
            )
        known[key] = batch.ptr.cpu()
    whole._slice_dict = known
    whole._inc_dict = {**dict.fromkeys(known), **batch._inc_dict}
    return whole.to_data_list()
