"""Rollout: a trained model of series, step after step from its own predictions."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from lrsa_geo.data import Known, Stepping, StepView
from lrsa_geo.mesh import with_edges
from lrsa_geo.train.surrogate import Surrogate, layout_of


def rollout(surrogate: Surrogate, first: Data | Batch, future: Iterable[Known]) -> Iterator[Tensor]:
    r"""States after each step, ``[R, K]``, each predicted from those before it.

    .. math:: \hat u_{n+1} = \hat u_n + f(\hat u_n, \dots), \qquad \hat u_0 = u_0

    Args:
        surrogate: of the mode "step".
        first: the example of the first step, of one series or of a batch of them; what it holds
            beside ``y`` is read.
        future: what is known of each further step; there are as many states, and one more.

    Raises:
        ValueError: the model is of another kind.
    """
    stepping = stepping_model(surrogate)
    data = copy.copy(first)
    if surrogate.config.needs_edges and data.get("edge_index") is None:
        data = with_edges(data)
    surrogate.check_arrays(data)
    data.layout = layout_of(data, surrogate.config, surrogate.signature.num_markers)
    with torch.inference_mode():
        states = surrogate(data)
        yield states
        for known in future:
            data = next_example(surrogate, stepping, data, states, known)
            states = surrogate(data)
            yield states


def next_example(
    surrogate: Surrogate, stepping: Stepping, data: Data, states: Tensor, known: Known
) -> Data:
    """The example of the step after this one; edges of a mesh that moves are measured anew."""
    data = stepping.advance(data, states, known)
    if stepping.dim and "grids" in data:
        del data.grids  # see keep_grids; a mesh that moves may be none any more
    if stepping.dim and surrogate.config.needs_edges:
        data.layout = layout_of(data, surrogate.config, surrogate.signature.num_markers)
    return data


def stepping_model(surrogate: Surrogate) -> Stepping:
    """The stepping of a model that predicts a state from the one before it.

    Raises:
        ValueError: it is none.
    """
    stepping = surrogate.signature.of_series
    if not stepping.steps:
        raise ValueError(
            "the model knows no steps but times, a rollout takes one that was trained with steps"
        )
    return stepping


def rollout_of_series(
    surrogate: Surrogate, view: StepView, series: int, start: int, steps: int
) -> Iterator[Tensor]:
    """Predicted states ``[N, K]`` of a series of a store, from its first states on.

    Args:
        surrogate: of series; one of the mode "time" predicts each state on its own.
        view: the store as the model reads it.
        series: number of the series.
        start: the first step that is predicted; the states before it are read.
        steps: how many. Beyond the end of the series what is known beforehand stays as it was last.

    Raises:
        ValueError: a model of the mode "time", or of meshes that move, is asked for times that the
            series does not have.
    """
    end = int(view.series.num_steps[series])
    if start + steps > end and (view.stepping.dim or not view.stepping.steps):
        raise ValueError(
            f"{view.path}: series {series} has {end} times, asked for are steps {start} to"
            f" {start + steps - 1}"
        )
    if view.stepping.steps:
        return rollout_of_several(surrogate, view, [series], start, steps)
    return _at_times(surrogate, view, series, range(start, start + steps))


def rollout_of_several(
    surrogate: Surrogate, view: StepView, series: Sequence[int], start: int, steps: int
) -> Iterator[Tensor]:
    """Predicted states of several series side by side, ``[R, K]``, one after the other.

    Arguments as of :func:`rollout_of_series`, for a model of the mode "step".
    """
    device = next(surrogate.parameters()).device
    examples = [view[view.example(number, start)] for number in series]
    ends = view.series.num_steps[list(series)].tolist()

    def future() -> Iterator[Known]:
        known: Known | None = None
        for step in range(start + 1, start + steps):
            if known is None or step < max(ends):
                last = [min(step, end - 1) for end in ends]
                each = [view.known(*of_series) for of_series in zip(series, last, strict=True)]
                known = _joined(each, device)
            yield known

    first = examples[0] if len(examples) == 1 else Batch.from_data_list(examples)
    return rollout(surrogate, first.to(device), future())


def _at_times(
    surrogate: Surrogate, view: StepView, series: int, steps: Iterable[int]
) -> Iterator[Tensor]:
    device = next(surrogate.parameters()).device
    layout, edges = None, None
    for step in steps:
        data = view[view.example(series, step)].to(device)
        if surrogate.config.needs_edges and edges is None:
            edges = with_edges(data).edge_index
        if edges is not None:
            data.edge_index = edges
        surrogate.check_arrays(data)
        if layout is None:
            layout = layout_of(data, surrogate.config, surrogate.signature.num_markers)
        data.layout = layout
        with torch.inference_mode():
            yield surrogate(data)


def _joined(known: Sequence[Known], device: torch.device) -> Known:
    """What is known of several series, for a batch of them."""
    given = [of_series.given for of_series in known if of_series.given is not None]
    return Known(
        torch.cat([of_series.x_t for of_series in known]).to(device),
        torch.cat([of_series.cond_t for of_series in known]).to(device),
        torch.cat(given).to(device) if given else None,
    )
