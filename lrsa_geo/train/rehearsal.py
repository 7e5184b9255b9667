"""What the end of a training needs, tried before its first step."""

from __future__ import annotations

from torch_geometric.data import Batch

from lrsa_geo.data import MeshStore, StepView
from lrsa_geo.train.config import DataConfig
from lrsa_geo.train.datamodule import Part, StoreDataModule
from lrsa_geo.train.objective import Objective
from lrsa_geo.train.quantities import graph_report


def rehearse(
    loaders: StoreDataModule, objective: Objective, config: DataConfig, num_markers: int
) -> None:
    """Score the truth of every validation and test graph as if it were a prediction.

    Of a series that is its last step.

    Args:
        loaders: of the graphs.
        objective: errors that will be reported.
        config: recipe and surface, for the quantities of the report.
        num_markers: boundary markers that the model knows.

    Raises:
        ValueError: a graph cannot be read or scored; the message names it. No test graph has a
            marker of the surface.
    """
    seen: set[int] = set()
    of_series = isinstance(loaders.store, StepView)
    parts: dict[str, Part] = {"validation": "val", "test": "test"}
    for word, part in parts.items():
        samples = loaders.samples(part)
        for i, graph in enumerate(getattr(loaders.split, part)):
            where = f"{loaders.store.path}: {word} {'series' if of_series else 'graph'} {graph}"
            try:
                batch = Batch.from_data_list([samples[i]])
                objective.errors(batch.y, batch)
                if part == "test":
                    seen |= _markers(loaders.store, graph)
                if part == "test" and not of_series:
                    data = loaders.store[graph]
                    truth = data.y.nan_to_num()
                    graph_report(data, truth, objective, config.recipe, config.surface)
            except (ValueError, RuntimeError, OSError, KeyError, IndexError) as error:
                raise ValueError(
                    f"{where} cannot be scored at the end of the training: {error}; mend it, or"
                    " leave it out of the split"
                ) from error
            markers = batch.get("boundary")
            if num_markers and markers is not None and int(markers.max()) >= num_markers:
                raise ValueError(
                    f"{where} has the boundary marker {int(markers.max())}, the model knows 0 to"
                    f" {num_markers - 1}"
                )
    if config.surface and seen and seen.isdisjoint(config.surface):
        raise ValueError(
            f"data.surface is {config.surface}, and no test graph of {loaders.store.path} has such"
            f" a boundary marker, but {', '.join(map(str, sorted(seen)))}; choose among these"
        )


def _markers(store: MeshStore, graph: int) -> set[int]:
    """Boundary markers of a graph, or of a series."""
    graphs = store.series if isinstance(store, StepView) else store
    if "boundary" not in graphs.arrays:
        return set()
    return set(graphs.arrays_of(graph, ["boundary"])["boundary"].tolist())
