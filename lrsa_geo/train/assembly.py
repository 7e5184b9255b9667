"""What a configuration trains on a store: graphs, model, losses and loaders, fitted together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from lrsa_geo.data import MeshStore, StepView, match_series, match_store
from lrsa_geo.train.config import TrainConfig
from lrsa_geo.train.datamodule import StoreDataModule, training_graphs
from lrsa_geo.train.module import SurrogateModule
from lrsa_geo.train.series import (
    MAX_STATISTICS,
    SeriesDataModule,
    SeriesModule,
    some_examples,
    view_of,
)
from lrsa_geo.train.signature import Signature
from lrsa_geo.train.surrogate import Surrogate, layout_of


@dataclass(frozen=True)
class Assembly:
    """A model, how it is trained, and on what.

    Attributes:
        store: graphs, or series as examples of one step.
        surrogate: the model.
        module: its losses and its optimiser.
        loaders: of the parts of the store.
    """

    store: MeshStore
    surrogate: Surrogate
    module: SurrogateModule
    loaders: StoreDataModule


def assemble(
    config: TrainConfig,
    store: MeshStore,
    kept: dict[str, Any] | None = None,
    *,
    compiled: bool = False,
) -> Assembly:
    """Fit together what a configuration asks for.

    Args:
        config: of the training.
        store: steady graphs, or series.
        kept: what :meth:`Surrogate.about` said of a model that is trained further; a new one is
            made otherwise, with the statistics of the training graphs.
        compiled: make training batches in the form that a compiled model needs.

    Raises:
        ValueError: the configuration does not fit the store.
        MismatchError: the store is not the one that the kept model was trained on.
    """
    if kept is None:
        graphs = training_graphs(config.data, store)
        if store.is_series:
            view = view_of(store, config.series, graphs)
            store, graphs = view, some_examples(view, graphs, MAX_STATISTICS)
        surrogate = Surrogate.for_training(config.model, store, graphs)
    else:  # the store may have been made anew meanwhile, with other columns
        surrogate = Surrogate.like(kept)
        store = matched(store, surrogate.signature)
        surrogate.signature.check_graphs(store)
    loaders = loaders_of(config, store, surrogate, together=compiled)
    return Assembly(store, surrogate, module_of(config, surrogate), loaders)


def matched(store: MeshStore, signature: Signature, *, truth: bool = True) -> MeshStore:
    """A store as a model reads it: its columns, and where it steps, the examples of its steps.

    Args:
        store: graphs, or series.
        signature: what the model reads and predicts.
        truth: demand the targets; states are read in any case.

    Raises:
        MismatchError: the store lacks a field.
    """
    if signature.stepping is None:
        return match_store(store, signature.fields, truth=truth)
    return StepView(match_series(store, signature.stepping), signature.stepping)


def module_of(config: TrainConfig, surrogate: Surrogate) -> SurrogateModule:
    """The losses and the optimiser of a model."""
    if surrogate.signature.stepping is None:
        return SurrogateModule(surrogate, config.optim, config.objective)
    return SeriesModule(surrogate, config.optim, config.objective, config.series)


def loaders_of(
    config: TrainConfig, store: MeshStore, surrogate: Surrogate, *, together: bool = False
) -> StoreDataModule:
    """The loaders of a store for a model, training batches ``together`` as a compiled one needs."""
    model = surrogate.config
    objective = surrogate.objective(config.objective)
    arrays = surrogate.arrays + objective.arrays
    layout = None  # in chunks the layouts are theirs
    if model.chunk is None:
        layout = partial(layout_of, config=model, num_markers=surrogate.signature.num_markers)
    hops = surrogate.operator.hops
    given = (config.data, arrays, config.seed, layout, together)
    if isinstance(store, StepView):
        hops *= config.series.ahead
        return SeriesDataModule(store, *given, hops, objective.prepare, series=config.series)
    return StoreDataModule(store, *given, hops, objective.prepare)
